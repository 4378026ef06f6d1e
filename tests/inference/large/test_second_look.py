"""What is asked again about a first answer."""

from __future__ import annotations

import numpy as np
import pytest
from tests.inference.large.test_tiling import BlobPredictor, discs_at

from napari_sam2 import BoxPrompt, PointPrompt
from napari_sam2.inference.prompts import MaskPrompt

SHAPE = (64, 64)  # one tile
CLICK = PointPrompt((32, 12))


class Asked(BlobPredictor):
    """Notes what it is asked."""

    def _ask(self, field, placed, multimask, previous):
        self.calls.append((placed.drawn, multimask, previous))
        if not isinstance(placed.drawn[0], PointPrompt):  # the stand-in knows clicks
            placed = type(placed)((CLICK,), ())
        return super()._ask(field, placed, multimask, previous)


def bar():
    plane = np.zeros(SHAPE, dtype=bool)
    plane[28:37, 4:60] = True
    return plane


@pytest.fixture
def predictor_of(tiny_model, monkeypatch):
    monkeypatch.setattr("napari_sam2.inference.large.tiling.CLOSER", (tiny_model.config.name,))
    monkeypatch.setattr("napari_sam2.inference.large.tiling.SMALL", 4)

    def made(plane):
        predictor = Asked(tiny_model, plane, (0.0, 1.0), store=None)
        predictor.calls = []
        return predictor

    return made


def second(predictor, prompts):
    """The first answer, what was asked after it, and the second."""
    answer = predictor.predict(prompts)
    predictor.calls.clear()
    found = predictor.look_again(prompts, answer)
    return answer, predictor.calls, found


def test_a_click_on_something_long_comes_back_with_one_at_its_far_end(predictor_of):
    answer, calls, found = second(predictor_of(bar()), [CLICK])
    (((first, end), multimask, previous),) = calls
    assert first == CLICK
    assert end.positive
    assert end.position[1] > 40
    assert abs(end.position[0] - 32) <= 1  # in its middle
    assert not multimask
    assert previous.logits is not None
    assert previous.field == answer.field == found.field


def test_a_click_on_something_round_is_answered_once(predictor_of):
    answer, calls, found = second(predictor_of(discs_at(SHAPE, [(32, 20)], 16)), [CLICK])
    assert not calls
    np.testing.assert_array_equal(found.logits, answer.only_best.logits)


def test_a_click_beside_what_was_found_is_answered_once(predictor_of):
    predictor = predictor_of(bar())
    answer = predictor.predict([CLICK])
    predictor.calls.clear()
    predictor.look_again([PointPrompt((50, 12))], answer)
    assert not predictor.calls


def test_the_answer_to_a_box_is_fed_back(predictor_of):
    box = BoxPrompt((20, 2, 44, 62))
    _, calls, _ = second(predictor_of(bar()), [box])
    (((drawn,), multimask, previous),) = calls
    assert drawn == box
    assert not multimask
    assert previous is not None


def covering():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[30:34, 10:50] = True
    return MaskPrompt(mask)


@pytest.mark.parametrize(
    "prompts",
    [
        [CLICK, PointPrompt((5, 5), positive=False)],
        [CLICK, PointPrompt((32, 50))],
        [CLICK, covering()],
        [CLICK, BoxPrompt((20, 2, 44, 62))],
    ],
)
def test_what_says_more_is_answered_once(predictor_of, prompts):
    assert not second(predictor_of(bar()), prompts)[1]


def test_nothing_is_asked_about_nothing_nor_of_other_models(predictor_of, monkeypatch):
    assert not second(predictor_of(bar()), [PointPrompt((5, 5))])[1]
    monkeypatch.setattr("napari_sam2.inference.large.tiling.CLOSER", ())
    assert not second(predictor_of(bar()), [CLICK])[1]
