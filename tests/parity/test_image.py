"""Images against sam2's image predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.parity.published import discs, scaled
from tests.parity.report import IOU as IOU_COLUMN

from napari_sam2 import BoxPrompt, ImagePredictor, MaskPrompt, PointPrompt
from napari_sam2.inference.masks import intersection_over_union

pytestmark = pytest.mark.parity

SECTION = "4. Images in float32, against sam2's image predictor"
LOGIT_TOLERANCE, IOU = 1e-3, 0.999
SIZE = 256
SHAPES = [(256, 256), (150, 400), (301, 97)]
POINTS = [PointPrompt((40.0, 44.5)), PointPrompt((90, 12), positive=False)]
BOX = BoxPrompt((12, 20, 70, 84))


class Both:
    """Our predictor and the published one on one image."""

    def __init__(self, models, plane: np.ndarray) -> None:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        ours, self.model = models("sam2.1_tiny", SIZE)
        self.ours = ImagePredictor(ours)
        self.ours.set_image(plane)
        self.theirs = SAM2ImagePredictor(self.model)
        # the package's list is that of 1024 pixels
        self.theirs._bb_feat_sizes = [(SIZE // stride,) * 2 for stride in (4, 8, 16)]
        self.theirs.set_image(np.repeat(plane[..., None], 3, axis=2) if plane.ndim == 2 else plane)
        self.difference, self.iou, self.scale = 0.0, 1.0, 0.0

    def predict(self, prompts, multimask=False, previous=None, mask_input=None):
        """Compare; returns both answers."""
        found = self.ours.predict(prompts, multimask, previous)
        points = [p for p in prompts if isinstance(p, PointPrompt)]
        boxes = [p.box for p in prompts if isinstance(p, BoxPrompt)]
        masks, scores, logits = self.theirs.predict(
            np.array([p.position[::-1] for p in points]) if points else None,
            np.array([int(p.positive) for p in points]) if points else None,
            np.array(boxes[0])[[1, 0, 3, 2]] if boxes else None,
            mask_input,
            multimask,
        )
        self.scale = max(self.scale, float(np.abs(logits).max()))
        apart = np.abs(found.logits.clip(-32, 32) - logits).max()
        self.difference = max(self.difference, float(apart))
        for ours, theirs in zip(found.masks, masks > 0, strict=True):
            self.iou = min(self.iou, intersection_over_union(ours, theirs))
        assert apart < LOGIT_TOLERANCE
        assert self.iou >= IOU
        np.testing.assert_allclose(found.scores, scores, atol=1e-5)
        return found, logits[[int(np.argmax(scores))]]


@pytest.fixture
def image(models, table, request):
    made = []

    def make(plane: np.ndarray) -> Both:
        made.append(Both(models, plane))
        return made[-1]

    yield make
    row = request.node.originalname.removeprefix("test_").replace("_", " ")
    for both in made:
        table.note(SECTION, row, "logits differ by", both.difference)
        table.note(SECTION, row, "logits up to", both.scale)
        table.note(SECTION, row, IOU_COLUMN, both.iou)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_points_and_boxes(image, shape, multimask):
    both = image(discs(1, shape)[0])
    for prompts in (POINTS[:1], POINTS, [BOX], [BOX, *POINTS]):
        both.predict(prompts, multimask)


def test_a_colour_image(image):
    plane = np.random.default_rng(0).integers(0, 256, (120, 90, 3), dtype=np.uint8)
    both = image(plane)
    both.predict(POINTS)


def test_earlier_logits_fed_back(image):
    both = image(discs(1, (150, 200))[0])
    previous, logits = both.predict(POINTS[:1], multimask=True)
    previous, logits = both.predict(POINTS, previous=previous, mask_input=logits)
    both.predict([BOX, *POINTS], previous=previous, mask_input=logits)


def test_a_mask_with_points(image):
    plane = discs(1, (SIZE, SIZE))[0]
    both = image(plane)
    mask = np.zeros(plane.shape, dtype=bool)
    mask[20:120, 30:90] = True
    # the published predictor takes logits at a quarter of the size
    logits = torch.from_numpy(mask * 20.0 - 10.0)[None, None]
    logits = torch.nn.functional.interpolate(
        logits, scale_factor=0.25, mode="bilinear", antialias=True
    )
    for prompts in (POINTS[:1], POINTS, [BOX]):
        both.predict([MaskPrompt(mask), *prompts], mask_input=logits[0].numpy())


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_the_stability_fallback(image, gain):
    """A single mask is kept, or gives way where it is faint."""
    both = image(discs(1, (150, 200))[0])
    ours, theirs = both.ours.model.network.mask_decoder, both.model.sam_mask_decoder
    lasts = ours.mask_heads[0].layers[-1], theirs.output_hypernetworks_mlps[0].layers[-1]
    kept = []
    with scaled(gain, *lasts):
        for shift in range(0, 60, 20):
            prompts = [PointPrompt((40 + shift, 50 + shift)), POINTS[1]]
            single, _ = both.predict(prompts)
            three, _ = both.predict(prompts, multimask=True)
            best = three.logits[int(np.argmax(three.scores))]
            kept.append(bool((single.logits[0] != best).any()))
    assert kept == [gain == 1.0] * 3
