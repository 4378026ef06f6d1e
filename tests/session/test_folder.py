"""Sessions in folders: written at any moment, read strictly."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.session.test_history import CLICK, OTHER, SQUARE, STACK, do_run, result

from napari_sam2.inference.channels import Channel
from napari_sam2.inference.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)
from napari_sam2.session.export import write_ome_zarr
from napari_sam2.session.folder import SessionError, SessionFolder, read_session
from napari_sam2.session.identity import identify_image
from napari_sam2.session.log import MergeObjects, Paint, RemoveObject, Reopen, Run
from napari_sam2.session.log_json import read_command, write_command
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.saved import log_of, masks_of_image
from napari_sam2.session.saver import Saver, saved_session
from napari_sam2.session.session import Session
from napari_sam2.session.strict import FormatError
from napari_sam2.session.values import ModelChoice, StackKey

IMAGE = identify_image("cells", np.arange(6 * 9 * 9, dtype=np.uint16).reshape(6, 9, 9), False)
EVERY_PROMPT = (
    PointPrompt((0.1, 1 / 3), False),
    BoxPrompt((0.5, 1.0, 5.25, 6.0)),
    PolygonPrompt(((0.0, 0.0), (0.0, 9.0), (9.0, 9.0))),
    ScribblePrompt(((1.0, 2.0), (3.0, 4.0)), False),
    MaskPrompt(SQUARE),
)


def worked():
    """A session in which a bit of everything was done."""
    session = Session()
    session.set_prompts(STACK, 1, 0, EVERY_PROMPT)
    session.set_prompts(STACK, 2, 3, CLICK)
    session.choose(STACK, 2, 3, 1)
    do_run(session, result(0, [1]), result(3, [2, 1], logit=0.1))
    do_run(session, result(0, [1], present=False), request=PassRequest("forward", (0, 4), 3))
    session.set_prompts(OTHER, 3, 3, CLICK)
    do_run(session, result(3, [3]), stack=OTHER, outcome="failed")
    session.change_object(3, "nucleus", False)
    session.apply(MergeObjects(1, 2))
    session.split_object(STACK, 1, 3, 5, (9, 9))
    session.remove_mask(STACK, 1, 0)
    session.apply(Paint(OTHER, 4, 2, MaskPrompt(SQUARE)))
    session.add_object(7)
    session.apply(RemoveObject(7))
    return session


def saved(session):
    masks = masks_of_image("image", session)
    return saved_session(IMAGE, "image", session.log, masks)


def contents(session, stacks=(STACK, OTHER)):
    return (
        session.objects,
        [
            (
                dict(session.prompts(stack)),
                dict(session.choices(stack)),
                [
                    (frame, key, mask.crop.logits.tobytes(), mask.crop.origin, mask.score)
                    for frame in session.frames(stack)
                    for key, mask in session.masks(stack, frame).items()
                ],
            )
            for stack in stacks
        ],
    )


def test_a_session_that_is_read_is_the_one_that_was_written(tmp_path):
    session = worked()
    SessionFolder(tmp_path / "new" / "folder").write(saved(session))
    found = read_session(tmp_path / "new" / "folder", "image")
    assert found.image == IMAGE
    assert list(found.models) == ["nano"]
    again = Session()
    again.reopen(found.log, found.masks)
    assert contents(again) == contents(session)
    assert again.log == (*session.log, Reopen())
    assert again.undo_name == "Open the session"
    again.undo()
    assert again.objects == again.stacks == ()


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_masks_in_json(rows):
    session = Session()
    session.set_prompts(STACK, 1, 0, (MaskPrompt(np.array(rows)),))
    (command,) = session.log
    assert read_command(json.loads(json.dumps(write_command(command))), "image") == command


def test_the_same_masks_in_other_mappings_are_not_written_again(tmp_path):
    session, folder = saved(worked()), SessionFolder(tmp_path)
    folder.write(session)
    before = sorted(each.name for each in (tmp_path / "masks.zarr").iterdir())
    masks = {key: {at: dict(m) for at, m in found.items()} for key, found in session.masks.items()}
    folder.write(replace(session, masks=masks))
    assert sorted(each.name for each in (tmp_path / "masks.zarr").iterdir()) == before


def test_only_what_has_changed_is_written_again(tmp_path):
    session = worked()
    folder = SessionFolder(tmp_path)
    folder.write(saved(session))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "masks.zarr").iterdir()}
    do_run(session, result(5, [1]))
    folder.write(saved(session))
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "masks.zarr").iterdir()}
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before
    session.undo()
    folder.write(saved(session))
    assert {path.name for path in (tmp_path / "masks.zarr").iterdir()} == set(before)
    assert read_session(tmp_path, "image").log == session.log


def test_a_folder_is_gone_on_with_by_another_writer(tmp_path):
    session = worked()
    SessionFolder(tmp_path).write(saved(session))
    do_run(session, result(5, [1]))
    SessionFolder(tmp_path).write(saved(session))
    found = read_session(tmp_path, "image")
    assert list(found.masks[STACK]) == list(session.frames(STACK))


def test_each_image_has_its_own_part():
    session = worked()
    elsewhere = StackKey("elsewhere", (0, 1), None)
    session.set_prompts(elsewhere, 3, 0, CLICK)
    session.set_prompts(elsewhere, 9, 0, CLICK)
    do_run(session, result(0, [9]), stack=elsewhere)
    session.apply(RemoveObject(1))
    here, there = log_of("image", session.log), log_of("elsewhere", session.log)
    for name, log in (("image", here), ("elsewhere", there)):
        again = Session()
        again.reopen(log, masks_of_image(name, session))
        stacks = [stack for stack in session.stacks if stack.image == name]
        assert contents(again, stacks)[1] == contents(session, stacks)[1]
    assert sum(isinstance(command, Run) for command in there) == 1


def test_an_object_keeps_its_looks_in_an_image_where_it_is_used_later():
    session, elsewhere = Session(), StackKey("elsewhere", (0, 1), None)
    session.set_prompts(STACK, 1, 0, CLICK)
    session.change_object(1, name="nucleus", visible=False)
    session.set_prompts(STACK, 2, 0, CLICK)
    session.change_object(2, name="gone")
    session.apply(RemoveObject(2))
    session.set_prompts(elsewhere, 1, 0, CLICK)
    session.set_prompts(elsewhere, 2, 0, CLICK)
    again = Session()
    again.reopen(log_of("elsewhere", session.log), {})
    assert again.objects == session.objects
    assert [entry.name for entry in again.objects] == ["nucleus", "object 2"]


@pytest.fixture
def folder(tmp_path):
    SessionFolder(tmp_path).write(saved(worked()))
    return tmp_path


def edit(folder, change, honest=True):
    """Change session.json, with the checksum that belongs to it."""
    from napari_sam2.session import folder as module

    whole = json.loads((folder / "session.json").read_text())
    change(whole["session"])
    if honest:
        whole["sha256"] = module._digest(whole["session"])
    (folder / "session.json").write_text(json.dumps(whole))


def test_what_the_axes_mean_is_kept_and_exported(tmp_path):
    image = replace(
        IMAGE,
        axes="tyx",
        scale=(30.0, 0.25, 0.25),
        units=("second", "micrometer", "micrometer"),
        translation=(0.0, 12.5, -3.0),
    )
    SessionFolder(tmp_path / "session").write(replace(saved(Session()), image=image))
    found = read_session(tmp_path / "session")
    assert found.image == image
    assert not IMAGE.differences(image)
    write_ome_zarr(tmp_path / "labels.ome.zarr", found)
    described = zarr.open_group(str(tmp_path / "labels.ome.zarr"), mode="r").attrs["ome"]
    (levels,) = described["multiscales"]
    assert levels["axes"][0] == {"name": "t", "type": "time", "unit": "second"}
    assert levels["axes"][2] == {"name": "x", "type": "space", "unit": "micrometer"}
    size, place = levels["datasets"][0]["coordinateTransformations"]
    assert size == {"type": "scale", "scale": [30.0, 0.25, 0.25]}
    assert place == {"type": "translation", "translation": [0.0, 12.5, -3.0]}


def test_an_axis_that_was_taken_for_time_is_given_no_length(tmp_path):
    image = replace(IMAGE, axes="tyx", units=("micrometer",) * 3)
    write_ome_zarr(tmp_path / "labels.ome.zarr", replace(saved(Session()), image=image))
    described = zarr.open_group(str(tmp_path / "labels.ome.zarr"), mode="r").attrs["ome"]
    axes = described["multiscales"][0]["axes"]
    assert [axis.get("unit") for axis in axes] == [None, "micrometer", "micrometer"]


def test_a_session_saved_before_axes_were_named_is_read(folder):
    def forget(session):
        for name in ("axes", "scale", "units", "translation"):
            del session["image"][name]

    edit(folder, forget)
    assert read_session(folder).image == IMAGE
    edit(folder, lambda session: session["image"].update(axes="zy", scale=[], units=[]))
    with pytest.raises(SessionError, match="does not fit the shape"):
        read_session(folder)


def test_a_session_saved_before_translations_is_read(folder):
    edit(folder, lambda session: session["image"].pop("translation"))
    assert read_session(folder).image == IMAGE


def first_array(folder):
    return next(p for p in (folder / "masks.zarr").iterdir() if p.name.isdigit())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "session.json").unlink(), "is no session"),
        (lambda f: (f / "session.json").write_text("hello"), "not JSON"),
        (lambda f: (f / "session.json").write_text("[" * 100_000), "not JSON"),
        (lambda f: (f / "session.json").write_text("{}"), "was not written by napari-sam2"),
        (lambda f: (f / "session.json").write_bytes(b"\xff\xfe"), "is no session"),
        (
            lambda f: (f / "session.json").write_text((f / "session.json").read_text()[:-40]),
            "not JSON",
        ),
        (lambda f: edit(f, lambda s: s["log"].pop(), honest=False), "checksum"),
        (lambda f: edit(f, lambda s: s["log"].append({"do": "run code"})), "a command"),
        (lambda f: edit(f, lambda s: s["log"][0].update(object=0)), "whole number from 1"),
        (lambda f: edit(f, lambda s: s["log"][0].update(object=10**30)), "as large as"),
        (
            lambda f: edit(f, lambda s: s["masks"][0]["stack"].update(plane_axes=[5, 6])),
            "other axes than its image",
        ),
        (
            lambda f: edit(f, lambda s: s["log"][0]["stack"].update(frame_axis=9)),
            "other axes than its image",
        ),
        (lambda f: edit(f, lambda s: s["log"][0].update(more=1)), "record of"),
        (lambda f: edit(f, lambda s: s["log"].insert(0, s["log"][-1])), "no object 7"),
        (lambda f: edit(f, lambda s: s.pop("image")), "record of image"),
        (
            lambda f: edit(f, lambda s: s["masks"][0]["frames"][0].__setitem__(1, "../evil")),
            "number of an array",
        ),
        (lambda f: shutil.rmtree(first_array(f)), "damaged"),
        (lambda f: (first_array(f) / "c" / "0").write_bytes(b"no zstd"), "damaged"),
        (lambda f: (first_array(f) / "zarr.json").write_text("{}"), "not of the type"),
        (
            lambda f: (first_array(f) / "zarr.json").write_text(
                (first_array(f) / "zarr.json").read_text().replace("zstd", "numcodecs.pickle")
            ),
            "not of the type",
        ),
        (
            lambda f: (first_array(f) / "zarr.json").write_text(
                (first_array(f) / "zarr.json").read_text().replace("0.5", "0.6")
            ),
            "checksum of frame",
        ),
    ],
)
def test_what_is_foreign_cut_off_or_tampered_with_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(SessionError, match=message):
        read_session(folder)


def test_another_version_is_refused(folder):
    whole = json.loads((folder / "session.json").read_text())
    whole["version"] = 2
    (folder / "session.json").write_text(json.dumps(whole))
    with pytest.raises(SessionError, match="version 2 of the format"):
        read_session(folder)


def test_the_saver_writes_the_newest(tmp_path):
    session, saver = Session(), Saver(tmp_path, IMAGE, "image")
    for frame in range(20):
        session.set_prompts(STACK, 1, frame, CLICK)
        saver.save(session)
    saver.close()
    assert len(read_session(tmp_path, "image").log) == 20


def test_a_failed_write_is_told_once_and_tried_again(tmp_path):
    session, saver = worked(), Saver(tmp_path / "folder", IMAGE, "image")
    (tmp_path / "folder").write_text("in the way")
    told, heard = [], threading.Event()
    saver.failed.connect(lambda error: (told.append(error), heard.set()))
    saver.save(session)
    assert heard.wait(5)
    saver.save(session)
    time.sleep(0.2)
    (tmp_path / "folder").unlink()
    saver.close()
    assert len(told) == 1
    assert read_session(tmp_path / "folder", "image").log == session.log


def test_the_saver_outlives_an_error_that_nobody_foresaw(tmp_path, monkeypatch):
    session, saver = worked(), Saver(tmp_path, IMAGE, "image")
    told, heard = [], threading.Event()
    saver.failed.connect(lambda error: (told.append(error), heard.set()))
    with monkeypatch.context() as patch:
        patch.setattr(SessionFolder, "write", lambda *_: (_ for _ in ()).throw(MemoryError("full")))
        saver.save(session)
        assert heard.wait(5)
    saver.save(session)
    saver.close()
    assert isinstance(told[0], MemoryError)
    assert read_session(tmp_path, "image").log == session.log


KILLED = """
import sys, time
from pathlib import Path
from tests.session.test_folder import IMAGE, STACK, CLICK, do_run, result
from napari_sam2.session.saver import Saver
from napari_sam2.session.session import Session
session, saver = Session(), Saver(Path(sys.argv[1]), IMAGE, "image")
for number in range(100_000):
    session.set_prompts(STACK, 1, number, CLICK)
    do_run(session, result(number, [1, 2]))
    saver.save(session)
    print(number, flush=True)
    time.sleep(0.005)
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_session(tmp_path):
    for turn, patience in enumerate((0.3, 0.9)):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / str(turn))],
            stdout=subprocess.PIPE,
            text=True,
        )
        seen = {}
        deadline = None
        for line in process.stdout:
            deadline = deadline or time.monotonic() + patience + 3
            seen[int(line)] = time.monotonic()
            if time.monotonic() > deadline:
                break
        killed = time.monotonic()
        process.kill()
        process.wait()
        process.stdout.close()
        found = read_session(tmp_path / str(turn), "image")
        kept = max(frame for frame in found.masks[STACK])
        assert kept >= max(number for number, when in seen.items() if when < killed - 2)
        assert sorted(found.masks[STACK]) == list(range(kept + 1))
        assert sum(isinstance(command, Run) for command in found.log) in (kept + 1, kept + 2)


