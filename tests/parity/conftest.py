"""Models to compare, and the table of what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from tests.parity.published import discs, sam2
from tests.parity.report import IOU, Table, write_page
from tests.parity.stacks import Pair

from napari_sam2.inference.load import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.inference.load import Model

TABLE = pytest.StashKey[Table]()
STACKS = "2. Whole stacks in float32, against sam2"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--parity-table", type=Path, help="write the table of differences here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    table = config.stash.get(TABLE, None)
    if table is None or not table.sections:
        return
    terminalreporter.section("largest differences")
    terminalreporter.write_line(table.markdown())
    path = config.getoption("--parity-table", default=None)
    if path is not None and exitstatus == pytest.ExitCode.OK:
        unlike = [report.wasxfail for report in terminalreporter.getreports("xfailed")]
        write_page(path, table, unlike)


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    return request.config.stash[TABLE]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple]:
    """Both models of a variant at a size, with the same weights: ours read from a file."""
    pytest.importorskip("sam2", reason="the published package is not installed: run make parity")
    kept: dict[tuple[str, int, bool], tuple[Model, torch.nn.Module]] = {}

    def make(
        variant: str, image_size: int, absences: bool = False
    ) -> tuple[Model, torch.nn.Module]:
        key = variant, image_size, absences
        if key not in kept:
            theirs = sam2(variant, image_size, absences)
            path = tmp_path_factory.mktemp("weights") / "weights.pt"
            torch.save({"model": theirs.state_dict()}, path)
            ours = load_model(path, "cpu", "float32", image_size)
            path.unlink()  # up to 900 MB
            assert ours.config.name == variant
            if "large" in variant or "base" in variant:
                return ours, theirs
            kept[key] = ours, theirs
        return kept[key]

    return make


@pytest.fixture
def pair(models, table, monkeypatch, request) -> Iterator[Callable[..., Pair]]:
    """Both predictors on a stack; at the test's end they must agree."""
    made: list[tuple[str, Pair]] = []

    def make(
        name: str | None,  # None: not in the table
        frames: int = 6,
        variant: str = "sam2.1_tiny",
        size: int = 512,
        absences: bool = False,
    ) -> Pair:
        both = Pair(*models(variant, size, absences), discs(frames), monkeypatch)
        if name is not None:
            made.append((f"{name} ({variant}, {frames} frames, {size} px)", both))
        return both

    yield make
    for row, both in made:
        table.note(STACKS, row, "logits differ by", both.difference)
        table.note(STACKS, row, "logits up to", both.scale)
        table.note(STACKS, row, IOU, both.iou)
