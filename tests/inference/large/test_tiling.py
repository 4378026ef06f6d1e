"""Planes larger than the model's input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import label

from napari_sam2 import (
    BoxPrompt,
    ImagePredictor,
    LargeImagePredictor,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)
from napari_sam2.inference import small_models
from napari_sam2.inference.large.tiling import LargePrediction
from napari_sam2.inference.load import Model
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.model.neck import ImageFeatures

VIEW = (100, 150, 163, 213)


class BlobPredictor(LargeImagePredictor):
    """Stands in for the network: an object is what is bright and joined to the first click.

    It sees what the network would see, the field alone, and answers at the decoder's resolution.
    """

    def _encode(self, field):
        shown = torch.from_numpy(self._shown(field))[None, None]
        return ImageFeatures(shown, shown, shown)

    def _key(self, field):
        return str(field)

    def _ask(self, field, placed, multimask, previous):
        shown = self.features[field].embedding
        blobs, _ = label(shown[0, 0].numpy() > 0.5)
        row, column = np.round(placed.shown_in(field)[0].position).astype(int)
        blob = torch.from_numpy((blobs == blobs[row, column]) & (blobs > 0)).float()
        fit = self.model.fit(field.shown)
        seen = fit.pad(F.interpolate(blob[None, None], fit.extent, mode="area"))
        logits = F.avg_pool2d(seen, 4)[0] * 20 - 10
        return LargePrediction(np.ones(1, np.float32), logits.numpy(), field, fit)


def discs_at(shape, centres, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return sum(np.hypot(rows - r, columns - c) < radius for r, c in centres) > 0


def drawn(prediction, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[prediction.best.slices] = prediction.best.logits > 0
    return mask


@pytest.fixture
def plane():
    return np.random.default_rng(0).integers(0, 200, (300, 400)).astype(np.uint8)


@pytest.fixture
def predictors(tiny_model, plane):
    small = ImagePredictor(tiny_model)
    row_min, col_min, row_max, col_max = VIEW
    small.set_image(plane[row_min : row_max + 1, col_min : col_max + 1])
    return LargeImagePredictor(tiny_model, plane), small


def in_view(row, column):
    return row + VIEW[0], column + VIEW[1]


def square(shape, row, column):
    mask = np.zeros(shape, dtype=bool)
    mask[row : row + 20, column : column + 25] = True
    return mask


def test_a_view_is_what_an_image_predictor_sees(predictors, plane):
    large, small = predictors
    corners = ((10.5, 12), (40, 30), (20, 55.0))
    for there, here in (
        ([PointPrompt(in_view(20, 30))], [PointPrompt((20, 30))]),
        (
            [PointPrompt(in_view(20, 30)), PointPrompt(in_view(50, 8), False)],
            [PointPrompt((20, 30)), PointPrompt((50, 8), False)],
        ),
        (
            [BoxPrompt((*in_view(5, 6), *in_view(40, 44)))],
            [BoxPrompt((5, 6, 40, 44))],
        ),
        (
            [MaskPrompt(square(plane.shape, *in_view(10, 20)))],
            [MaskPrompt(square((64, 64), 10, 20))],
        ),
        (
            [PolygonPrompt(tuple(in_view(*each) for each in corners))],
            [PolygonPrompt(corners)],
        ),
        (
            [ScribblePrompt((in_view(5, 5), in_view(30, 40)))],
            [ScribblePrompt(((5, 5), (30, 40)))],
        ),
    ):
        found, wanted = large.predict(there, view=VIEW), small.predict(here)
        np.testing.assert_array_equal(found.logits, wanted.logits)
        again = large.predict(there, True, previous=found, view=VIEW)
        three = small.predict(here, True, previous=wanted)
        np.testing.assert_array_equal(again.logits, three.logits)
        mask = drawn(again, plane.shape)
        np.testing.assert_array_equal(mask[VIEW[0] : 164, VIEW[1] : 214], three.best)
        assert mask.sum() == three.best.sum()
    assert large.features.encoded == 1


def test_a_view_is_encoded_once_and_found_in_the_store(tiny_model, plane):
    prompts = [PointPrompt((120, 180))]
    large = LargeImagePredictor(tiny_model, plane, memory_budget=0)
    assert large.features.encoded == 0
    first = large.predict(prompts, view=VIEW)
    large.predict([PointPrompt((130, 170))], view=VIEW)
    assert large.features.encoded == 1
    large.predict(prompts, view=(0, 0, 299, 399))  # the other leaves memory
    other = LargeImagePredictor(tiny_model, plane.copy(), memory_budget=0)
    np.testing.assert_array_equal(other.predict(prompts, view=VIEW).logits, first.logits)
    assert other.features.encoded == 0


def test_looking_for_a_tile_ends_whatever_the_model_says(predictors):
    large, _ = predictors
    first = large.predict([PointPrompt((120, 130))])
    encoded = large.features.encoded
    again = large.predict([PointPrompt((120, 130))])
    np.testing.assert_array_equal(first.logits, again.logits)
    assert large.features.encoded == encoded


def test_what_was_found_is_fed_back_in_any_field(predictors):
    large, _ = predictors
    click = [PointPrompt((120, 180))]
    first = large.predict(click, view=VIEW)
    for view in (VIEW, (90, 140, 190, 250), (0, 0, 299, 399)):
        plain, refined = (large.predict(click, previous=each, view=view) for each in (None, first))
        assert (plain.logits != refined.logits).any()


@pytest.mark.parametrize("view", [(60, 80, 123, 143), (40, 60, 230, 260), (0, 0, 299, 399)])
def test_a_mask_that_is_fed_back_stays_where_it_is(tiny_model, view):
    disc = discs_at((300, 400), [(90, 110)], 20)
    large = BlobPredictor(tiny_model, 255 * disc.astype(np.uint8))
    found = large.predict([PointPrompt((90, 110))])
    field = large.grid.view(view)
    fit = tiny_model.fit(field.shown)
    moved = found.seen_in(field, fit).numpy()
    there = LargePrediction(found.scores, moved[0], field, fit)
    middle = np.argwhere(drawn(there, disc.shape)).mean(axis=0)
    np.testing.assert_allclose(middle, (90, 110), atol=1.5 * field.step)


@pytest.mark.parametrize("sam", ["tiny_model", "tiny_sam1"])
def test_the_level_follows_the_object(request, sam):
    shape, centre = (512, 640), (250, 330)
    for radius, level in ((8, 0), (24, 1), (50, 2), (120, 3), (240, 3)):
        disc = discs_at(shape, [centre], radius)
        large = BlobPredictor(request.getfixturevalue(sam), 255 * disc.astype(np.uint8))
        found = large.predict([PointPrompt(centre)])
        assert found.field.level == level
        assert intersection_over_union(drawn(found, shape), disc) > 0.88  # of cells of 4 pixels
        assert (found.field == large.grid.whole) == (radius > 100)
        assert found.best.logits.shape[0] <= 2 * radius + 2 * found.field.step


def test_a_click_on_either_side_of_a_border_gives_the_same_mask(tiny_model):
    for radius in (6, 14, 30, 55):
        for offset in range(0, 32, 8):
            centre = (200 + offset, 216 - offset)
            disc = discs_at((400, 400), [centre], radius)
            large = BlobPredictor(tiny_model, 255 * disc.astype(np.uint8))
            turns = [(-0.8, 0), (0.8, 0), (0, -0.8), (0, 0.8)]
            found = [
                large.predict([PointPrompt((centre[0] + radius * r, centre[1] + radius * c))])
                for r, c in turns
            ]
            assert {each.field for each in found} == {found[0].field}
            masks = [drawn(each, disc.shape) for each in found]
            assert min(intersection_over_union(masks[0], mask) for mask in masks) > 0.95
            assert intersection_over_union(masks[0], disc) > 0.85


def test_few_tiles_are_encoded_for_an_object(tiny_model):
    disc = discs_at((1500, 1500), [(1011, 985)], 10)
    large = BlobPredictor(tiny_model, 255 * disc.astype(np.uint8))
    large.predict([PointPrompt((1011, 985))])
    assert large.features.encoded == 1
    large.predict([PointPrompt((1005, 980))])
    assert large.features.encoded <= 2


def test_prompts_that_lie_apart_are_seen_together(tiny_model):
    bright = discs_at((600, 600), [(100, 100), (100, 180)], 12)
    large = BlobPredictor(tiny_model, 255 * bright.astype(np.uint8))
    clicks = [PointPrompt((100, 100)), PointPrompt((100, 180), positive=False)]
    found = large.predict(clicks)
    assert found.field.level == 1
    assert found.field.holds((100, 100, 100, 180))
    boxed = large.predict([PointPrompt((100, 100)), BoxPrompt((60, 60, 300, 300))])
    assert boxed.field.level == 3
    assert boxed.field.holds((60, 60, 300, 300))


def test_settling_keeps_what_was_clicked(tiny_model):
    bright = discs_at((300, 300), [(100, 100)], 10)
    large = BlobPredictor(tiny_model, 255 * bright.astype(np.uint8))
    nothing = large.predict([PointPrompt((200, 200))])
    assert nothing.extent is None
    assert nothing.best.logits.size == 0
    found = large.predict([PointPrompt((100, 109))])
    assert found.covers((100, 109))
    assert not found.covers((100, 120))


@pytest.fixture
def discs(tiny_model, monkeypatch):
    """Discs of 3 and of 10 pixels, for a stand-in that looks closer at what is below 12."""
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr("napari_sam2.inference.large.tiling.SMALL", 12)
    plane = discs_at((300, 400), [(100, 100)], 3) | discs_at((300, 400), [(100, 130)], 10)
    return BlobPredictor(tiny_model, plane, (0.0, 1.0), store=None)


def test_a_small_object_is_looked_at_again_twice_as_large(discs):
    small, large = [PointPrompt((100, 100))], [PointPrompt((100, 130))]
    for prompts, shown in ((small, 32), (large, 64)):
        answer = discs.predict(prompts)
        assert answer.field.shown == (64, 64)
        assert discs.look_closer(prompts, answer).field.shown == (shown, shown)
    answer, disc = discs.predict(small), discs_at((300, 400), [(100, 100)], 3)
    found = discs.look_closer(small, answer)
    before, after = (
        intersection_over_union(drawn(each, disc.shape), disc) for each in (answer, found)
    )
    assert after > before
    np.testing.assert_array_equal(discs.look_closer(small, found).logits, found.logits)


def test_what_was_looked_at_closer_is_refined_there_while_it_fits(discs):
    small, large = PointPrompt((100, 100)), PointPrompt((100, 130))
    found = discs.look_closer([small], discs.predict([small]))
    near = PointPrompt((100, 108), positive=False)
    assert discs.predict([small, near], previous=found).field == found.field
    far = PointPrompt((100, 140), positive=False)
    assert discs.predict([small, far], previous=found).field.shown == (64, 64)
    assert discs.predict([large, small], previous=found).field.shown == (64, 64)  # a large one
    assert discs.predict([small, near], True, found).field.shown == (64, 64)


def test_only_tiles_are_looked_at_closer(discs, monkeypatch):
    prompts = [PointPrompt((100, 100))]
    seen = discs.predict(prompts, view=(60, 60, 140, 140))
    assert discs.look_closer(prompts, seen).field == seen.field
    far = [*prompts, PointPrompt((100, 140), positive=False)]
    assert discs.look_closer(far, discs.predict(far)).field.shown == (64, 64)
    monkeypatch.setattr(small_models, "SMALL_MODELS", ())
    assert discs.look_closer(prompts, discs.predict(prompts)).field.shown == (64, 64)


def test_a_plane_as_long_as_the_input_is_one_tile(tiny_model):
    for side, tile in ((50, 50), (85, 85), (86, 64)):  # the input is 64 long
        plane = np.zeros((side, 40), np.uint8)
        assert LargeImagePredictor(tiny_model, plane, store=None).grid.size == tile


def test_mistakes_are_named(predictors, tiny_model, plane):
    large, _ = predictors
    with pytest.raises(ValueError, match="outside the plane of 300 x 400"):
        large.predict([PointPrompt((300, 1))])
    with pytest.raises(ValueError, match="not inside the view"):
        large.predict([PointPrompt((10, 10))], view=VIEW)
    with pytest.raises(ValueError, match="There is no prompt"):
        large.predict([])
    with pytest.raises(ValueError, match="must be equal"):
        large.predict([MaskPrompt(np.ones((64, 64), bool))])
    with pytest.raises(ValueError, match="memory_budget"):
        LargeImagePredictor(tiny_model, plane, memory_budget=-1)


def test_nano_finds_discs_across_borders(nano):
    rng = np.random.default_rng(1)
    shape = (1500, 1500)
    centres = [(512, 640), (900, 385), (760, 1020)]
    discs = discs_at(shape, centres, 30)
    plane = (rng.integers(20, 50, shape) + 150 * discs).astype(np.uint8)
    large = LargeImagePredictor(nano, plane)
    for row, column in centres:
        disc = discs_at(shape, [(row, column)], 30)
        sides = [
            drawn(large.predict([PointPrompt(click)]), shape)
            for click in ((row, column - 8), (row, column + 8))
        ]
        assert intersection_over_union(*sides) > 0.9
        assert intersection_over_union(sides[0], disc) > 0.6
    assert large.features.encoded <= 6


def test_one_click_means_the_likeliest_and_is_asked_again_where_that_is_as_good(tiny_model):
    plane = np.random.default_rng(0).integers(0, 255, (300, 400), dtype=np.uint8)
    large = LargeImagePredictor(tiny_model, plane, store=None)
    kept, better = PointPrompt((100, 100)), PointPrompt((150, 220))
    three = large.predict([kept], multimask=True)
    found = large.predict([kept])
    assert len(found.scores) == 1
    assert found.scores[0] == three.scores.max()
    np.testing.assert_array_equal(found.logits[0], three.logits[three.scores.argmax()])
    assert large.predict([better]).scores[0] > large.predict([better], multimask=True).scores.max()


class Failing:
    """A network that is out of memory in its next calls."""

    def __init__(self, network):
        self.network, self.failures = network, 0

    def __getattr__(self, name):
        return getattr(self.network, name)

    def encode_image(self, image):
        self.failures -= 1
        if self.failures >= 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.network.encode_image(image)


@pytest.fixture
def failing(tiny_model, plane):
    network = Failing(tiny_model.network)
    model = Model(network, tiny_model.device, tiny_model.dtype)
    return network, LargeImagePredictor(model, plane, store=None)


def test_out_of_memory_it_goes_on_with_fewer_tiles(failing, predictors):
    network, large = failing
    large.predict([PointPrompt((120, 180))], view=VIEW)
    large.predict([PointPrompt((20, 30))], view=(0, 0, 63, 63))
    budget = large.features.budget
    network.failures = 1
    with pytest.warns(UserWarning, match="fewer are kept"):
        found = large.predict([PointPrompt((60, 70))], view=(30, 30, 93, 93))
    wanted = predictors[0].predict([PointPrompt((60, 70))], view=(30, 30, 93, 93))
    np.testing.assert_array_equal(found.logits, wanted.logits)
    assert large.features.budget < budget
    network.failures = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        large.predict([PointPrompt((120, 180))], view=VIEW)


@pytest.mark.filterwarnings("ignore:The memory does not suffice")
def test_a_tile_that_does_not_fit_is_told_with_a_remedy(failing):
    network, large = failing
    network.failures = 2
    with pytest.raises(MemoryError, match=r"64 x 64 pixels of a plane\. Close other programs"):
        large.predict([PointPrompt((120, 180))], view=VIEW)
    large.predict([PointPrompt((120, 180))], view=VIEW)
