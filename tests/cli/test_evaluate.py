from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile
from skimage.io import imread, imsave
from tests.conftest import TINY
from typer.testing import CliRunner

from napari_sam2.checkpoints.read import write_checkpoint
from napari_sam2.cli import app
from napari_sam2.model.config import VARIANTS

TOML = """
[[data]]
name = "flat"
images = "images"
labels = "labels"
validation = ["b"]
[[data]]
name = "deep"
images = "raw.tif"
labels = "truth.tif"
train_planes = "0:3"
validation_planes = "3:"
"""


@pytest.fixture
def folder(tmp_path, discs, tiny_model, monkeypatch):
    monkeypatch.setitem(VARIANTS, "random", TINY)
    write_checkpoint(tmp_path / "tiny.safetensors", "random", tiny_model.network.state_dict())
    image, labels = discs
    for name, index in (("a", 0), ("b", 3)):
        for kind, array in (("images", image), ("labels", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            imsave(tmp_path / kind / f"{name}.png", array[index], check_contrast=False)
    tifffile.imwrite(tmp_path / "raw.tif", image)
    tifffile.imwrite(tmp_path / "truth.tif", labels * np.uint8(10))
    (tmp_path / "data.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"])


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_what_validates_is_evaluated(folder):
    result = evaluate("tiny.safetensors", "data.toml", "-o", "out")
    assert result.exit_code == 0, result.output
    first, header, flat, deep, *_ = result.stdout.splitlines()
    assert "kept out of training" in first
    assert header.split() == ["data", "objects", "1", "click", "3", "clicks", "5", "clicks",
                              "7", "clicks", "box", "whole", "stack"]  # fmt: skip
    assert flat.split()[:2] == ["flat", "2"]
    assert flat.split()[-1] == "-"
    assert deep.split()[:2] == ["deep", "6"]
    scores = rows(folder / "out" / "evaluation.csv")
    assert {row["image"] for row in scores if row["data"] == "flat"} == {"b"}
    assert {row["label"] for row in scores if row["data"] == "deep"} == {"10", "20"}
    assert len([row for row in scores if row["prompt"] == "whole stack"]) == 2
    assert all(0 <= float(row["iou"]) <= 1 for row in scores)
    mean = np.mean([float(r["iou"]) for r in scores if (r["data"], r["prompt"]) == ("flat", "box")])
    assert float(flat.split()[-2]) == pytest.approx(mean, abs=6e-4)  # both are rounded
    assert imread(folder / "out" / "evaluation.png").shape == (540, 900, 3)


def test_a_folder_is_enough(folder):
    result = evaluate("tiny.safetensors", folder, "--objects", 1, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "all images" in result.stdout
    scores = rows(folder / "evaluation" / "evaluation.csv")
    assert len([row for row in scores if row["prompt"] == "box"]) == 2
    again = evaluate("tiny.safetensors", folder, "--objects", 1, "--seed", 3, "-o", "again")
    assert again.exit_code == 0
    assert rows(folder / "again" / "evaluation.csv") == scores


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("none.pt", "data.toml", "There is no checkpoint at none.pt"),
        ("tiny.safetensors", "none.toml", "none.toml cannot be read"),
        ("tiny.safetensors", "images", "there is no images/images"),
    ],
)
def test_bad_input_is_one_line(folder, model, data, message):
    result = evaluate(model, data)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert not (folder / "evaluation").exists()