def test_models_and_devices_are_in_the_log():
    model = ModelChoice("mine.pt", "cpu", "bfloat16", 512)
    run = Run(STACK, model, (0.1, 250.0), (0, 3), PassRequest(objects=(1, 4)))
    assert read_command(json.loads(json.dumps(write_command(run))), "image") == run
    written = write_command(replace(run, view=(0, 1, 20, 30)))
    assert read_command(json.loads(json.dumps(written)), "image").view == (0, 1, 20, 30)
    with pytest.raises(FormatError, match="a list of 4"):
        read_command({**written, "view": [1, 2]}, "image")


OWN = Channel("image", (0.1, 1 / 3), 1.0, ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0)))
FURTHER = Channel("green", (0.0, 7.0), 0.5, ((0.0, 0.0, 0.0), (0.1, 1.0, 0.2), (1.0, 1.0, 1.0)))
GREEN = identify_image("GFP", np.zeros((6, 9, 9), np.float32), False)


@pytest.fixture
def blended(tmp_path):
    """Folder of a session with runs on the image alone, and blended with a channel."""
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    for channels in ((), (OWN, FURTHER), (FURTHER,)):
        session.begin_run(Run(STACK, ModelChoice(), (0.0, 1.0), (0, 0), channels=channels))
        session.add_result(result(0, [1]))
        session.end_run("done", None)
    masks = masks_of_image("image", session)
    images = {"green": GREEN, "elsewhere": IMAGE}
    SessionFolder(tmp_path).write(saved_session(IMAGE, "image", session.log, masks, images))
    return tmp_path, session.log


