"""Asking a model everywhere on a plane."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2 import ImagePredictor, MaskGenerator, PointPrompt
from napari_sam2.inference.mask_generator import crops, grid, stability
from napari_sam2.inference.mask_runs import MaskRuns


@pytest.fixture
def plane(discs):
    return discs[0][0]


def generator(model, **arguments):
    return MaskGenerator(model, lowest_score=-np.inf, **arguments)


def alike(one, other):
    assert len(one.masks) == len(other.masks)
    for a, b in zip(one.masks, other.masks, strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-4)
        assert a.point_yx == b.point_yx
        assert a.mask.intersection(b.mask) >= 0.999 * max(a.mask.area, b.mask.area)


@pytest.mark.parametrize("model", ["tiny_model", "tiny_sam1"])
def test_a_point_gets_the_three_masks_of_a_click(request, plane, model):
    model = request.getfixturevalue(model)
    points = [(30.0, 31.5), (65, 70)]
    found = generator(model).generate(plane, points_yx=points).masks
    assert [each.point_yx for each in found] == [points[0]] * 3 + [points[1]] * 3
    predictor = ImagePredictor(model)
    predictor.set_image(plane)
    for at, point in enumerate(points):
        clicked = predictor.predict([PointPrompt(point)], multimask=True)
        for index in range(3):
            each = found[3 * at + index]
            assert each.score == pytest.approx(clicked.scores[index], abs=1e-5)
            assert each.mask.area == pytest.approx(clicked.masks[index].sum(), rel=1e-3)


@pytest.mark.parametrize("layers", [0, 1])
def test_batches_change_nothing_but_memory(tiny_model, plane, layers):
    plane = np.pad(plane, ((0, 34), (0, 64)), mode="reflect")
    whole, parts = (
        generator(tiny_model, points_per_side=5, crop_layers=layers, batch=batch).generate(plane)
        for batch in (1000, 3)
    )
    alike(whole, parts)
    assert len(whole.masks) > 0


def test_work_stops_between_batches(tiny_model, plane, monkeypatch):
    decoded = []
    decode = tiny_model.network.decode
    monkeypatch.setattr(
        tiny_model.network, "decode", lambda *of: decoded.append(len(of[0])) or decode(*of)
    )
    steps = generator(tiny_model, points_per_side=4, batch=6).steps(plane)
    assert [(step.done, step.total) for step in (next(steps), next(steps))] == [(6, 16), (12, 16)]
    steps.close()
    assert decoded == [6, 6]


def test_each_crop_is_encoded_once_and_answers_in_the_plane(tiny_model, monkeypatch):
    plane = np.random.default_rng(0).integers(0, 255, (130, 170)).astype(np.uint8)
    encoded = []
    encode = tiny_model.network.encode_image
    monkeypatch.setattr(
        tiny_model.network, "encode_image", lambda image: encoded.append(image) or encode(image)
    )
    found = generator(tiny_model, points_per_side=3, crop_layers=1, batch=2).generate(plane)
    assert len(encoded) == 5
    windows = crops((130, 170), 1)
    assert all(each.window in windows for each in found.masks)
    for each in found.masks:
        for at, point, side in zip(each.mask.slices, each.point_yx, each.window, strict=True):
            assert side.start <= at.start <= at.stop <= side.stop
            assert side.start <= point < side.stop


def test_masks_that_a_crop_cuts_off_are_left_out(tiny_model):
    plane = np.zeros((130, 170), dtype=np.uint8)
    found = generator(tiny_model, points_per_side=4, crop_layers=1).generate(plane).masks
    whole, *smaller = crops((130, 170), 1)
    assert any(each.window == whole for each in found)
    for each in found:
        if each.window in smaller:
            inner = each.window[0].stop, each.window[1].stop
            for at, end, length in zip(each.mask.slices, inner, (130, 170), strict=True):
                assert end == length or at.stop - 1 < end - 20


def test_what_scores_low_is_forgotten_at_once(tiny_model, plane):
    every = generator(tiny_model, points_per_side=4).generate(plane)
    middle = float(np.median([each.score for each in every.masks]))
    few = MaskGenerator(tiny_model, points_per_side=4, lowest_score=middle).generate(plane)
    assert [each.score for each in few.masks] == [
        each.score for each in every.masks if each.score > middle
    ]
    assert MaskGenerator(tiny_model, 2, lowest_score=2.0).generate(plane).masks == ()


def test_the_grid_lies_in_the_middle_of_cells():
    points = grid((slice(10, 20), slice(0, 40)), 2)
    assert points.tolist() == [[12.5, 10.0], [12.5, 30.0], [17.5, 10.0], [17.5, 30.0]]


def test_crops_cover_the_plane_and_overlap():
    windows = crops((300, 200), 2)
    assert len(windows) == 1 + 4 + 16
    for layer in (windows[1:5], windows[5:]):
        seen = np.zeros((300, 200), dtype=int)
        for window in layer:
            seen[window] += 1
        assert seen.min() == 1
        assert seen.max() == 4
    with pytest.raises(ValueError, match="Set crop_layers lower"):
        crops((60, 200), 3)


def test_stability_of_masks():
    logits = torch.tensor([[[2.0, 2.0, -2.0, 0.5]], [[-9.0, -9.0, -9.0, -9.0]]])
    assert stability(logits, 1.0).tolist() == [pytest.approx(2 / 3), 0.0]


def test_bad_input_is_told_before_work_starts(tiny_model, plane, monkeypatch):
    monkeypatch.setattr(tiny_model.network, "encode_image", None)
    with pytest.raises(ValueError, match="1 of 2 points lie outside the plane of 96 x 96"):
        MaskGenerator(tiny_model).generate(plane, points_yx=[(3, 4), (200, 3)])
    with pytest.raises(ValueError, match=r"has the shape \(3,\)"):
        MaskGenerator(tiny_model).generate(plane, points_yx=[1, 2, 3])
    with pytest.raises(ValueError, match="points_per_side is 0"):
        MaskGenerator(tiny_model, points_per_side=0)
    with pytest.raises(ValueError, match="Set crop_layers lower"):
        MaskGenerator(tiny_model, crop_layers=4).generate(plane)
    with pytest.raises((TypeError, ValueError)):
        MaskGenerator(tiny_model).generate(np.zeros((3, 4, 5, 6)))


def test_nano_finds_bright_discs(nano, discs):
    stack, truth = discs
    found = MaskGenerator(nano, points_per_side=8).generate(stack[0])
    for number in (1, 2):
        wanted = MaskRuns.of(truth[0] == number)
        overlaps = []
        for each in found.masks:
            shared = each.mask.intersection(wanted)
            overlaps.append(shared / (each.mask.area + wanted.area - shared))
        assert max(overlaps) > 0.75
