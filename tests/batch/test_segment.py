from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from typer.testing import CliRunner

from napari_sam2.batch.jobs import Job
from napari_sam2.batch.segment import count_whole, do_job, loaded, segment_file
from napari_sam2.checkpoints.read import read_checkpoint, write_checkpoint
from napari_sam2.checkpoints.registry import NANO_FILE
from napari_sam2.cli import app
from napari_sam2.inference.image_files import open_image


def job_for(path, output=None):
    return Job(path.name, path, output or path.with_name(f"{path.stem}_labels.tif"))


def test_labels_are_those_of_the_command_for_one_image(images, quick, tmp_path):
    job = job_for(images / "im0.tif")
    report = do_job(job, quick)
    assert (report.file, report.status, report.message) == ("im0.tif", "done", "")
    labels = tifffile.imread(job.output)
    assert report.objects == len(np.unique(labels)) - 1 > 0
    alone = tmp_path / "alone.tif"
    arguments = "--everything --device cpu --image-size 256 --points-per-side 4 --min-score 0.1 -o"
    result = CliRunner().invoke(app, ["segment", str(job.source), *arguments.split(), str(alone)])
    assert result.exit_code == 0, result.output
    assert alone.read_bytes() == job.output.read_bytes()


def test_zarr_images_become_ome_zarr_labels(images, quick, tmp_path):
    plane = tifffile.imread(images / "im0.tif")
    group = zarr.open_group(tmp_path / "z.ome.zarr", mode="w")
    group.create_array("0", data=plane, dimension_names=("y", "x"))
    job = job_for(tmp_path / "z.ome.zarr", tmp_path / "z_labels.ome.zarr")
    assert do_job(job, quick).status == "done"
    labels, _, _ = segment_file(quick, images / "im0.tif")
    written = zarr.open_group(job.output, mode="r")
    np.testing.assert_array_equal(written["0"], labels)
    axes = written.attrs["ome"]["multiscales"][0]["axes"]
    assert [axis["name"] for axis in axes] == ["y", "x"]


def test_labels_lie_where_a_calibrated_image_lies(images, quick, tmp_path):
    plane = tifffile.imread(images / "im0.tif")
    group = zarr.open_group(tmp_path / "z.ome.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=plane[None, None])
    kinds = {"c": {"type": "channel"}, "z": {"type": "space"}}
    axes = [{"name": name, **kinds[name]} for name in "cz"]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    steps = [
        {"type": "scale", "scale": [1, 2, 0.25, 0.5]},
        {"type": "translation", "translation": [0, 0, 10, 20]},
    ]
    whole = [{"type": "scale", "scale": [1, 1, 2, 2]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    group.attrs["multiscales"] = [
        {"axes": axes, "datasets": datasets, "coordinateTransformations": whole}
    ]
    job = job_for(tmp_path / "z.ome.zarr", tmp_path / "z_labels.ome.zarr")
    assert do_job(job, quick).status == "done"
    described = zarr.open_group(job.output, mode="r").attrs["ome"]
    assert "source" not in described["image-label"]  # it would be the folder around the labels
    [multiscale] = described["multiscales"]
    assert multiscale["axes"] == axes[1:]
    assert multiscale["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2, 0.5, 1]},
        {"type": "translation", "translation": [0, 20, 40]},
    ]
    written = open_image(job.output)
    assert (written.scale, written.translation) == ((2, 0.5, 1), (0, 20, 40))
    assert written.units == ("pixel", "micrometer", "micrometer")


@pytest.mark.parametrize("axis", ["z", "t"])
def test_objects_of_a_stack_have_one_number(planes, quick, tmp_path, axis):
    tifffile.imwrite(tmp_path / "stack.tif", planes)
    report = do_job(job_for(tmp_path / "stack.tif"), replace(quick, axis=axis))
    assert (report.status, report.message) == ("done", "")
    labels = tifffile.imread(tmp_path / "stack_labels.tif")
    assert labels.shape == planes.shape
    assert set.intersection(*(set(np.unique(plane)) for plane in labels)) - {0}
    assert report.objects < sum(len(np.unique(plane)) - 1 for plane in labels)


def test_an_image_without_objects_is_done(quick, tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((64, 64), np.uint16))
    report = do_job(job_for(tmp_path / "flat.tif"), replace(quick, min_score=1))
    assert (report.status, report.objects) == ("done", 0)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"II*\0 torn"), "cannot be read as an image"),
        (lambda path: path.touch(), "is empty. Copy or save"),
        (lambda path: None, "There is no file"),
        (lambda path: tifffile.imwrite(path, np.zeros((2, 4, 32, 32), np.uint8)), "one stack of"),
        (lambda path: tifffile.imwrite(path, np.zeros((9, 9), np.complex64)), "holds complex64"),
    ],
)
def test_what_cannot_be_segmented_is_reported_on_one_line(quick, tmp_path, write, message):
    job = job_for(tmp_path / "odd.tif")
    write(job.source)
    report = do_job(job, quick)
    assert (report.status, report.objects) == ("failed", None)
    assert message in report.message
    assert "\n" not in report.message
    assert not job.output.exists()


@pytest.mark.parametrize("ending", [".tif", ".ome.zarr"])
def test_a_full_disk_is_reported_and_leaves_nothing_torn(
    images, quick, monkeypatch, tmp_path, ending
):
    def half(path, *_, **__):
        (Path(path, "half") if Path(path).is_dir() else path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tifffile.imwrite", half)
    monkeypatch.setattr(zarr.Group, "create_array", lambda group, *_, **__: half(group.store.root))
    (tmp_path / "out").mkdir()
    report = do_job(job_for(images / "im0.tif", tmp_path / "out" / f"im0_labels{ending}"), quick)
    assert report.status == "failed"
    assert report.message.startswith("No space is left")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_model_that_was_replaced_is_loaded_anew(quick, tmp_path):
    settings = replace(quick, model=str(tmp_path / "model.safetensors"))
    _, weights = read_checkpoint(NANO_FILE)
    name = next(iter(weights))
    for factor in (1, 2):
        wanted = {**weights, name: weights[name] * factor}
        write_checkpoint(Path(settings.model), "nano", wanted, torch.float32)
        with loaded(settings) as generator:
            torch.testing.assert_close(generator.model.network.state_dict()[name], wanted[name])


def test_torn_labels_are_known(tmp_path):
    path = tmp_path / "labels.tif"
    assert count_whole(path) is None
    tifffile.imwrite(path, np.arange(10_000, dtype=np.uint16).reshape(100, 100), compression="zlib")
    assert count_whole(path) == 9_999
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert count_whole(path) is None, length
