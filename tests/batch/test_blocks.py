"""Images that are worked on in blocks; blocks are small here."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam2 import run_batch
from napari_sam2.batch import blocks
from napari_sam2.batch.blocks import BlockDone
from napari_sam2.batch.run import Batch
from napari_sam2.batch.segment import count_whole, segment_file
from napari_sam2.inference.image_files import open_image


@pytest.fixture
def settings(quick):
    """A model's input of 64 pixels, so that planes of more than 128 are looked at in parts."""
    return replace(quick, image_size=64, axis="z", tiles="off")


@pytest.fixture
def volume(tmp_path, planes):
    """Five planes of 96 x 96, as OME-Zarr in chunks of one plane."""
    path = tmp_path / "volume.ome.zarr"
    data = np.concatenate([planes, planes[-1:]])[:, 48:144, 48:144]
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=data, chunks=(1, 96, 96), dimension_names=("z", "y", "x"))
    return path


@pytest.fixture(autouse=True)
def two_planes(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 2 * 96 * 96 + 96)


def labels_in(folder):
    return open_image(folder / "volume_labels.ome.zarr").data[:]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("report.csv", ".batch.lock")
    }


@pytest.mark.parametrize("axis", ["z", "t"])
def test_blocks_give_the_labels_of_the_whole_with_any_number_of_workers(
    volume, settings, tmp_path, client, axis
):
    settings = replace(settings, axis=axis, ctc=True)
    batch = Batch(volume, tmp_path / "one", settings)
    assert batch.steps == 4
    *searched, report = batch.run(client)
    assert sorted((block.first, block.stop) for block in searched) == [(0, 2), (2, 4), (4, 5)]
    whole, image, _ = segment_file(settings, volume)
    np.testing.assert_array_equal(labels_in(tmp_path / "one"), whole)
    assert (report.status, report.objects, image.axes) == ("done", len(np.unique(whole)) - 1, "ZYX")
    assert report.objects > 1
    assert report.seconds >= sum(block.seconds for block in searched)
    assert count_whole(batch.jobs[0].output) == report.objects

    [report] = run_batch(volume, tmp_path / "two", settings, workers=2)
    assert report.status == "done"
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert any(path.name == "res_track.txt" for path in one) == (axis == "t")
    assert not list((tmp_path / "two").glob(".*blocks"))


def test_objects_that_are_carried_are_one_job(volume, settings, tmp_path, client):
    settings = replace(settings, link="memory", image_size=256)
    batch = Batch(volume, tmp_path / "out", settings)
    assert batch.steps == len(batch.todo) == 1
    [report] = batch.run(client)
    assert (report.status, report.message) == ("done", "")
    labels = labels_in(tmp_path / "out")
    np.testing.assert_array_equal(labels, segment_file(settings, volume)[0])
    assert labels.any()


def test_contrast_limits_are_sampled_once_for_all_blocks(
    volume, settings, tmp_path, client, monkeypatch
):
    sampled, real = [], blocks.stack_limits  # the worker is of this process
    monkeypatch.setattr(blocks, "stack_limits", lambda frames: sampled.append(1) or real(frames))
    batch = Batch(volume, tmp_path / "labels", settings)
    *searched, report = batch.run(client)
    assert (len(searched), report.status) == (3, "done")
    assert sampled == [1]


