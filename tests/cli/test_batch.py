"""``napari-sam2 batch``."""

from __future__ import annotations

import errno
import importlib.machinery
import importlib.util
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile
import zarr
from distributed import Client
from typer.testing import CliRunner

from napari_sam2.cli import app


@pytest.fixture
def here(monkeypatch):
    """Work in this process; gives what workers were asked for."""
    asked = []

    @contextmanager
    def open_client(*arguments):
        asked.append(arguments)
        with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
            yield client

    monkeypatch.setattr("napari_sam2.batch.run.open_client", open_client)
    return asked


def batch(*arguments):
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_images_become_labels_and_the_exit_code_says_whether_all_did(here, tmp_path):
    output, quick = tmp_path / "labels", ("--image-size", 64, "--points-per-side", 2)
    tifffile.imwrite(tmp_path / "a.tif", np.eye(64, dtype=np.uint8))
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 4, 64, 64), np.uint8))
    options = (*quick, "--device", "cpu", "-o", output)
    result = batch(tmp_path, *options, "--workers", 3)
    assert result.exit_code == 1, result.output
    assert here == [("cpu", 1, 2, 3, None)]
    assert "1 segmented, 0 skipped as done before, 1 failed" in result.output
    assert "b.tif: The image has shape (2, 4, 64, 64)" in result.stderr
    assert sorted(path.name for path in output.glob("*.*")) == [
        ".batch.lock",
        "a_labels.tif",
        "batch.json",
        "report.csv",
    ]
    (tmp_path / "b.tif").unlink()
    result = batch(tmp_path, *options)
    assert (result.exit_code, len(here)) == (0, 1), result.output
    assert "0 segmented, 1 skipped" in result.output


@pytest.mark.parametrize(("overwrite", "begun"), [(False, True), (True, True), (True, False)])
def test_a_stopped_run_says_how_to_go_on(here, tmp_path, monkeypatch, overwrite, begun):
    def stop(work, *_):
        work.has_begun = begun
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sam2.batch.run.Batch.client", stop)
    tifffile.imwrite(tmp_path / "a.tif", np.eye(64, dtype=np.uint8))
    options = ["--overwrite"] if overwrite else []
    result = batch(tmp_path / "a.tif", "-o", tmp_path / "labels", *options)
    assert result.exit_code == 130, result.output
    assert ("without --overwrite, goes on" in result.stderr) is (overwrite and begun)
    assert "goes on from here" in result.stderr


def test_what_failed_is_told_where_no_report_can_be_written(here, tmp_path, monkeypatch):
    def full(folder, reports):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_sam2.batch.folder.OutputFolder.write_report", full)
    (tmp_path / "a.tif").touch()
    result = batch(tmp_path, "--device", "cpu", "-o", tmp_path / "labels")
    assert result.exit_code == 1
    assert "a.tif is empty" in result.stderr
    assert "0 segmented, 0 skipped as done before, 1 failed" in result.stdout
    assert "No space left on device. Make room, and try again." in result.stderr
    assert "Report:" not in result.output


@pytest.mark.skipif(sys.platform != "linux", reason="file systems refuse such names")
def test_names_that_are_no_text_are_reported(tmp_path):
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    zarr.save_array(folder / os.fsdecode(b"a\xff.zarr"), np.eye(64, dtype=np.uint8))
    (folder / os.fsdecode(b"b\xff.tif")).touch()
    options = ("--image-size", 64, "--points-per-side", 2, "--device", "cpu", "--workers", 1)
    command = [sys.executable, "-m", "typer", "napari_sam2.cli", "run", "batch", folder]
    command += [*map(str, options), "-o", folder / "labels"]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 1, result.stderr
    assert b"b\\udcff.tif: " in result.stderr
    assert b"\xff/labels/report.csv" in result.stdout
    report = (folder / "labels" / "report.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[:2] for line in report[1:]] == [
        ["a\\udcff.zarr", "done"],
        ["b\\udcff.tif", "failed"],
    ]
    assert (folder / "labels" / os.fsdecode(b"a\xff_labels.ome.zarr")).is_dir()


@pytest.mark.parametrize("bokeh", [True, False])
def test_the_dashboard_is_told_where_there_is_one(here, tmp_path, monkeypatch, bokeh):
    real = importlib.util.find_spec
    spec = importlib.machinery.ModuleSpec("bokeh", None) if bokeh else None
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: spec if name == "bokeh" else real(name)
    )
    (tmp_path / "a.tif").touch()
    result = batch(tmp_path, "--device", "cpu", "-o", tmp_path / "labels")
    assert ("Dashboard: http://" in result.stderr) == bokeh


def test_a_channel_is_chosen(here, tmp_path):
    quick = ("--image-size", 64, "--points-per-side", 2, "--device", "cpu")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 64, 64), np.uint8), metadata={"axes": "CYX"})
    result = batch(tmp_path, *quick, "--channel", 1, "-o", tmp_path / "labels")
    assert result.exit_code == 0, result.output
    assert tifffile.imread(tmp_path / "labels" / "c_labels.tif").shape == (64, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tif"], "There is no file missing.tif"),
        ([".", "--model", "missing"], "The model missing is not here"),
    ],
)
def test_what_cannot_be_used_ends_with_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif").touch()
    result = batch(*arguments, "-o", tmp_path / "labels")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert not (tmp_path / "labels").exists()
