from __future__ import annotations

import pytest
import tifffile
from tests.conftest import TINY
from typer.testing import CliRunner

from napari_sam2.cli import app
from napari_sam2.model.config import VARIANTS
from napari_sam2.training.samples import Samples
from napari_sam2.training.trainer import Trainer

CONFIG = """
name = "cells"
[model]
start = "scratch"
variant = "random"
[[data]]
name = "discs"
images = "raw.tif"
labels = "truth.tif"
train_planes = "0:5"
validation_planes = "6:"
[[stages]]
name = "only"
steps = 30
learning_rate = 1e-3
size = 64
images = 2
objects = 3
diameters = [14, 30]
"""


@pytest.fixture
def config(tmp_path, discs, monkeypatch):
    monkeypatch.setitem(VARIANTS, "random", TINY)
    for name, array in zip(("raw", "truth"), discs, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", array)
    path = tmp_path / "run.toml"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return path


def train(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_trial_writes_a_model(config, tmp_path):
    result = train(config, "--steps", 2)
    assert result.exit_code == 0, result.output
    model = tmp_path / "cells_trial" / "cells.safetensors"
    assert model.exists()
    assert f"Model: {model.relative_to(tmp_path)}" in result.stdout
    assert "only 2/2" in result.stdout
    model.unlink()
    result = train(config, "--steps", 2, "--export")
    assert model.exists()
    assert "only" not in result.stdout
    assert "had ended before" not in result.stdout
    result = train(config, "--steps", 2)
    assert result.exit_code == 0, result.output
    assert "had ended before, so nothing was read or learned" in result.stdout


def test_without_a_checkpoint_there_is_nothing_to_export(config, tmp_path):
    result = train(config, "--export", "-o", tmp_path / "mistyped")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "there is no model to write" in result.stderr
    assert not (tmp_path / "mistyped").exists()


def test_an_interrupted_run_says_how_to_go_on(config, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", stop)
    result = train(config)
    assert result.exit_code == 130
    assert "The same command goes on" in result.stderr


def test_what_fails_in_a_worker_is_one_line(config, monkeypatch):
    read = Samples.__getitem__

    def broken(self, index):
        if index == 2:
            raise ValueError("raw.tif cannot be read as an image (broken).")
        return read(self, index)

    monkeypatch.setattr(Samples, "__getitem__", broken)
    result = train(config)
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: raw.tif cannot be read as an image (broken).\n",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 30", "step = 30", "'step' is not known"),
        ("raw.tif", "none.tif", "there is no"),
        ('"scratch"', '"sam9"', "sam9"),
        ("name = ", "device = 'cuda:99'\nname = ", "is not available on this machine"),
    ],
)
def test_bad_input_is_one_line(config, old, new, message):
    config.write_text(config.read_text().replace(old, new, 1))
    result = train(config)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr


def test_a_file_that_is_not_there(tmp_path):
    result = train(tmp_path / "none.toml")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
