"""What the documentation says is so: keys, links, messages, names in examples."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from napari_sam2.plugin import keys

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "napari_sam2"
PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
TEXTS = [*PAGES, REPOSITORY / "README.md"]
MEANINGS = {
    "NEW_OBJECT": "next object",
    "TOGGLE_SIGN": "positive and negative",
    "NEXT_CANDIDATE": "next candidate",
    "RUN_PLANE": "run on the plane",
    "PROPAGATE": "propagate",
    "CANCEL": "cancel",
    "UNDO": "undo",
    "REDO": "redo",
    "LEAST_CERTAIN": "least certain",
}
ELLIPSIS = "…"


def by_name(path):
    return path.name


def prose(path):
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)


def anchors(path):
    """Where a page can be linked to, as GitHub and the site name it."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(path):
    """The cells of every row of every table of a page."""
    lines = re.findall(r"^\|(.+)\|$", path.read_text(encoding="utf-8"), re.M)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


@cache
def sayings():
    """Every text in the code, with an ellipsis where it depends on something."""
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else ELLIPSIS for p in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_key_is_there_with_its_meaning():
    named = {name for name, key in vars(keys).items() if name.isupper() and isinstance(key, str)}
    assert named == set(MEANINGS)
    table = {row[0]: row[1].lower() for row in rows(REPOSITORY / "docs" / "keys.md")}
    for name, meaning in MEANINGS.items():
        assert meaning in table[f"`{getattr(keys, name)}`"], name


@pytest.mark.parametrize("path", TEXTS, ids=by_name)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(path)):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_navigation():
    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        inside = entry.values() if isinstance(entry, dict) else entry
        return [page for each in inside for page in pages(each)]

    config = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = pages(config["nav"])
    assert len(listed) == len(set(listed))
    assert set(map(by_name, PAGES)) == set(listed) - {"nano.md"}  # that one is a file of src


def examples():
    for path in TEXTS:
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.M)
        ):
            yield pytest.param(block, id=f"{path.name}-{number}")


def names_of(module):
    """Names that a module of ours has, without importing it."""
    path = REPOSITORY.joinpath("src", *module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


@pytest.mark.parametrize("block", examples())
def test_examples_compile_and_import_what_there_is(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("napari_sam2"):
            assert {alias.name for alias in node.names} <= names_of(node.module)


def test_messages_are_those_of_the_code():
    quoted = [
        message
        for row in rows(REPOSITORY / "docs" / "troubleshooting.md")
        for message in re.findall(r"`([^`]+)`", row[0])
    ]
    assert len(quoted) > 40
    for message in quoted:
        pattern = re.compile(".+".join(map(re.escape, message.split(ELLIPSIS))), re.DOTALL)
        assert any(pattern.search(saying) for saying in sayings()), message
