"""The dock around real models."""

import numpy as np
import pytest
import tifffile
import torch

from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.video.video_predictor import VideoPredictor
from napari_sam2.session.engine import Engine
from napari_sam2.session.values import ModelChoice
from napari_sam2.training.evaluation import clicks_on_largest_planes, label_overlaps

needs_cpu_only = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def test_the_dock_gives_what_the_predictor_gives(open_dock, tiny_model, discs, messages):
    stack, _ = discs
    opened = open_dock(stack, engine=Engine(load_model=lambda choice: tiny_model))
    opened.viewer.dims.set_current_step(0, 3)
    clicks = {1: (30, 33), 2: (67, 65)}
    for object_id, position in clicks.items():
        opened.controller.prompting.set_active(object_id, True)
        opened.points.add([3, *position])
        opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle(60_000)
    limits = tuple(opened.viewer.layers["image"].contrast_limits)
    video = VideoPredictor(tiny_model, stack, contrast_limits=limits, distinct=True)
    for object_id, position in clicks.items():
        video.add_prompts(object_id, 3, [PointPrompt(position)])
    expected = {result.frame: result.labels() for result in video.propagate()}
    assert any(plane.any() for plane in expected.values())
    for frame, plane in expected.items():
        # the worker's thread may add up in another order
        found = opened.labels()[frame]
        assert intersection_over_union(found > 0, plane > 0) >= 0.99
        assert np.mean(found == plane) >= 0.999
    assert messages == []


def test_a_large_plane_is_looked_at_in_parts_and_saved_and_undone(open_dock, tiny_model, messages):
    plane = np.random.default_rng(0).integers(0, 255, (300, 320), dtype=np.uint8)
    opened = open_dock(plane, engine=Engine(load_model=lambda choice: tiny_model))
    opened.points.add([210, 230])
    opened.wait_idle()
    limits = tuple(opened.viewer.layers["image"].contrast_limits)
    predictor = LargeImagePredictor(tiny_model, plane, limits)
    crop = predictor.predict([PointPrompt((210.0, 230.0))]).best
    expected = np.zeros(plane.shape, dtype=bool)
    expected[crop.slices] = crop.logits > 0
    assert expected.any()
    assert intersection_over_union(opened.labels() > 0, expected) >= 0.99
    opened.controller.session.undo()
    opened.wait_idle()
    assert not opened.labels().any()
    assert messages == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut off.pt", b"PK\x03\x04 and nothing more"),
        ("cut off.safetensors", b"\x08\x00\x00"),
        ("a picture.pt", b"\x89PNG\r\n\x1a\n" + bytes(64)),
        ("missing.pt", None),
    ],
)
def test_a_file_that_is_no_checkpoint(open_dock, stack, messages, tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    opened = open_dock(stack, engine=Engine())
    opened.dock.model.add_file(str(tmp_path / name))
    opened.points.add([0, 20, 18])
    opened.wait_idle(60_000)
    assert [severity for severity, _ in messages] == ["error"]
    assert name in messages[0][1]
    assert len(opened.points.data) == 1


def test_a_checkpoint_of_another_model(open_dock, stack, messages, tmp_path):
    torch.save({"model": {"fc.weight": torch.ones(3, 3)}}, tmp_path / "foreign.pt")
    opened = open_dock(stack, engine=Engine())
    opened.dock.model.add_file(str(tmp_path / "foreign.pt"))
    opened.points.add([0, 20, 18])
    opened.wait_idle(60_000)
    assert [severity for severity, _ in messages] == ["error"]
    assert "foreign.pt" in messages[0][1]


@needs_cpu_only
def test_a_device_that_is_not_there(open_dock, stack, messages):
    opened = open_dock(stack, engine=Engine())
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "cuda"))
    opened.points.add([0, 20, 18])
    opened.wait_idle(60_000)
    assert [severity for severity, _ in messages] == ["error"]
    assert "'cuda' is not available" in messages[0][1]


def test_nano_gives_a_mask_for_a_click(open_dock, discs, messages):
    stack, truth = discs
    opened = open_dock(stack, engine=Engine())
    opened.viewer.dims.set_current_step(0, 4)
    opened.points.add([4, 34, 30])
    opened.wait_idle(60_000)
    assert messages == []
    assert intersection_over_union(opened.labels()[4] == 1, truth[4] == 1) > 0.5


def test_one_click_for_each_nucleus(open_dock, real_data, messages):
    embryo = "Emb10_t351"  # one that nano was not trained on; benchmarks/bbbc050.py has more
    folder = real_data / "bbbc050"
    image = tifffile.imread(folder / "images" / f"{embryo}.tif")[::2]  # for time
    truth = tifffile.imread(folder / "labels" / f"{embryo}.tif")[::2]
    labels, sizes = np.unique(truth[truth > 0], return_counts=True)
    truth = np.where(np.isin(truth, labels[sizes >= 100]), truth, 0)
    opened = open_dock(image, engine=Engine())
    opened.controller.set_auto_run(False)
    clicks = clicks_on_largest_planes(truth)
    for object_id, (z, click) in clicks.items():
        opened.controller.prompting.set_active(object_id, True)
        opened.points.add([z, *click.position])
    opened.dock.propagate.run.click()
    opened.wait_idle(600_000)
    assert messages == []
    scores = label_overlaps(truth, opened.labels())
    assert np.mean(list(scores.values())) >= 0.5


def test_what_a_model_cannot_do_is_told_once(open_dock, stack, engine, messages):
    engine.model_note = "This model has no memory."
    opened = open_dock(stack)
    for column in (18, 19):
        opened.points.add([0, 20, column])
        opened.wait_idle()
    assert messages == [("info", "This model has no memory.")]


def test_a_file_that_is_no_checkpoint_is_not_gone_on_with(open_dock, discs, tmp_path, messages):
    (tmp_path / "junk.pt").write_bytes(b"junk")
    opened = open_dock(discs[0], engine=Engine())
    opened.dock.model.add_file(str(tmp_path / "junk.pt"))
    opened.points.add([0, 30, 33])
    opened.wait_idle(20_000)
    assert "junk.pt" in messages[-1][1]
    assert opened.dock.model.model.currentData() == "nano"
    assert opened.dock.model.note.text().startswith("junk.pt cannot be used, so nano is.")
    opened.controller.plane.run()
    opened.wait_idle(20_000)
    assert opened.labels()[0].any()


def test_of_two_files_that_are_no_checkpoints_neither_is_gone_back_to(
    open_dock, discs, tmp_path, messages
):
    opened = open_dock(discs[0], engine=Engine())
    for name in ("one.pt", "two.pt"):
        (tmp_path / name).write_bytes(b"junk")
        opened.dock.model.add_file(str(tmp_path / name))
    for column, left in ((33, "one.pt"), (34, "nano")):
        opened.points.add([0, 30, column])
        opened.wait_idle(20_000)
        assert opened.dock.model.model.currentText().startswith(left)
