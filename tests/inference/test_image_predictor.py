from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam2 import (
    BoxPrompt,
    ImagePredictor,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)


@pytest.fixture
def predictor(tiny_model, discs):
    predictor = ImagePredictor(tiny_model)
    predictor.set_image(discs[0][0])
    return predictor


def test_shapes(predictor):
    prediction = predictor.predict([PointPrompt((30, 30)), BoxPrompt((10, 10, 60, 60))])
    assert prediction.masks.shape == (1, 96, 96)
    assert prediction.logits.shape == (1, 16, 16)
    three = predictor.predict([PointPrompt((30, 30))], multimask=True)
    assert three.masks.shape == (3, 96, 96)
    np.testing.assert_array_equal(three.best, three.masks[three.scores.argmax()])


def test_previous_logits_of_another_size_are_refused(predictor):
    first = predictor.predict([PointPrompt((20, 20))])
    other = replace(first, logits=np.pad(first.logits, ((0, 0), (1, 1), (1, 1))))
    with pytest.raises(ValueError, match="same image_size"):
        predictor.predict([PointPrompt((20, 20))], previous=other)


def test_previous_logits_and_masks_matter(predictor, discs):
    first = predictor.predict([PointPrompt((30, 30))])
    again = predictor.predict([PointPrompt((30, 30))], previous=first)
    masked = predictor.predict([MaskPrompt(discs[1][0] == 1)])
    assert (first.logits != again.logits).any()
    assert (first.logits != masked.logits).any()


def test_a_polygon_is_its_mask_and_a_scribble_its_points(predictor):
    square = np.zeros((96, 96), dtype=bool)
    square[20:41, 20:41] = True
    corners = ((19.5, 19.5), (19.5, 40.5), (40.5, 40.5), (40.5, 19.5))
    clicks = [PointPrompt((30.0, 32.0)), PointPrompt((30.0, 36.0))]
    drawn = predictor.predict([PolygonPrompt(corners), ScribblePrompt(((30, 30), (30, 38)))])
    given = predictor.predict([*clicks, MaskPrompt(square)])
    np.testing.assert_array_equal(drawn.logits, given.logits)
    assert (given.logits != predictor.predict(clicks).logits).any()
    assert (given.logits != predictor.predict([MaskPrompt(square)]).logits).any()


def test_the_order_of_calls_does_not_matter(predictor):
    first = predictor.predict([PointPrompt((30, 30))])
    predictor.predict([BoxPrompt((10, 10, 60, 60))])
    np.testing.assert_array_equal(predictor.predict([PointPrompt((30, 30))]).logits, first.logits)


def test_mistakes_are_named(tiny_model):
    predictor = ImagePredictor(tiny_model)
    with pytest.raises(RuntimeError, match="set_image"):
        predictor.predict([PointPrompt((1, 1))])
    with pytest.raises(ValueError, match="must be 3"):
        predictor.set_image(np.zeros(5))
    predictor.set_image(np.zeros((8, 9)))
    with pytest.raises(ValueError, match="outside the plane of 8 x 9"):
        predictor.predict([PointPrompt((8, 1))])
