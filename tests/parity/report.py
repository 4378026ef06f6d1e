"""The table of the largest differences, gathered while the tests run."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

Cell = float | int | str

IOU = "IoU of masks"
TEMPLATE = Path(__file__).with_name("page.md")
PACKAGES = ("sam2", "transformers", "segment_anything")


class Table:
    """What was found: section, row, column.

    Of several values in one cell the worst stays: the smallest in the column `IOU`, the largest
    elsewhere.
    """

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, dict[str, Cell]]] = {}

    def note(self, section: str, row: str, column: str, value: Cell) -> None:
        """Keep a value if it is the worst in its cell."""
        cells = self.sections.setdefault(section, {}).setdefault(row, {})
        worst = min if column == IOU else max
        cells[column] = worst(cells.get(column, value), value)

    def markdown(self) -> str:
        """One table a section, columns in the order in which they came."""
        return "\n".join(
            f"## {section}\n\n{_table(rows)}" for section, rows in sorted(self.sections.items())
        )


def write_page(path: Path, table: Table, unlike: list[str]) -> None:
    """Write the page with the table, whole or not at all.

    ``unlike`` are the reasons of the tests that are expected to fail.
    """
    still = "\n## Not the same yet\n\n" + "".join(f"- {reason}\n" for reason in unlike)
    page = TEMPLATE.read_text(encoding="utf-8").format(
        versions=", ".join(f"`{name}` {version(name)}" for name in PACKAGES),
        torch=version("torch").partition("+")[0],
        table=table.markdown(),
        open=still if unlike else "",
    )
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page.rstrip() + "\n", encoding="utf-8")
    os.replace(partial, path)


def _table(rows: dict[str, dict[str, Cell]]) -> str:
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    lines = [["", *columns], ["---"] + ["---:"] * len(columns)]
    lines += [
        [row, *(_text(column, cells.get(column, "")) for column in columns)]
        for row, cells in rows.items()
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(column: str, value: Cell) -> str:
    if not isinstance(value, float):
        return str(value)
    # never rounded up to a better agreement than there is
    if column == IOU:
        return f"{int(value * 1e5) / 1e5:.5f}"
    return f"{value:.1e}" if value else "0"
