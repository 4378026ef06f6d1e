"""The table of faults in docs/models.md against the tests that make them happen."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENTATION = HERE.parents[1] / "docs" / "models.md"


def names_in(*files: str) -> set[str]:
    return {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", (HERE / file).read_text("utf-8"), re.MULTILINE)
    }


def rows() -> list[list[str]]:
    section = DOCUMENTATION.read_text("utf-8").partition("## What a download survives")[2]
    lines = section.partition("\n## ")[0].splitlines()
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in lines if row[:1] == "|"
    ]
    assert cells[0] == ["fault", "what the download does", "test"]
    return cells[2:]


def test_every_fault_has_an_outcome_and_tests_that_are_there():
    known = names_in("test_download.py", "test_partial.py", "test_transfer.py")
    faults = [fault for fault, _, _ in rows() if not fault.startswith("...")]
    assert len(faults) == len(set(faults)) > 30
    for fault, outcome, cell in rows():
        assert fault
        assert outcome
        named = re.findall(r"`(\w+)`", cell)
        assert named, fault
        assert set(named) <= known, fault


def test_every_fault_of_the_network_that_is_tested_is_in_the_table():
    named = re.findall(r"`(\w+)`", " ".join(cell for _, _, cell in rows()))
    assert len(named) == len(set(named))
    assert names_in("test_transfer.py") - set(named) == {"test_a_file_comes_whole"}
