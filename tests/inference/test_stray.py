from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from napari_sam2 import (
    BoxPrompt,
    ImagePredictor,
    MaskGenerator,
    MaskPrompt,
    PointPrompt,
    VideoPredictor,
)
from napari_sam2.inference import image_predictor, small_models, stray, turns
from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.stray import NOT_THERE, TOUCHING, freed, without_stray
from napari_sam2.inference.video import answers, trackers

SHAPE = (40, 80)  # of a plane whose masks have 20 x 20 cells: two pixels by four
LARGE, SMALL, SPECK = (slice(0, 8), slice(0, 8)), (slice(12, 16), slice(0, 4)), (19, 19)


@pytest.fixture
def logits():
    """A mask in three parts: 64 cells, 16, and one."""
    mask = torch.full((1, 1, 20, 20), -3.0)
    for part in (LARGE, SMALL, SPECK):
        mask[0, 0][part] = 3.0
    return mask


def parts_left(logits):
    mask = logits[0, 0] > 0
    return [bool(mask[part].all()) for part in (LARGE, SMALL, SPECK)]


CLICKS = {  # (row, column) in pixels of the plane
    "large": PointPrompt((8, 16)),
    "small": PointPrompt((28, 8)),
    "speck": PointPrompt((39, 78)),
    "beside the small": PointPrompt((33, 8)),
    "nowhere": PointPrompt((20, 60)),
    "not the large": PointPrompt((8, 16), positive=False),
}
BOX = BoxPrompt((0, 0, 39, 79))
ANYTHING = [True, True, False]  # but specks


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (["large"], [True, False, False]),
        (["small"], [False, True, False]),
        (["speck"], [False, False, True]),
        (["large", "small"], [True, True, False]),
        (["small", "not the large"], [False, True, False]),
        (["beside the small"], [False, True, False]),
        (["nowhere"], ANYTHING),
        (["small", "nowhere"], ANYTHING),
        ([], ANYTHING),
    ],
)
def test_what_is_clicked_on_stays(logits, asked, left):
    found = without_stray(logits, [CLICKS[name] for name in asked], SHAPE)
    assert parts_left(found) == left


def test_a_box_may_hold_several_parts_and_a_click_on_a_speck_means_it(logits):
    assert parts_left(without_stray(logits, [BOX], SHAPE)) == ANYTHING
    assert parts_left(without_stray(logits, [BOX, CLICKS["small"]], SHAPE)) == ANYTHING
    assert parts_left(without_stray(logits, [BOX, CLICKS["speck"]], SHAPE)) == [True] * 3


def test_what_clicks_refine_stays(logits):
    before = torch.full((1, 1, 20, 20), -3.0)
    before[0, 0, 2:4, 2:4] = 3.0
    found = without_stray(logits, [CLICKS["small"]], SHAPE, before)
    assert parts_left(found) == [True, True, False]


def test_what_is_drawn_may_lie_in_pieces(logits):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:10, :10] = True
    found = without_stray(logits, [MaskPrompt(mask), CLICKS["large"]], SHAPE)
    assert parts_left(found) == [True] * 3


def test_what_goes_is_surely_background_and_all_else_as_it_was(logits):
    found = without_stray(logits, [CLICKS["large"]], SHAPE)[0, 0]
    gone = found != logits[0, 0]
    assert gone.sum() == 17
    assert (found[gone] == NOT_THERE).all()


def test_what_is_faint_around_it_goes_along(logits):
    """As the stability of a mask is that of what is left of it."""
    logits[0, 0, 11, :4] = logits[0, 0, 8, :8] = logits[0, 0, 18, 15] = -0.5
    found = without_stray(logits, [CLICKS["large"]], SHAPE)[0, 0]
    assert (found[11, :4] == NOT_THERE).all()
    assert (found[8, :8] == -0.5).all()
    assert found[18, 15] == NOT_THERE  # nothing there was kept


def test_each_mask_has_its_own_clicks(logits):
    both = logits[0].expand(2, -1, -1)
    found = freed(both, [[np.array([0.2, 0.2])], [np.array([0.7, 0.1])]])
    assert parts_left(found[None, :1]) == [True, False, False]
    assert parts_left(found[None, 1:]) == [False, True, False]


