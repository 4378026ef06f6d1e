"""Saved sessions from the command line."""

import csv
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import tifffile
import zarr
from tests.session.live import Live
from typer.testing import CliRunner

from napari_sam2.cli import app
from napari_sam2.inference.channels import Channel, ChannelBlend
from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.session.engine import Engine
from napari_sam2.session.export import tracks
from napari_sam2.session.folder import SessionFolder
from napari_sam2.session.identity import identify_image
from napari_sam2.session.saved import SavedSession, masks_of_image
from napari_sam2.session.saver import saved_session
from napari_sam2.session.values import ObjectMask, StackKey


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def worked(tiny_model, discs, tmp_path_factory):
    """Folder with an image, a session and the labels that were in its window."""
    folder, data = tmp_path_factory.mktemp("worked"), discs[0]
    live = Live(Engine(lambda choice: tiny_model), data)
    live.work()
    image = identify_image("discs.tif", data, False)
    masks = masks_of_image("image", live.session)
    saved = saved_session(image, "image", live.session.log, masks)
    SessionFolder(folder / "session").write(saved)
    tifffile.imwrite(folder / "discs.tif", data, photometric="minisblack")
    np.save(folder / "labels.npy", live.labels)
    return folder


@pytest.fixture
def folder(worked, tmp_path, monkeypatch, tiny_model):
    shutil.copytree(worked, tmp_path / "worked")
    monkeypatch.setattr("napari_sam2.inference.load.load_model", lambda *_: tiny_model)
    return tmp_path / "worked"


def test_replay_gives_the_labels_of_the_window(folder):
    done = run(
        "replay", folder / "session", folder / "discs.tif", "--output", folder / "labels.tif"
    )
    assert done.exit_code == 0, done.output
    assert "commands repeated" in done.output
    np.testing.assert_array_equal(
        tifffile.imread(folder / "labels.tif"), np.load(folder / "labels.npy")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "its shape is (7, 96, 96), not (8, 96, 96)"),
        (lambda data: data.astype(np.uint16), "its data type is uint16, not uint8"),
        (lambda data: data // 2, "its pixels are others"),
    ],
)
def test_replay_on_another_image_is_refused(folder, change, message):
    image = folder / "discs.tif"
    tifffile.imwrite(image, change(tifffile.imread(image)), photometric="minisblack")
    done = run("replay", folder / "session", image, "-o", folder / "labels.tif")
    assert done.exit_code == 2
    assert message in done.output
    assert not (folder / "labels.tif").exists()


def test_replay_with_another_model_is_refused(folder, monkeypatch):
    monkeypatch.setattr("napari_sam2.cli.replay.identify_model", lambda name: "0" * 64)
    done = run("replay", folder / "session", folder / "discs.tif", "-o", folder / "labels.tif")
    assert done.exit_code == 2
    assert "The model nano is another one" in done.output


@pytest.fixture
def blended(folder, discs, tiny_model):
    """Folder with a session of two channels, their files, and the labels of its window."""
    first = discs[0]
    second = (first[:, ::-1] / 3).astype(np.float32)
    blend = ChannelBlend(
        [
            Channel("image", (0.0, 255.0), 1.0, ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))),
            Channel("green", (5.0, 60.0), 0.7, ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))),
        ],
        [first, second],
    )
    live = Live(Engine(lambda choice: tiny_model), first, blend)
    live.work()
    own, further = (identify_image(n, d, False) for n, d in (("discs", first), ("GFP", second)))
    masks = masks_of_image("image", live.session)
    saved = saved_session(own, "image", live.session.log, masks, {"green": further})
    SessionFolder(folder / "blended").write(saved)
    for name, data in (("discs", first), ("green", second), ("other", second + 1)):
        tifffile.imwrite(folder / f"{name}.tif", data, photometric="minisblack")
    np.save(folder / "labels.npy", live.labels)
    return folder


def replayed(folder, *names):
    images = [folder / name for name in names]
    return run("replay", folder / "blended", *images, "-o", folder / "labels.tif")


def test_replay_on_channels(blended):
    for names in (("discs.tif", "green.tif"), ("green.tif", "discs.tif")):
        done = replayed(blended, *names)
        assert done.exit_code == 0, done.output
        labels = np.load(blended / "labels.npy")
        assert labels.any()
        np.testing.assert_array_equal(tifffile.imread(blended / "labels.tif"), labels)


def test_a_replay_sees_the_channels(blended):
    alone = run("replay", blended / "session", blended / "discs.tif", "-o", blended / "alone.tif")
    assert alone.exit_code == 0, alone.output
    replayed(blended, "discs.tif", "green.tif")
    found = [tifffile.imread(blended / name) for name in ("alone.tif", "labels.tif")]
    assert not np.array_equal(*found)


def test_replay_on_one_file_of_channels(folder, discs, tiny_model):
    first = discs[0]
    second = first[:, ::-1]
    tifffile.imwrite(
        folder / "both.tif", np.stack([second, first], 1), imagej=True, metadata={"axes": "ZCYX"}
    )
    grey = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    channels = [Channel(name, (0.0, 255.0), 1.0, grey) for name in ("image", "green")]
    live = Live(Engine(lambda choice: tiny_model), first, ChannelBlend(channels, [first, second]))
    live.work()
    own, further = (identify_image(n, d, False) for n, d in (("discs", first), ("GFP", second)))
    masks = masks_of_image("image", live.session)
    saved = saved_session(own, "image", live.session.log, masks, {"green": further})
    SessionFolder(folder / "blended").write(saved)
    done = replayed(folder, "both.tif")
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(tifffile.imread(folder / "labels.tif"), live.labels)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["discs.tif"], "The session needs its channel “GFP”, too, of shape (8, 96, 96)"),
        (["discs.tif", "other.tif"], "other.tif: its pixels are others"),
        (["green.tif"], "is not the image of the session, “discs”: its data type is float32"),
        (["discs.tif", "green.tif", "other.tif"], "other.tif is no image of the session."),
    ],
)
def test_images_of_a_replay_that_are_missing_others_or_too_many(blended, names, message):
    done = replayed(blended, *names)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not (blended / "labels.tif").exists()