def test_channels_of_runs_are_read_as_they_were_written(blended):
    folder, log = blended
    found = read_session(folder, "image")
    assert found.channels == {GREEN.key: GREEN}
    further = replace(FURTHER, image=GREEN.key)
    assert [run.channels for run in found.log[1:]] == [(), (OWN, further), (further,)]
    assert found.log[1] == log[1]
    whole = json.loads((folder / "session.json").read_text())["session"]
    assert len(whole["channels"]) == 2
    assert "channels" not in whole["log"][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["log"][2].update(channels=[2]), "a number below 2"),
        (lambda s: s["log"][2].update(channels="01"), "a list"),
        (lambda s: s.pop("channels"), "a number below 0"),
        (lambda s: s["channels"][0].update(colormap=[]), "a colormap should have a colour"),
        (lambda s: s["channels"][0].update(colormap=[[0, 0]]), "a list of 3"),
        (lambda s: s["channels"][0].update(gamma="1"), "a number"),
        (lambda s: s["channels"][0].pop("gamma"), "record of"),
        (lambda s: s["channels"][1]["image"].update(code="x"), "record of"),
    ],
)
def test_channels_are_read_strictly(blended, change, message):
    edit(blended[0], change)
    with pytest.raises(SessionError, match=message):
        read_session(blended[0])


def test_a_session_of_one_image_is_written_as_before(tmp_path):
    SessionFolder(tmp_path).write(saved(worked()))
    whole = json.loads((tmp_path / "session.json").read_text())["session"]
    assert set(whole) == {"image", "models", "log", "masks"}