def test_parts_that_meet_at_a_corner_are_one_and_nothing_is_copied():
    mask = torch.full((1, 1, 20, 20), -3.0)
    mask[0, 0, :8, :8] = mask[0, 0, 8:10, 8:10] = 3.0
    assert without_stray(mask, [CLICKS["large"]], SHAPE).data_ptr() == mask.data_ptr()
    empty = torch.full((1, 3, 20, 20), -3.0)
    assert (without_stray(empty, [CLICKS["large"]], SHAPE) == empty).all()


@pytest.fixture
def like_nano(tiny_model, monkeypatch):
    """Random weights, whose masks are full of specks, freed of them."""
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr(turns, "TURNS", 1)  # whose mean has fewer
    return tiny_model


def has_specks(mask):
    sizes = np.bincount(label(mask, TOUCHING)[0].ravel())[1:]
    return len(sizes) > 0 and sizes.min() < stray.SPECK * sizes.max()


CLICK = PointPrompt((33, 30))


def on_a_plane(model, stack):
    predictor = ImagePredictor(model)
    predictor.set_image(stack[0])
    first = predictor.predict([CLICK], multimask=True)
    second = predictor.predict([CLICK, PointPrompt((60, 60))], previous=first)
    return [logits > 0 for logits in (*first.logits, *second.logits)]


def on_a_large_plane(model, stack):
    predictor = LargeImagePredictor(model, stack[0], store=None)
    return [logits > 0 for logits in predictor.predict([CLICK], multimask=True).logits]


def in_a_stack(model, stack):
    video = VideoPredictor(model, stack)
    video.add_prompts(1, 3, [CLICK])
    list(video.propagate("both"))
    tracked = video._tracks[1].tracked
    return [tracked[frame].logits[0] > 0 for frame in range(len(stack)) if frame != 3]


def everything(model, stack):
    generator = MaskGenerator(model, 4, score_floor=0.0, stability_floor=0.0)
    found = generator.generate(stack[0]).choose(0.0, 0.0)
    return [mask.runs.crop() for mask in found]


@pytest.mark.parametrize("way", [on_a_plane, on_a_large_plane, in_a_stack])
def test_masks_come_without_specks(way, like_nano, discs, monkeypatch):
    assert not any(map(has_specks, way(like_nano, discs[0])))
    monkeypatch.setattr(small_models, "SMALL_MODELS", ())
    assert any(map(has_specks, way(like_nano, discs[0])))


def test_masks_that_are_refined_are_kept(like_nano, discs, monkeypatch):
    """What they are freed by knows them, on a plane and where something was carried to."""
    refined = []

    def seen(model, decoded, prompts, shape, before):
        refined.append(before is not None)
        return decoded

    monkeypatch.setattr(image_predictor, "freed_answer", seen)
    monkeypatch.setattr(trackers, "freed_answer", seen)
    on_a_plane(like_nano, discs[0])
    assert refined == [False, True]
    video = VideoPredictor(like_nano, discs[0])
    video.add_prompts(1, 3, [CLICK])
    list(video.propagate())
    refined.clear()
    video.add_prompts(1, 5, [CLICK])
    assert refined == [True]


def test_what_is_asked_for_in_a_stack_may_be_as_small_as_a_speck(like_nano, discs, monkeypatch):
    monkeypatch.setattr(answers, "freed", pytest.fail)
    VideoPredictor(like_nano, discs[0]).add_prompts(1, 3, [CLICK, PointPrompt((60, 60))])


def test_without_a_click_each_mask_is_what_hangs_together(like_nano, discs, monkeypatch):
    """In the plane's pixels, where cells that met at a corner may part."""

    def parts():
        return np.mean([label(mask, TOUCHING)[1] for mask in everything(like_nano, discs[0])])

    alone = parts()
    monkeypatch.setattr(small_models, "SMALL_MODELS", ())
    assert alone < 0.6 * parts()


def test_only_nano_is_small(nano, tiny_model):
    assert is_small(nano)
    assert not is_small(tiny_model)