@pytest.mark.parametrize("command", ["replay", "export"])
def test_what_is_no_session(folder, command):
    arguments = [folder / "discs.tif"] if command == "replay" else []
    done = run(command, folder, *arguments, "-o", folder / "labels.tif")
    assert done.exit_code == 2
    assert "is no session" in done.output


@pytest.mark.parametrize("free", [None, 1])
def test_export_of_labels(folder, free, monkeypatch):
    if free is not None:  # bytes: the labels are on disk until they are written
        memory = SimpleNamespace(available=free)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    labels = np.load(folder / "labels.npy")
    shutil.rmtree(folder / "labels.ome.zarr", ignore_errors=True)
    assert run("export", folder / "session", "-o", folder / "labels.tif").exit_code == 0
    np.testing.assert_array_equal(tifffile.imread(folder / "labels.tif"), labels)
    where = folder / "labels.ome.zarr"
    assert run("export", folder / "session", "--format", "ome-zarr", "-o", where).exit_code == 0
    group = zarr.open_group(str(where), mode="r")
    np.testing.assert_array_equal(group["0"][...], labels)
    described = group.attrs["ome"]
    assert [axis["name"] for axis in described["multiscales"][0]["axes"]] == ["z", "y", "x"]
    assert {entry["label-value"] for entry in described["image-label"]["properties"]} == set(
        np.unique(labels[labels > 0]).tolist()
    )
    again = run("export", folder / "session", "--format", "ome-zarr", "-o", where)
    assert "exists already" in again.output


def test_export_to_coco(folder):
    where = folder / "coco.json"
    assert run("export", folder / "session", "--format", "coco", "-o", where).exit_code == 0
    found = json.loads(where.read_text())
    assert found["images"][0]["width"] == 96
    assert found["annotations"]
    for annotation in found["annotations"]:
        counts = annotation["segmentation"]["counts"]
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        mask = flat.reshape(annotation["segmentation"]["size"][::-1]).T
        rows, columns = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert annotation["area"] == mask.sum()
        assert (rows.min(), rows.max()) == (top, top + height - 1)
        assert (columns.min(), columns.max()) == (left, left + width - 1)


def test_export_of_tracks(folder):
    where = folder / "tracks.csv"
    assert run("export", folder / "session", "--format", "tracks", "-o", where).exit_code == 0
    with where.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", "t", "y", "x"]
    assert {row[0] for row in rows} == {"1", "3"}


def test_tracks_of_volumes_over_time():
    def square(row):
        return ObjectMask(MaskCrop(np.ones((2, 2), np.float16), (row, 4)), 1.0, True)

    volume = StackKey("image", (2, 3), 1, ((0, 2),))  # planes of z, at time 2
    over_time = StackKey("image", (2, 3), 0, ((1, 3),))  # planes of t, at z 3
    image = identify_image("i", np.zeros((5, 6, 16, 16), np.uint8), False)
    masks = {volume: {1: {7: square(0)}, 2: {7: square(2)}}, over_time: {4: {7: square(8)}}}
    assert tracks(SavedSession(image, {}, (), masks)) == [
        (7, 2, 1.5, 1.5, 4.5),
        (7, 4, 3, 8.5, 4.5),
    ]


def test_tracks_where_time_is_another_axis():
    mask = ObjectMask(MaskCrop(np.ones((2, 2), np.float16), (3, 4)), 1.0, True)
    image = identify_image("i", np.zeros((16, 16, 5), np.uint8), False)
    along_time = StackKey("image", (0, 1), 2)
    saved = SavedSession(replace(image, axes="yxt"), {}, (), {along_time: {2: {7: mask}}})
    assert tracks(saved) == [(7, 2, 3.5, 4.5)]


def test_numbers_beyond_those_of_small_labels_are_replayed(
    tiny_model, discs, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_sam2.inference.load.load_model", lambda *_: tiny_model)
    live = Live(Engine(lambda choice: tiny_model), discs[0])
    live.prompt(70_000, 2, PointPrompt((32.0, 30.0)))
    image, masks = identify_image("i", discs[0], False), masks_of_image("image", live.session)
    SessionFolder(tmp_path / "s").write(saved_session(image, "image", live.session.log, masks))
    tifffile.imwrite(tmp_path / "discs.tif", discs[0], photometric="minisblack")
    done = run("replay", tmp_path / "s", tmp_path / "discs.tif", "-o", tmp_path / "labels.tif")
    assert done.exit_code == 0, done.output
    assert tifffile.imread(tmp_path / "labels.tif").max() == 70_000


def test_one_plane_has_no_tracks():
    image = identify_image("i", np.zeros((16, 16), np.uint8), False)
    with pytest.raises(ValueError, match="one plane"):
        tracks(SavedSession(image, {}, (), {}))
