from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_sam2 import BatchSettings
from napari_sam2.batch.jobs import find_jobs
from napari_sam2.batch.segment import do_job
from napari_sam2.inference.errors import InputError


@pytest.fixture
def plates(tmp_path, monkeypatch):
    """Two folders of images, with some other things in them; the current folder holds both."""
    monkeypatch.chdir(tmp_path)
    for name in ("one/a.tif", "one/b.PNG", "one/notes.txt", "one/.hidden.tif", "two/a.ome.tiff"):
        (tmp_path / "plates" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plates" / name).touch()
    zarr.save_array(tmp_path / "plates" / "two" / "c.ome.zarr", np.zeros((4, 4), np.uint8))
    return tmp_path / "plates"


def outputs(inputs, output="labels"):
    jobs = find_jobs(inputs, output)
    return {job.name: job.output.relative_to(output.absolute()).as_posix() for job in jobs}


@pytest.mark.parametrize("inputs", [["plates"], ["plates/one", "plates/two"], ["plates/*"]])
def test_folders_keep_their_structure(plates, inputs):
    assert outputs(inputs, plates.parent / "labels") == {
        "one/a.tif": "one/a_labels.tif",
        "one/b.PNG": "one/b_labels.tif",
        "two/a.ome.tiff": "two/a_labels.tif",
        "two/c.ome.zarr": "two/c_labels.ome.zarr",
    }


def test_files_and_patterns_are_found(plates):
    assert outputs("plates/one/a.tif", plates / "new") == {"a.tif": "a_labels.tif"}
    # as a pattern names them, whatever it finds
    assert outputs(["plates/**/b*"], plates / "new") == {"one/b.PNG": "one/b_labels.tif"}
    assert outputs(["plates/two/c.ome.zarr"], plates) == {"c.ome.zarr": "c_labels.ome.zarr"}
    (plates / "one" / "c[1].tif").touch()
    assert outputs(["plates/one/c[1].tif"], plates) == {"c[1].tif": "c[1]_labels.tif"}


def test_what_is_inside_a_zarr_folder_is_no_image(plates):
    zarr.open_group(plates / "two" / "d.ome.zarr").create_array("0", shape=(4, 4), dtype="u1")
    below = outputs("plates/**", plates / "new")
    assert "two/d.ome.zarr" in below
    assert below == outputs("plates", plates / "new")
    assert list(outputs("plates/two/d.ome.zarr/*", plates / "new")) == ["0"]  # as asked for


def test_labels_beside_the_images_are_no_images(plates):
    (plates / "one" / "a_labels.tif").touch()
    assert set(outputs(["plates/one"], plates / "one")) == {"a.tif", "b.PNG"}
    assert set(outputs(["plates/one"], plates)) == {"a.tif", "b.PNG"}
    assert "a_labels.tif" in outputs(["plates/one"], plates.parent / "labels")


def test_labels_of_another_run_are_no_images(plates):
    labels = plates / "one" / "labels"
    labels.mkdir()
    (labels / "a_labels.tif").touch()
    assert "labels/a_labels.tif" in outputs(["plates/one"], plates / "new")
    (labels / "batch.json").write_text('{"sha256": "", "images": {}}')
    assert set(outputs(["plates/one"], plates / "new")) == {"a.tif", "b.PNG"}


def forbid(monkeypatch, folder):
    real = Path.iterdir

    def iterdir(path):
        if path.name == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


@pytest.mark.parametrize("inputs", [["plates"], ["plates/*"], ["plates/**"]])
def test_a_folder_that_cannot_be_read_does_not_hide_the_others(plates, monkeypatch, inputs):
    forbid(monkeypatch, "one")
    assert set(outputs(inputs, plates.parent / "labels")) >= {"one", "two/a.ome.tiff"}
    [job, *_] = find_jobs(["plates"], plates.parent / "labels")
    report = do_job(job, BatchSettings())
    assert (report.file, report.status) == ("one", "failed")
    assert "one cannot be read" in report.message


def test_an_input_that_cannot_be_read_is_refused(plates, monkeypatch):
    forbid(monkeypatch, "plates")
    with pytest.raises(InputError, match=r"plates cannot be read \(Permission denied\)"):
        find_jobs(["plates"], "labels")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["plates/nothing.tif"], "There is no file plates/nothing.tif"),
        (["plates/*.tif"], "There is no TIFF, PNG or zarr image in plates/"),
        (["plates", "empty"], "There is no TIFF, PNG or zarr image in empty"),
        (["plates/one"], "a.png and a.tif would both have the labels a_labels.tif"),
    ],
)
def test_what_cannot_be_done_is_said_before_work_starts(plates, inputs, message):
    (plates.parent / "empty").mkdir()
    (plates / "one" / "a.png").touch()
    with pytest.raises(InputError, match=message):
        find_jobs(inputs, plates / "labels")


def test_a_folder_that_links_to_one_around_it_is_searched_once(plates):
    (plates / "one" / "again").symlink_to(plates)
    (plates / "one" / "two").symlink_to(plates / "two")
    assert len(find_jobs(["plates"], "labels")) == 6


def test_what_is_not_there_is_reported_beside_what_is(plates):
    (plates / "one" / "gone.tif").symlink_to("/nowhere/annexed.tif")
    assert "gone.tif" in outputs("plates/one", plates / "new")
    jobs = find_jobs(["plates/one/a.tif", "plates/one/missing.tif"], plates / "new")
    report = do_job(jobs[1], BatchSettings())
    assert (report.file, report.status) == ("missing.tif", "failed")
    assert "There is no file" in report.message


def test_names_with_dots_stay_apart(plates):
    for name in ("exp.2023", "exp.2024"):
        zarr.create_array(str(plates / name), shape=(4, 4), dtype="u1")
    found = outputs("plates/exp*", plates / "new")
    assert found["exp.2023"] == "exp.2023_labels.ome.zarr"


def test_wells_of_a_plate_are_images(plates):
    plate = zarr.open_group(plates / "plate.zarr")
    plate.attrs["plate"] = {}
    for well in ("A/1", "A/2"):
        field = plate.create_group(f"{well}/0")
        field.attrs["multiscales"] = []
        field.create_array("0", shape=(4, 4), dtype="u1")
    expected = {"A/1/0", "A/2/0"}
    assert set(outputs("plates/plate.zarr", plates / "new")) == expected
    assert set(outputs("plates/plate.zarr/*/*/*", plates / "new")) == expected
    assert {f"plate.zarr/{each}" for each in expected} <= set(outputs("plates", plates / "new"))


def test_an_image_whose_arrays_lie_deeper_is_one(plates):
    nested = zarr.open_group(plates / "nested.zarr")
    nested.attrs["multiscales"] = [{"datasets": [{"path": "s/0"}]}]
    nested.create_array("s/0", shape=(4, 4), dtype="u1")
    converted = zarr.open_group(plates / "converted.zarr", zarr_format=2)
    converted.attrs["bioformats2raw.layout"] = 3
    converted.create_array("0/0", shape=(4, 4), dtype="u1")
    converted.create_group("OME")
    found = outputs("plates", plates / "new")
    assert found["nested.zarr"] == "nested_labels.ome.zarr"
    assert found["converted.zarr"] == "converted_labels.ome.zarr"
    assert not any(name.startswith(("nested.zarr/", "converted.zarr/")) for name in found)
