"""Time-lapses: tracks beside the labels, of images as a whole and in blocks."""

from __future__ import annotations

import csv
import errno
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr

from napari_sam2 import BatchSettings
from napari_sam2.batch import blocks
from napari_sam2.batch.run import Batch

SHAPE = (64, 96)
FRAMES = [
    [(32, 30, 10), (30, 70, 8)],  # row, column and radius of each cell
    [(32, 31, 10), (31, 71, 8)],
    [(25, 31, 7), (39, 31, 7), (32, 72, 8)],
    [(22, 31, 7), (42, 31, 7), (33, 73, 8)],
]


@pytest.fixture
def film(monkeypatch):
    """A time-lapse in which one of two cells divides; the search gives what is in the image."""
    monkeypatch.setattr(
        BatchSettings, "find", lambda settings, generator, plane, limits=None: plane
    )
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    film = np.zeros((len(FRAMES), *SHAPE), np.uint8)
    for plane, cells in zip(film, FRAMES, strict=True):
        for number, (row, column, radius) in enumerate(cells, start=1):
            plane[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return film


@pytest.fixture(params=["whole", "in blocks"])
def in_blocks(request, monkeypatch):
    if request.param == "in blocks":
        monkeypatch.setattr(blocks, "BLOCK", SHAPE[0] * SHAPE[1])
    return request.param == "in blocks"


def write(path, film, axes="tyx"):
    """An image of which the file says what its axes are."""
    film = np.moveaxis(film, 0, axes.index("t"))
    if path.suffix == ".tif":
        tifffile.imwrite(path, film, metadata={"axes": axes.upper()})
        return
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=film)
    kinds = {"t": "time"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    described = {"axes": axes, "datasets": [{"path": "0"}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [described]}


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def segmented(client, source, output, settings):
    batch = Batch(source, output, settings)
    steps = list(batch.run(client))
    assert [report.message for report in batch.reports] == [""] * len(batch.jobs)
    return batch, steps


@pytest.mark.parametrize(("name", "axes"), [("a.tif", "tyx"), ("a.tif", "yxt"), ("a.zarr", "tyx")])
def test_a_time_lapse_has_tracks_beside_its_labels(
    film, quick, tmp_path, client, in_blocks, name, axes
):
    write(tmp_path / name, film, axes)
    quick = replace(quick, ctc=True)
    batch, steps = segmented(client, tmp_path / name, tmp_path / "labels", quick)
    assert (len(steps) > 1) == in_blocks
    [job] = batch.jobs
    if name.endswith(".tif"):
        labels = tifffile.imread(job.output)
    else:
        labels = zarr.open_group(job.output, mode="r")["0"][:]
    labels = np.moveaxis(labels, axes.index("t"), 0)
    np.testing.assert_array_equal(labels > 0, film > 0)
    mother, other = (int(labels[0, row, column]) for row, column, _ in FRAMES[0])
    daughters = {int(labels[2, row, column]) for row, column, _ in FRAMES[2][:2]}
    assert [int(labels[t, 33, 72]) for t in range(4)] == [other] * 4
    assert len({mother, other, *daughters}) == 4 == batch.reports[0].objects

    rows = table(job.tracks)
    parents = {int(row["id"]): row["parent"] for row in rows}
    assert parents == {mother: "", other: "", **dict.fromkeys(daughters, str(mother))}
    centres = {(int(row["id"]), int(row["t"])): (row["y"], row["x"]) for row in rows}
    assert len(rows) == len(centres) == sum(map(len, FRAMES))
    assert tuple(map(float, centres[other, 3])) == FRAMES[3][2][:2]

    lines = (job.ctc / "res_track.txt").read_text().splitlines()
    first, last, parent = np.array([line.split() for line in lines], int).T[1:]
    assert sorted(zip(first, last, parent > 0, strict=True)) == [
        (0, 1, False),
        (0, 3, False),
        (2, 3, True),
        (2, 3, True),
    ]
    masks = [tifffile.imread(path) for path in sorted(job.ctc.glob("mask*.tif"))]
    np.testing.assert_array_equal(np.stack(masks) > 0, film > 0)


def test_tracks_are_those_of_time_lapses_alone_and_are_no_images(film, quick, tmp_path, client):
    folder, settings = tmp_path / "images", replace(quick, ctc=True)
    folder.mkdir()
    write(folder / "film.tif", film)
    tifffile.imwrite(folder / "volume.tif", film, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "plane.tif", film[0])
    batch, _ = segmented(client, folder, folder, settings)
    assert [path.name for path in sorted(folder.glob("*_labels.c*"))] == [
        "film_labels.csv",
        "film_labels.ctc",
    ]
    assert Batch(folder, folder, settings).jobs == batch.jobs
    others = Batch(folder, tmp_path / "labels", settings).jobs
    assert [job.source for job in others] == [job.source for job in batch.jobs]


def test_what_is_done_again_has_no_older_tracks(film, quick, tmp_path, client):
    write(tmp_path / "a.tif", film)
    quick = replace(quick, ctc=True)
    [job] = segmented(client, tmp_path / "a.tif", tmp_path / "labels", quick)[0].jobs
    assert not Batch(tmp_path / "a.tif", tmp_path / "labels", quick).todo
    (job.ctc / "mask999.tif").touch()
    (tmp_path / "labels" / ".a_labels.1-2.part.ctc").mkdir()
    write(tmp_path / "a.tif", film[:1])  # one plane has no time
    segmented(client, tmp_path / "a.tif", tmp_path / "labels", quick)
    names = {path.name for path in (tmp_path / "labels").iterdir()}
    assert names == {".batch.lock", "a_labels.tif", "batch.json", "report.csv"}


def test_tracks_that_cannot_be_written_leave_no_labels(film, quick, tmp_path, client, monkeypatch):
    def full(folder, *_):
        folder.mkdir()
        (folder / "mask000.tif").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / "a.tif", film)
    batch = Batch(tmp_path / "a.tif", tmp_path / "labels", replace(quick, ctc=True))
    with monkeypatch.context() as patch:
        patch.setattr("napari_sam2.batch.segment.write_ctc", full)
        [report] = batch.run(client)
    assert report.message.startswith("No space is left")
    assert not list((tmp_path / "labels").glob("*a_labels.tif"))
    assert not list((tmp_path / "labels").glob("*.ctc"))
    [report] = Batch(tmp_path / "a.tif", tmp_path / "labels", replace(quick, ctc=True)).run(client)
    assert report.status == "done"
