"""Objects on a large plane: what is asked of them as of those of a stack."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2.inference.large import tiling
from napari_sam2.inference.large.large_plane_objects import LargePlaneObjects
from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt, PolygonPrompt

CLICK = PointPrompt((210.0, 230.0))
OTHER = PointPrompt((60.0, 60.0))


@pytest.fixture
def objects(tiny_model):
    plane = np.random.default_rng(0).integers(0, 255, (300, 320), dtype=np.uint8)
    return LargePlaneObjects(LargeImagePredictor(tiny_model, plane, store=None))


def test_a_click_is_answered_as_the_predictor_of_large_planes_does(objects):
    result = objects.add_prompts(3, 0, [CLICK])
    expected = objects.predictor.predict([CLICK])
    assert result.object_ids == (3,)
    assert result.shape == (300, 320)
    assert result.scores[0] == expected.scores.max()
    np.testing.assert_array_equal(result.crops[0].logits, expected.best.logits)
    assert result.crops[0].origin == expected.best.origin


def test_the_view_is_shown_where_the_prompts_lie_in_it(objects):
    view = objects.view = (140.0, 150.0, 280.0, 300.0)
    near = PointPrompt((205.0, 236.0), positive=False)
    first = objects.predictor.predict([CLICK], view=view)
    whole = objects.predictor.predict([OTHER])
    for prompts, wanted in (
        ([CLICK], first),
        ([CLICK, near], objects.predictor.predict([CLICK, near], previous=first, view=view)),
        ([OTHER], whole),
    ):
        found = objects.add_prompts(1, 0, prompts)
        np.testing.assert_array_equal(found.crops[0].logits, wanted.best.logits)
    assert first.field.box == (140, 150, 280, 300)
    objects.view = None
    found = objects.add_prompts(2, 0, [CLICK])
    expected = objects.predictor.predict([CLICK])
    np.testing.assert_array_equal(found.crops[1].logits, expected.best.logits)
    assert expected.field.box != first.field.box


def test_another_prompt_refines_what_there_was_and_a_moved_one_does_not(objects):
    first = objects.predictor.predict([CLICK])
    near = PointPrompt((205.0, 236.0), positive=False)
    objects.add_prompts(1, 0, [CLICK])
    refined = objects.add_prompts(1, 0, [CLICK, near])
    expected = objects.predictor.predict([CLICK, near], previous=first)
    np.testing.assert_array_equal(refined.crops[0].logits, expected.best.logits)
    moved = objects.add_prompts(1, 0, [OTHER])
    expected = objects.predictor.predict([OTHER])
    np.testing.assert_array_equal(moved.crops[0].logits, expected.best.logits)


def test_a_candidate_is_chosen_and_given_up_again(objects):
    first = objects.add_prompts(1, 0, [CLICK])
    three = objects.predictor.predict([CLICK], multimask=True)
    second_best = np.argsort(-three.scores)[1]
    chosen = objects.choose_candidate(1, 0, 1)
    assert chosen.scores[0] == three.scores[second_best]
    np.testing.assert_array_equal(chosen.crops[0].logits, three.crop(int(second_best)).logits)
    back = objects.choose_candidate(1, 0, None)
    np.testing.assert_array_equal(back.crops[0].logits, first.crops[0].logits)
    with pytest.raises(IndexError, match="no candidate 3: there are 3"):
        objects.choose_candidate(1, 0, 3)


def test_another_candidate_costs_one_decoder_call_and_the_next_none(objects, monkeypatch):
    decode, decoded = tiling.decode_prompts, []
    monkeypatch.setattr(
        tiling, "decode_prompts", lambda *asked: decoded.append(asked) or decode(*asked)
    )
    box = BoxPrompt((195.0, 215.0, 225.0, 245.0))
    for object_id, prompts in ((1, [CLICK]), (2, [box])):
        objects.add_prompts(object_id, 0, prompts)
        encoded, asked = objects.predictor.features.encoded, len(decoded)
        second = objects.choose_candidate(object_id, 0, 1)
        assert len(decoded) == asked + 1
        objects.choose_candidate(object_id, 0, 2)
        objects.choose_candidate(object_id, 0, None)
        again = objects.choose_candidate(object_id, 0, 1)
        assert len(decoded) == asked + 1
        assert objects.predictor.features.encoded == encoded
        place = second.object_ids.index(object_id)
        np.testing.assert_array_equal(again.crops[place].logits, second.crops[place].logits)


def test_given_masks_are_taken_as_they_are(objects):
    mask = np.zeros((300, 320), dtype=bool)
    mask[10:30, 40:50] = True
    triangle = PolygonPrompt(((100, 100), (100, 140), (140, 100)))
    result = objects.add_prompts(1, 0, [MaskPrompt(mask), triangle])
    assert result.masks[0][mask].all()
    assert result.masks[0][110, 110]
    assert not result.masks[0][60, 60]
    assert result.scores[0] == 1.0
    with pytest.raises(ValueError, match="no candidate beside it"):
        objects.choose_candidate(1, 0, 0)
    assert objects.predictor.features.encoded == 0


def test_a_snapshot_brings_back_what_was_known(objects):
    objects.add_prompts(1, 0, [CLICK])
    before, kept = objects.result(0), objects.snapshot()
    objects.add_prompts(1, 0, [OTHER])
    objects.add_prompts(2, 0, [CLICK])
    objects.restore(kept)
    after = objects.result(0)
    assert after.object_ids == (1,)
    np.testing.assert_array_equal(after.crops[0].logits, before.crops[0].logits)


def test_there_is_nothing_to_carry(objects):
    with pytest.raises(ValueError, match="no prompt yet"):
        next(objects.propagate())
    objects.add_prompts(1, 0, [CLICK])
    assert [result.object_ids for result in objects.propagate()] == [(1,)]
    objects.remove_object(1)
    assert objects.result(0).object_ids == ()


def test_mistakes_are_named(objects):
    with pytest.raises(ValueError, match="whole numbers from 1"):
        objects.add_prompts(0, 0, [CLICK])
    with pytest.raises(IndexError, match="a plane is frame 0"):
        objects.add_prompts(1, 1, [CLICK])
    with pytest.raises(ValueError, match="outside"):
        objects.add_prompts(1, 0, [PointPrompt((400.0, 10.0))])
    with pytest.raises(KeyError, match="no prompts"):
        objects.remove_prompts(1, 0)
    assert objects.result(0).object_ids == ()
