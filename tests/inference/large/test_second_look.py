"""What is asked again about a first answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.inference.large.test_tiling import BlobPredictor, discs_at

from napari_sam2 import BoxPrompt, PointPrompt
from napari_sam2.inference import small_models
from napari_sam2.inference.large.large_plane_objects import LargePlaneObjects
from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.training.evaluation import overlap_of_box, overlaps_by_clicks

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
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
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
    monkeypatch.setattr(small_models, "SMALL_MODELS", ())
    assert not second(predictor_of(bar()), [CLICK])[1]


class Leaving(Asked):
    """Finds nothing where it is clicked when it looks a second time."""

    def _ask(self, field, placed, multimask, previous):
        if len(placed.drawn) > 1:
            placed = type(placed)((PointPrompt((5, 5)),), ())
        return super()._ask(field, placed, multimask, previous)


def test_a_second_answer_without_the_click_does_not_count(predictor_of, tiny_model):
    predictor_of(bar())  # for what it patches
    predictor = Leaving(tiny_model, bar(), (0.0, 1.0), store=None)
    predictor.calls = []
    answer, calls, found = second(predictor, [CLICK])
    assert calls
    np.testing.assert_array_equal(found.logits, answer.only_best.logits)


class Ambiguous(Asked):
    """Gives three masks, of which the likeliest is not the one that it answers with."""

    def _ask(self, field, placed, multimask, previous):
        found = super()._ask(field, placed, multimask, previous)
        if not multimask:
            return found
        less, lesser = (found.logits[0].copy() for _ in range(2))
        less[:, 12:] = lesser[:, 8:] = -10
        scores = np.array([0.7, 0.9, 0.8], np.float32)
        return replace(found, scores=scores, logits=np.stack([found.logits[0], less, lesser]))


@pytest.fixture
def objects(predictor_of, tiny_model):
    predictor_of(bar())  # for what it patches
    predictor = Ambiguous(tiny_model, bar(), (0.0, 1.0), store=None)
    predictor.calls = []
    return LargePlaneObjects(predictor)


def ends_asked(objects):
    """At which ends something was asked a second time since the last time."""
    found = [drawn[1].position for drawn, _, _ in objects.predictor.calls if len(drawn) == 2]
    objects.predictor.calls.clear()
    return found


def test_clicks_and_what_a_choice_goes_back_to_get_one_but_no_candidate(objects):
    objects.add_prompts(1, 0, [CLICK])
    first = ends_asked(objects)
    assert len(first) == 1
    for index in range(3):
        objects.choose_candidate(1, 0, index)
        assert not ends_asked(objects)
    objects.choose_candidate(1, 0, None)
    assert ends_asked(objects) == first


def test_the_first_candidate_of_a_click_is_what_is_most_like_its_answer(objects):
    """So that the others show something else."""
    predictor = objects.predictor
    whole = predictor.predict([PointPrompt((32, 40))], multimask=True)
    for candidate, scores in ((0, [0.7, 0.9, 0.8]), (2, [0.8, 0.9, 0.7])):
        found = predictor.candidates([CLICK], whole.only([candidate]))
        np.testing.assert_allclose(found.scores, scores)
    found = predictor.candidates([BoxPrompt((20, 2, 44, 62))], whole.only([0]))
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7])


def test_evaluation_has_them_too(objects, monkeypatch):
    predictor, asked = objects.predictor, []
    look = predictor.look_again
    monkeypatch.setattr(
        predictor,
        "look_again",
        lambda prompts, answer: asked.append(prompts) or look(prompts, answer),
    )
    overlaps_by_clicks(predictor, bar(), 1)
    overlap_of_box(predictor, bar())
    assert [type(prompts[0]) for prompts in asked] == [PointPrompt, BoxPrompt]
