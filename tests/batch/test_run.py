from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
import tifffile
from filelock import FileLock

from napari_sam2 import run_batch
from napari_sam2.batch import cluster, run
from napari_sam2.batch.run import Batch
from napari_sam2.checkpoints import replacing
from napari_sam2.inference.errors import InputError

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # as abrupt, in Windows


def written(folder):
    """Everything but the report, which has times, by name."""
    ours = {"report.csv", ".batch.lock"}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ours}


def rows(folder):
    with (folder / "report.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_killed_worker_costs_nothing_but_time(images, quick, tmp_path, monkeypatch, client):
    """One dies of the same image again and again, one with labels half written; others go on."""
    real, marker = run.do_job, tmp_path / "died"

    def dying(job, settings):
        def half(path, *_, **__):
            Path(path).write_bytes(b"half")
            os.kill(os.getpid(), KILL)

        if job.name == "im1.tif":
            os.kill(os.getpid(), KILL)
        if job.name == "im2.tif" and not marker.exists():
            marker.touch()
            tifffile.imwrite = half
        return real(job, settings)

    monkeypatch.setattr(run, "do_job", dying)
    two, one = tmp_path / "two", tmp_path / "one"
    reports = run_batch([images], two, quick, workers=2)
    assert marker.exists()
    assert [report.file for report in reports] == [f"im{number}.tif" for number in range(4)]
    assert [report.status for report in reports] == ["done", "failed", "done", "done"]
    assert "3 worker processes were ended" in reports[1].message
    monkeypatch.undo()

    batch = Batch([images], two, quick)
    assert [report.file for report in batch.run(client)] == ["im1.tif"]
    assert [report.status for report in batch.reports] == ["skipped", "done", "skipped", "skipped"]
    run_batch([images], one, quick, workers=1)
    assert written(one) == written(two)
    assert tifffile.imread(one / "im2_labels.tif").any()
    assert set(written(one)) == {"batch.json", *(f"im{number}_labels.tif" for number in range(4))}


def test_what_a_killed_worker_has_done_is_not_done_again(images, quick, tmp_path, monkeypatch):
    real, log, told = run.do_job, tmp_path / "log", tmp_path / "told"
    log.touch()

    def dying(job, settings):
        first = job.name not in log.read_text()
        with log.open("a") as file:
            file.write(f"{job.name}\n")
        if job.name == "im3.tif" and first:
            while not told.exists():
                time.sleep(0.1)
            os.kill(os.getpid(), KILL)
        return real(job, settings)

    monkeypatch.setattr(run, "do_job", dying)
    batch = Batch([images], tmp_path / "labels", quick)
    with batch.client(workers=1) as client:
        for report in batch.run(client):
            if report.file == "im2.tif":
                released = Timer(1, told.touch)  # the next step of the run lets go of this one
                released.start()
    assert [report.status for report in batch.reports] == ["done"] * 4
    assert sorted(log.read_text().split()) == ["im0.tif", "im1.tif", "im2.tif", *["im3.tif"] * 2]


def test_a_run_goes_on_where_it_stopped(images, quick, tmp_path, client):
    output = tmp_path / "labels"
    batch = Batch([images], output, quick)
    assert len(batch.todo) == 4
    first = next(running := batch.run(client))
    running.close()
    assert [row["file"] for row in rows(output)] == [first.file]
    torn = output / ".im3_labels.1-2.part.tif"
    torn.touch()
    (images / "im9.tif").touch()

    batch = Batch([images], output, quick)
    others = {report.file: report for report in batch.run(client)}
    assert first.file not in others
    assert not torn.exists()
    assert [row["status"] for row in rows(output)].count("skipped") == len(batch.jobs) - len(others)
    assert others["im9.tif"].status == "failed"
    assert len(rows(output)) == 5

    (output / "im1_labels.tif").write_bytes(b"torn")
    os.utime(images / "im2.tif", (0, 0))  # as after cp -p of an older one
    names = [job.name for job in Batch([images], output, quick).todo]
    assert names == ["im1.tif", "im2.tif", "im9.tif"]


def test_labels_of_other_settings_are_not_mixed(images, quick, tmp_path, client):
    output = tmp_path / "labels"
    list(Batch([images / "im0.tif"], output, quick).run(client))
    other = replace(quick, smallest=5, threads=2)
    with pytest.raises(InputError, match=r"other settings \(smallest, threads\).*--overwrite"):
        Batch([images], output, other)
    with pytest.raises(InputError, match="with all of its images"):
        Batch([images / "im1.tif"], output, other, overwrite=True)
    batch = Batch([images / "im0.tif"], output, other, overwrite=True)
    assert [report.status for report in batch.run(client)] == ["done"]
    assert json.loads((output / "batch.json").read_text())["smallest"] == 5
    (output / "batch.json").unlink()
    with pytest.raises(InputError, match="not known"):
        Batch([images], output, other)


@pytest.mark.parametrize("name", ["im0_labels.csv", "im0_labels.ctc", "report.csv", "batch.json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_files_of_the_user_are_not_taken_for_ours(images, quick, tmp_path, client, name, overwrite):
    output = tmp_path / "labels"
    output.mkdir()
    if name.endswith(".ctc"):
        (output / name).mkdir()
    else:
        (output / name).write_text("[]")
    with pytest.raises(InputError, match="is not of a batch"):
        list(Batch([images / "im0.tif"], output, quick, overwrite).run(client))
    assert [path.name for path in output.iterdir() if not path.name.startswith(".")] == [name]


def test_labels_of_other_settings_in_other_folders_are_seen(images, quick, tmp_path, client):
    for name in ("a", "b"):
        (images / name).mkdir()
        (images / f"im{'ab'.index(name)}.tif").rename(images / name / "x.tif")
    folders = [images / "a", images / "b"]
    output = tmp_path / "labels"
    list(Batch(folders, output, quick).run(client))
    with pytest.raises(InputError, match=r"b.x_labels.tif was made with other settings"):
        Batch(f"{images}/a*/*.tif", output, replace(quick, smallest=5), overwrite=True)
    assert not Batch(folders, output, quick).todo
    assert Batch(folders, output, replace(quick, smallest=5), overwrite=True).todo


def test_settings_that_no_image_could_do_with_leave_the_folder_alone(
    images, quick, tmp_path, client
):
    list(Batch([images], tmp_path / "labels", quick).run(client))
    before = written(tmp_path / "labels")
    for odd in (replace(quick, image_size=100), replace(quick, device="tpu")):
        batch = Batch([images], tmp_path / "labels", odd, overwrite=True)
        with pytest.raises(InputError, match="The workers cannot begin"):
            next(batch.run(client))
    with pytest.raises(InputError, match="model nowhere is not here"):
        Batch([images], tmp_path / "new", replace(quick, model="nowhere"))
    with pytest.raises(InputError, match="is a file"):
        Batch([images], images / "im0.tif", quick)
    assert written(tmp_path / "labels") == before


def test_two_runs_do_not_share_a_folder(images, quick, tmp_path, client):
    batch = Batch([images], tmp_path, quick)
    with FileLock(tmp_path / ".batch.lock"), pytest.raises(InputError, match="Another run"):
        next(batch.run(client))


def test_a_scheduler_that_is_there_is_used(images, quick, tmp_path, client, monkeypatch):
    address = client.scheduler.address
    reports = run_batch([images], tmp_path / "labels", quick, scheduler=address)
    assert {report.status for report in reports} == {"done"}
    monkeypatch.setattr(cluster, "_PATIENCE", 0.2)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127.0.0.1:1"):
        run_batch([images], tmp_path / "new", quick, scheduler="tcp://127.0.0.1:1")


def test_each_gpu_has_a_worker(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cluster._gpus("auto") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert cluster._gpus("cuda") == ["4", "7"]
    assert cluster._gpus("cpu") == cluster._gpus("cuda:1") == []


@pytest.mark.parametrize(("workers", "threads"), [(-1, 1), (1, 0)])
def test_numbers_that_cannot_work_are_refused(images, tmp_path, quick, workers, threads):
    settings = replace(quick, threads=threads)
    with pytest.raises(InputError, match="must be 1 or more"):
        run_batch([images], tmp_path / "out", settings, workers=workers)


def test_labels_of_another_image_of_the_same_name_are_kept(images, quick, tmp_path, client):
    labels, other = tmp_path / "labels", tmp_path / "other"
    one = leave(images, ["im0.tif"])
    list(Batch([one], labels, quick).run(client))
    before = written(labels)
    shutil.copytree(one, other)  # the same, in size and time
    with pytest.raises(InputError, match=r"has the labels of .*images.im0\.tif, not of .*other"):
        Batch([other], labels, quick)
    assert written(labels) == before
    shutil.rmtree(one)  # it was moved, then
    assert [report.status for report in Batch([other], labels, quick).reports] == ["skipped"]


def test_a_table_of_the_user_beside_labels_is_kept(images, quick, tmp_path, client):
    labels, one = tmp_path / "labels", leave(images, ["im0.tif"])
    list(Batch([one], labels, quick).run(client))
    (labels / "im0_labels.csv").write_text("label,area\n1,20\n")
    with pytest.raises(InputError, match=r"im0_labels.csv is not of a batch"):
        list(Batch([one], labels, quick, overwrite=True).run(client))
    assert (labels / "im0_labels.csv").exists()
    assert (labels / "im0_labels.tif").exists()


def test_what_is_removed_is_gone_at_once(images, quick, tmp_path, client, monkeypatch):
    labels, one = tmp_path / "labels", leave(images, ["im0.tif"])
    list(Batch([one], labels, quick).run(client))
    (labels / "im0_labels.ome.zarr").mkdir()

    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(replacing.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        replacing.remove(labels / "im0_labels.ome.zarr")
    assert not (labels / "im0_labels.ome.zarr").exists()
    monkeypatch.undo()
    list(Batch([one], labels, quick).run(client))
    assert set(written(labels)) == {"im0_labels.tif", "batch.json"}


def test_a_link_is_removed_and_not_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    replacing.remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_image_that_is_gone_since_does_not_stop_the_others(images, quick, tmp_path, client):
    labels = tmp_path / "labels"
    leave(images, ["im0.tif", "im1.tif"])
    list(Batch([images / "im0.tif"], labels, quick).run(client))
    elsewhere = shutil.copytree(images, tmp_path / "elsewhere")
    (elsewhere / "im0.tif").unlink()
    batch = Batch([elsewhere / "im0.tif", elsewhere / "im1.tif"], labels, quick)
    list(batch.run(client))
    assert [report.status for report in batch.reports] == ["failed", "done"]


def test_a_folder_that_cannot_be_made_is_no_failure_of_images(images, quick, tmp_path, client):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Not a directory"):
        list(Batch([images], tmp_path / "file" / "labels", quick).run(client))


def test_a_scheduler_without_a_port_is_refused(images, quick, tmp_path):
    with pytest.raises(InputError, match="it has no port"):
        run_batch([images], tmp_path, quick, scheduler="node1")


def leave(folder, kept):
    """Leave some of the images of a folder, so that work on it is quick."""
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()
    return folder