def test_a_stopped_run_goes_on_with_the_blocks_that_are_missing(
    volume, settings, tmp_path, client, monkeypatch
):
    output = tmp_path / "labels"
    real = blocks.search_block

    def only_the_first(block, settings, limits):
        if block.first == 0:
            return real(block, settings, limits)
        while not block.path.with_name("0.zarr").exists():
            time.sleep(0.01)
        raise OSError(errno.ENOSPC, "No space left on device")

    def stopped():
        with monkeypatch.context() as patch:
            patch.setattr("napari_sam2.batch.run.search_block", only_the_first)
            batch = Batch(volume, output, settings)
            list(batch.run(client))
        return batch.reports[0]

    assert stopped().message.startswith("No space is left")
    assert [path.name for path in output.glob(".*blocks/*")] == ["0.zarr"]
    # what was found otherwise, or is to be made again, is not gone on with
    assert Batch(volume, output, settings, overwrite=True).steps == 4
    assert Batch(volume, output, replace(settings, smallest=5)).steps == 4

    # as is an image of which chunks were written, which the time of its folder does not tell
    chunk = next(path for path in (volume / "0").rglob("*") if path.name == "0" and path.is_file())
    before = chunk.stat()
    os.utime(chunk, (0, 0))
    assert Batch(volume, output, settings).steps == 4
    os.utime(chunk, ns=(before.st_atime_ns, before.st_mtime_ns))

    again = Batch(volume, output, settings)
    assert again.steps == 3
    searched = [each.first for each in again.run(client) if isinstance(each, BlockDone)]
    assert sorted(searched) == [2, 4]
    np.testing.assert_array_equal(labels_in(output), segment_file(settings, volume)[0])
    assert not list(output.glob(".*blocks"))
    assert not Batch(volume, output, settings).todo
    os.utime(chunk, (0, 0))
    assert Batch(volume, output, settings).todo


def test_a_block_that_is_kept_is_not_searched_again(volume, settings, tmp_path, monkeypatch):
    [large] = Batch(volume, tmp_path / "labels", settings)._large.values()
    block = large.blocks[0]
    block.path.parent.parent.mkdir()
    limits = blocks.sample_limits(large, settings)
    first = blocks.search_block(block, settings, limits)
    monkeypatch.setattr(type(settings), "find", None)
    assert blocks.search_block(block, settings, limits) == replace(first, seconds=0.0)


def test_blocks_of_an_image_that_was_stopped_outlive_a_run_on_others(
    volume, settings, tmp_path, client, planes
):
    output = tmp_path / "labels"
    [large] = Batch(volume, output, settings)._large.values()
    large.folder.mkdir(parents=True)
    other = large.folder.with_name(large.folder.name.replace("volume", "volume_2"))
    other.mkdir()
    stale = large.folder.with_name(".volume_labels.ome.0123456789ab.blocks")
    stale.mkdir()
    tifffile.imwrite(tmp_path / "small.tif", planes[0][:64, :64])
    list(Batch(tmp_path / "small.tif", output, settings).run(client))
    assert large.folder.exists()
    assert stale.exists()
    list(Batch(volume, output, settings).run(client))
    assert not large.folder.exists()
    assert not stale.exists()  # of other settings
    assert other.exists()


def test_a_chunk_that_cannot_be_read_fails_its_image_alone(
    volume, settings, tmp_path, client, planes
):
    tifffile.imwrite(tmp_path / "small.tif", planes[0][:64, :64])
    (volume / "0" / "c" / "3" / "0" / "0").write_bytes(b"torn")
    batch = Batch([volume, tmp_path / "small.tif"], tmp_path / "labels", settings)
    list(batch.run(client))
    small, report = batch.reports
    assert (small.file, small.status) == ("small.tif", "done")
    assert (report.status, report.objects) == ("failed", None)
    assert report.message.startswith(f"Plane 3 of {volume} cannot be read (")
    assert "\n" not in report.message
    assert not (tmp_path / "labels" / "volume_labels.ome.zarr").exists()


