"""Names and shapes of the tensors in published files, kept as text.

A line holds a name and its shape; ``{0,1,2}`` stands for each of these numbers. A title in brackets
begins a file; after ``<`` stands the file that it equals but for the names behind a ``-``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Shapes = dict[str, tuple[int, ...]]

FILE = Path(__file__).parents[1] / "checkpoints" / "published_names.txt"


def read_names(path: Path = FILE) -> dict[str, Shapes]:
    """The tensors of each published file under its title."""
    files: dict[str, Shapes] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            title, _, like = line.strip("[]").partition(" < ")
            shapes = files.setdefault(title, dict(files.get(like, {})))
        elif line.startswith("-"):
            del shapes[line[1:]]
        elif line and not line.startswith("#"):
            pattern, _, shape = line.rpartition(" ")
            before, numbers, after = re.fullmatch(r"([^{]*)(?:\{(.*)\})?(.*)", pattern).groups()
            for number in numbers.split(",") if numbers else [""]:
                shapes[before + number + after] = tuple(map(int, shape.split("x")))
    return files


def write_names(files: Mapping[str, Shapes], path: Path = FILE) -> None:
    """Write what `read_names` reads."""
    lines = ["# Written by tests/golden/make.py from the published packages. Do not edit."]
    for title, shapes in files.items():
        if like := [known for known in files if shapes.items() < files[known].items()]:
            lines += ["", f"[{title} < {like[0]}]"]
            lines += [f"-{name}" for name in files[like[0]] if name not in shapes]
            continue
        # tensors that differ in the first number of their name alone are one line
        groups: dict[tuple[str, str, str], list[str]] = {}
        for name, shape in shapes.items():
            before, number, after = re.fullmatch(r"(.*?)(?:(?<=\.)(\d+)(?=\.)(.*))?", name).groups()
            text = "x".join(map(str, shape))
            groups.setdefault((before, after or "", text), []).append(number or "")
        lines += ["", f"[{title}]"]
        for (before, after, text), numbers in groups.items():
            middle = "{" + ",".join(numbers) + "}" if len(numbers) > 1 else numbers[0]
            lines.append(f"{before}{middle}{after} {text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
