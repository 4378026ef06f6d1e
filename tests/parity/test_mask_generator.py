"""Everything on a plane, against sam2's SAM2AutomaticMaskGenerator."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from tests.parity.published import discs
from tests.parity.report import IOU as IOU_COLUMN
from tests.parity.report import Table

from napari_sam2.inference.automatic.mask_generator import MaskGenerator
from napari_sam2.inference.masks import intersection_over_union

pytestmark = pytest.mark.parity

SECTION = "7. Everything on a plane in float32, against sam2's mask generator"
SIZE, SIDE = 256, 8
RADII = (40, 60, 90)  # in the model's pixels, of the three candidates
SCORE, STABILITY, OVERLAP = 0.4, 0.7, 0.5


def bumps(points_xy_model: torch.Tensor) -> torch.Tensor:
    """Logits (B, 3, h, w) that are high around a point, with a larger circle for each candidate."""
    middles = 4 * torch.arange(SIZE // 4) + 2.0
    x, y = points_xy_model[:, 0, :, None, None].unbind(1)  # (B, 1, 1)
    squares = (middles - x) ** 2 + (middles[:, None] - y) ** 2
    return torch.stack([15 - 15 * squares / radius**2 for radius in RADII], dim=1)


class Both:
    """Our generator and the published one.

    Masks of random weights spread over the whole plane wherever the point is, and suppression
    would leave one. So both decoders' logits are raised around the point.
    """

    def __init__(self, models, monkeypatch) -> None:
        self.model, self.theirs = models("sam2.1_tiny", SIZE)
        network, published = self.model.network, self.theirs.sam_mask_decoder
        decode, forward = network.decode, published.forward
        embed = self.theirs.sam_prompt_encoder._embed_points
        asked = []

        def ours_raised(embedding, features, points_xy, labels):
            decoded = decode(embedding, features, points_xy, labels)
            decoded.logits[:, 1:] += bumps(points_xy)
            return decoded

        def remembered(points, labels, pad):
            asked[:] = [points + 0.5]
            return embed(points, labels, pad)

        def theirs_raised(*args, **kwargs):
            logits, *others = forward(*args, **kwargs)
            return logits + bumps(asked[0]), *others

        monkeypatch.setattr(network, "decode", ours_raised, raising=False)
        monkeypatch.setattr(published, "forward", theirs_raised)
        monkeypatch.setattr(self.theirs.sam_prompt_encoder, "_embed_points", remembered)

    def published(self, plane, **options):
        """The published generator's answer, as it keeps it before writing records."""
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        generator = SAM2AutomaticMaskGenerator(
            self.theirs,
            pred_iou_thresh=SCORE,
            stability_score_thresh=STABILITY,
            box_nms_thresh=OVERLAP,
            crop_nms_thresh=OVERLAP,
            **options,
        )
        # the package's list is that of 1024 pixels
        generator.predictor._bb_feat_sizes = [(SIZE // stride,) * 2 for stride in (4, 8, 16)]
        with torch.no_grad():
            return generator._generate_masks(np.repeat(plane[..., None], 3, axis=2))

    def ours(self, plane, smallest=0, **options):
        candidates = MaskGenerator(self.model, **options).generate(plane)
        return candidates.choose(SCORE, STABILITY, OVERLAP, smallest, suppress="boxes")


@pytest.fixture
def both(models, monkeypatch):
    return Both(models, monkeypatch)


@pytest.fixture
def compare(table, request):
    row = request.node.originalname.removeprefix("test_").replace("_", " ")

    def compare(found, data, note=table.note) -> None:
        """The same masks, points, scores, boxes and crops, whatever their order."""
        from sam2.utils.amg import rle_to_mask

        masks = [rle_to_mask(rle) for rle in data["rles"]]
        assert len(found) == len(masks)
        left = list(range(len(masks)))
        for ours in found:
            own = ours.runs.mask()
            overlaps = [intersection_over_union(own, masks[index]) for index in left]
            best = left.pop(int(np.argmax(overlaps)))
            apart = abs(ours.score - data["iou_preds"][best])
            unstable = abs(ours.stability - data["stability_score"][best])
            note(SECTION, row, IOU_COLUMN, max(overlaps))
            note(SECTION, row, "scores differ by", float(apart))
            note(SECTION, row, "stabilities differ by", float(unstable))
            note(SECTION, row, "masks", len(masks))
            assert max(overlaps) >= 0.999
            assert apart < 1e-3
            assert unstable < 1e-3
            np.testing.assert_allclose(ours.point_yx, data["points"][best][::-1], atol=1e-3)
            assert ours.box == tuple(data["boxes"][best][[1, 0, 3, 2]])
            # their crops end one beyond the last pixel
            crop = data["crop_boxes"][best][[1, 0, 3, 2]] - [0, 0, 1, 1]
            assert ours.crop == tuple(crop)

    return compare


@pytest.mark.parametrize("shape", [(150, 200), (256, 256)], ids=str)
def test_a_grid(both, compare, shape):
    plane = discs(1, shape)[0]
    found = both.ours(plane, points_per_side=SIDE)
    assert 10 < len(found) < 3 * SIDE**2 / 2  # some survive, and some do not
    compare(found, both.published(plane, points_per_side=SIDE))


def test_crops(both, compare):
    plane = discs(1, (200, 260))[0]
    found = both.ours(plane, points_per_side=SIDE, crop_layers=2, points_downscale=2)
    heights = {mask.crop[2] - mask.crop[0] + 1 for mask in found}
    assert {200, 134, 76} <= heights  # masks of every layer survive
    compare(
        found,
        both.published(
            plane, points_per_side=SIDE, crop_n_layers=2, crop_n_points_downscale_factor=2
        ),
    )


def test_small_regions(both, compare, monkeypatch):
    """The package does this with OpenCV, in a function that its generator of today never calls."""
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    from sam2.utils.amg import area_from_rle

    def components(mask, connectivity):
        assert connectivity == 8
        regions, count = label(mask, np.ones((3, 3)))
        areas = np.bincount(regions.ravel(), minlength=count + 1)
        return count + 1, regions, areas[:, None], None

    # all that the function needs of OpenCV, which the package does not install
    stand_in = SimpleNamespace(connectedComponentsWithStats=components)
    monkeypatch.setitem(sys.modules, "cv2", stand_in)
    plane, smallest = discs(1, (150, 200))[0], 60
    data = both.published(plane, points_per_side=SIDE)
    before = {area_from_rle(rle) for rle in data["rles"]}
    for key in ("boxes", "points", "iou_preds", "stability_score", "crop_boxes"):
        data[key] = torch.from_numpy(data[key])
    data = SAM2AutomaticMaskGenerator.postprocess_small_regions(data, smallest, OVERLAP)
    # here masks that are smaller as a whole are left out
    data.filter(torch.tensor([area_from_rle(rle) >= smallest for rle in data["rles"]]))
    data.to_numpy()
    found = both.ours(plane, smallest, points_per_side=SIDE)
    assert len({mask.runs.area for mask in found} - before) > 5  # which were changed
    compare(found, data)


def test_the_comparison_sees_a_difference(both, compare):
    plane = discs(1, (150, 200))[0]
    data = both.published(plane, points_per_side=SIDE)
    found = both.ours(plane, points_per_side=SIDE)
    unheard = Table().note  # these differences are none of ours
    for others in ((), (replace(found[0], score=0.0),)):
        with pytest.raises(AssertionError):
            compare(replace(found, masks=(*others, *found.masks[1:])), data, unheard)
    compare(found, data, unheard)