@pytest.mark.parametrize("axes", ["TYX", "YXZ"])
def test_any_stack_of_a_tiff_can_be_in_blocks(settings, tmp_path, client, planes, axes):
    stack = planes[:, 48:144, 48:144]
    stack = np.moveaxis(stack, 0, axes.index(axes.strip("YX")))
    tifffile.imwrite(tmp_path / "volume.tif", stack, metadata={"axes": axes})
    settings = replace(settings, axis=None)
    batch = Batch(tmp_path / "volume.tif", tmp_path / "labels", settings)
    assert [report.status for report in list(batch.run(client))[-1:]] == ["done"]
    labels = open_image(tmp_path / "labels" / "volume_labels.tif")
    whole, image, _ = segment_file(settings, tmp_path / "volume.tif")
    np.testing.assert_array_equal(labels.data[:], whole)
    assert labels.axes == image.axes


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 4, 96, 96), (4, 96, 96, 1), (1, 1, 96, 96)])
def test_axes_of_length_1_are_those_of_the_labels_too(
    settings, tmp_path, client, planes, monkeypatch, shape, whole
):
    stack = planes[:, 48:144, 48:144] if 4 in shape else planes[0, 48:144, 48:144]
    axes = {(4, 96, 96, 1): "zyxt"}.get(shape, "tczyx"[-len(shape) :])
    for path, data in (("volume.zarr", stack.reshape(shape)), ("plain.zarr", stack)):
        names = tuple(axes if data.shape == shape else "zyx"[-data.ndim :])
        group = zarr.open_group(tmp_path / path, mode="w")
        group.create_array("0", data=data, dimension_names=names)
    monkeypatch.setattr(blocks, "BLOCK", 10**6 if whole else 96 * 96 - 1)
    batch = Batch(tmp_path / "volume.zarr", tmp_path / "labels", settings)
    assert (batch.steps > 1) != whole
    assert [report.message for report in list(batch.run(client))[-1:]] == [""]
    labels = open_image(tmp_path / "labels" / "volume_labels.ome.zarr")
    kept = [(length, name) for length, name in zip(shape, axes, strict=True) if name != "c"]
    assert list(zip(labels.shape, labels.axes.lower(), strict=True)) == kept
    plain, _, _ = segment_file(settings, tmp_path / "plain.zarr")
    assert plain.any()
    np.testing.assert_array_equal(np.asarray(labels.data).reshape(plain.shape), plain)


def test_a_channel_is_segmented_as_if_it_were_alone(settings, tmp_path, client, planes):
    stack = planes[:, 48:144, 48:144]
    group = zarr.open_group(tmp_path / "volume.ome.zarr", mode="w")
    data = np.stack([np.zeros_like(stack), stack])
    group.create_array("0", data=data, dimension_names=tuple("czyx"))
    batch = Batch(tmp_path / "volume.ome.zarr", tmp_path / "labels", settings)
    [report] = batch.run(client)
    assert report.message.startswith("The image has 2 channels. Say with --channel which one")
    settings = replace(settings, channel=1)
    batch = Batch(tmp_path / "volume.ome.zarr", tmp_path / "labels", settings)
    assert batch.steps > 1
    list(batch.run(client))
    tifffile.imwrite(tmp_path / "plain.tif", stack, metadata={"axes": "ZYX"})
    wanted, _, _ = segment_file(replace(settings, channel=None), tmp_path / "plain.tif")
    np.testing.assert_array_equal(labels_in(tmp_path / "labels"), wanted)
    assert wanted.any()


@pytest.mark.parametrize("tiles", ["auto", "off"])
def test_a_large_plane_is_a_block(settings, tmp_path, client, planes, tiles):
    settings = replace(settings, tiles=tiles, axis=None, min_score=0.2, min_stability=0.2)
    zarr.save_array(tmp_path / "plane.zarr", planes[0])
    batch = Batch(tmp_path / "plane.zarr", tmp_path / "labels", settings)
    assert batch.steps == 2
    *_, report = batch.run(client)
    labels = open_image(tmp_path / "labels" / "plane_labels.ome.zarr").data[:]
    whole, _, _ = segment_file(settings, tmp_path / "plane.zarr")
    np.testing.assert_array_equal(labels, whole)
    assert report.objects == len(np.unique(whole)) - 1 > 0
