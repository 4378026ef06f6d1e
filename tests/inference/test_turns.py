from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2 import BoxPrompt, ImagePredictor, MaskPrompt, PointPrompt
from napari_sam2.inference import small_models, turns
from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.turns import mean_of_turns, turned_maps, turned_points
from napari_sam2.model.mask_decoder import Decoded
from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN, POSITIVE

SIZE = 64  # of the tiny model's input: planes as large are shown pixel by pixel


def turned_back(logits):
    return np.rot90(logits, -1, (1, 2))


@pytest.fixture
def all_turns(tiny_model, monkeypatch):
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr(turns, "TURNS", 4)
    return tiny_model


def test_a_point_stays_on_what_it_marks():
    marked = torch.zeros(1, 1, SIZE, SIZE)
    marked[0, 0, 10, 40] = 1  # row, column
    images = turned_maps(marked, 4)
    points, _ = turned_points(torch.tensor([[[40.5, 10.5]]]), torch.tensor([[POSITIVE]]), SIZE, 4)
    for image, (x, y) in zip(images[:, 0], points[:, 0].tolist(), strict=True):
        assert image[int(y), int(x)] == 1
    assert len({tuple(each) for each in points[:, 0].tolist()}) == 4


def test_a_box_keeps_its_lowest_corner_first():
    given = torch.tensor([[[10.0, 20.0], [30.0, 50.0], [12.0, 22.0]]])
    labels = torch.tensor([[BOX_MIN, BOX_MAX, POSITIVE]])
    points, turned_labels = turned_points(given, labels, SIZE, 4)
    assert turned_labels.tolist() == labels.tolist() * 4
    assert points[1].tolist() == [[20.0, SIZE - 30.0], [50.0, SIZE - 10.0], [22.0, SIZE - 12.0]]
    assert (points[:, 0] < points[:, 1]).all()
    assert given[0, 0].tolist() == [10.0, 20.0]  # not changed in place


def test_two_points_are_not_put_in_order():
    given = torch.tensor([[[30.0, 50.0], [10.0, 20.0]]])
    points, _ = turned_points(given, torch.full((1, 2), POSITIVE), SIZE, 2)
    assert points.tolist() == [given[0].tolist(), [[50.0, SIZE - 30.0], [20.0, SIZE - 10.0]]]


def test_masks_are_turned_back_before_they_are_averaged():
    logits = torch.rand(1, 4, 16, 16)
    every = torch.cat([logits + 1, (logits - 1).rot90(1, (2, 3))])
    found = mean_of_turns(
        Decoded(every, torch.tensor([[0.2], [0.4]]), torch.rand(2, 4, 8), torch.zeros(2))
    )
    torch.testing.assert_close(found.logits, logits)
    torch.testing.assert_close(found.scores, torch.tensor([[0.3]]))


@pytest.mark.parametrize("kind", ["click", "box", "mask and click"])
def test_the_answer_turns_with_the_plane(all_turns, kind, monkeypatch):
    """With all four turns it does so exactly, whatever the weights; with one it does not."""
    plane = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32)
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[8:30, 20:44] = True
    end = SIZE - 1
    as_it_lies, turned = {
        "click": ([PointPrompt((20, 45))], [PointPrompt((end - 45, 20))]),
        "box": ([BoxPrompt((10, 20, 30, 50))], [BoxPrompt((end - 50, 10, end - 20, 30))]),
        "mask and click": (
            [MaskPrompt(mask), PointPrompt((20, 45))],
            [MaskPrompt(np.rot90(mask)), PointPrompt((end - 45, 20))],
        ),
    }[kind]

    def both():
        predictor = ImagePredictor(all_turns)
        predictor.set_image(plane, (0.0, 1.0))
        first = predictor.predict(as_it_lies, multimask=True)
        refined = predictor.predict(as_it_lies, previous=first)
        predictor.set_image(np.rot90(plane), (0.0, 1.0))
        second = predictor.predict(turned, multimask=True)
        return first, second, refined, predictor.predict(turned, previous=second)

    first, second, refined, second_refined = both()
    np.testing.assert_allclose(turned_back(second.logits), first.logits, atol=1e-4)
    np.testing.assert_allclose(second.scores, first.scores, atol=1e-5)
    np.testing.assert_allclose(turned_back(second_refined.logits), refined.logits, atol=1e-4)
    monkeypatch.setattr(turns, "TURNS", 1)
    first, second, *_ = both()
    assert abs(turned_back(second.logits) - first.logits).max() > 0.01


def test_features_hold_each_turn(all_turns, discs):
    features = encode_plane(all_turns, discs[0][0], (0.0, 1.0), 4)
    assert len(features.embedding) == len(features.skip4) == 4


def test_only_nano_is_shown_planes_turned(nano, tiny_model):
    assert turns.turns_of(nano) > 1
    assert turns.turns_of(tiny_model) == 1
