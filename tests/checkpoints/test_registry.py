from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_sam2.checkpoints.read import expected_shapes
from napari_sam2.checkpoints.registry import BASE, CHECKPOINTS, megabytes
from napari_sam2.model.config import SAM1_VARIANTS, VARIANTS


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=list(CHECKPOINTS))
def test_every_entry_is_complete(checkpoint):
    assert CHECKPOINTS[checkpoint.name] is checkpoint
    assert checkpoint.url.startswith(f"{BASE}/segment_anything")
    assert re.fullmatch(r"[\w.]+\.pth?", checkpoint.file)
    assert checkpoint.sha256 is None or re.fullmatch("[0-9a-f]{64}", checkpoint.sha256)
    assert checkpoint.purpose
    assert checkpoint.licence == "Apache-2.0"
    # the file is the weights and an index
    assert 1 < (checkpoint.size or 4.001 * checkpoint.parameters) / checkpoint.parameters / 4 < 1.01


@pytest.mark.parametrize("name", list(CHECKPOINTS))
def test_the_number_of_weights_is_the_model_s(name):
    shapes = expected_shapes({**VARIANTS, **SAM1_VARIANTS}[name])
    buffer = "prompt_encoder.fourier.matrix"
    count = sum(torch.Size(shape).numel() for key, shape in shapes.items() if key != buffer)
    assert count == CHECKPOINTS[name].parameters


def test_names_files_and_checksums_are_not_mixed_up():
    for attribute in ("name", "url", "file"):
        assert len({getattr(c, attribute) for c in CHECKPOINTS.values()}) == len(CHECKPOINTS)
    sums = [c.sha256 for c in CHECKPOINTS.values() if c.sha256]
    assert len(set(sums)) == len(sums) == 8


def test_the_size_is_said_as_far_as_it_is_known():
    tiny = CHECKPOINTS["sam2.1_tiny"]
    assert tiny.size_text == "156 MB"
    assert replace(tiny, size=None).size_text == "about 156 MB"
    assert replace(tiny, size=None, parameters=None).size_text == "size not known"
    assert CHECKPOINTS["sam_vit_h"].size_text == "about 2564 MB"


@pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=list(CHECKPOINTS))
def test_the_documentation_says_the_same(checkpoint):
    lines = (Path(__file__).parents[2] / "docs" / "models.md").read_text().splitlines()
    row, address = (line for line in lines if line.startswith(f"| `{checkpoint.name}` |"))
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    image, stack = cells[3:5]
    assert cells == [
        f"{checkpoint.parameters / 1e6:.1f} million",
        checkpoint.size_text,
        megabytes(4 * checkpoint.parameters),
        image,
        stack,
        checkpoint.licence,
        checkpoint.purpose,
    ]
    assert f"<{checkpoint.url}>" in address
    if checkpoint.family == "sam2.0":
        assert image == stack == "as 2.1"
    elif image != "not measured":
        # loading takes the weights twice
        assert _megabytes_of(image) > 2 * 4e-6 * checkpoint.parameters
        if checkpoint.family == "sam2.1" and stack != "not measured":
            assert _megabytes_of(stack) >= _megabytes_of(image)
    if checkpoint.family == "sam1":
        assert stack == "–"


def _megabytes_of(cell):
    return float(re.fullmatch(r"(\d+) MB", cell)[1])


def test_the_memory_of_what_most_computers_run_is_measured():
    lines = (Path(__file__).parents[2] / "docs" / "models.md").read_text().splitlines()
    names = ("nano", "sam2.1_tiny", "sam2.1_small", "sam2.1_base_plus", "sam_vit_b")
    for name in names:
        row = next(line for line in lines if line.startswith(f"| `{name}` |"))
        assert _megabytes_of(row.split("|")[5].strip()) > 0
