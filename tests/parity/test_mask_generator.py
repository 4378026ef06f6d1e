"""Automatic masks against sam2's generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.parity.published import discs
from tests.parity.report import IOU as IOU_COLUMN

from napari_sam2 import MaskGenerator
from napari_sam2.inference.candidates import Candidate, Candidates
from napari_sam2.inference.mask_generator import crops, grid, is_cut
from napari_sam2.inference.mask_runs import MaskRuns
from napari_sam2.inference.masks import intersection_over_union

pytestmark = pytest.mark.parity

SECTION = "7. Automatic masks in float32, against sam2's generator"
SIZE = 256
# Some of the masks of random weights survive. Each fills most of the plane, so that boxes tell them
# apart no more: the suppression is compared by itself, below.
SCORE, STABILITY, OVERLAP = 0.45, 0.5, 1.0
WHOLE = slice(0, 150), slice(0, 400)


def generated(models, plane, layers):
    """Our masks and the published ones, each best first: lists of (mask, score, stability)."""
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    ours, model = models("sam2.1_tiny", SIZE)
    theirs = SAM2AutomaticMaskGenerator(
        model,
        points_per_side=6,
        points_per_batch=16,
        pred_iou_thresh=SCORE,
        stability_score_thresh=STABILITY,
        box_nms_thresh=OVERLAP,
        crop_nms_thresh=OVERLAP,
        crop_n_layers=layers,
    )
    # the package's list is that of 1024 pixels
    theirs.predictor._bb_feat_sizes = [(SIZE // stride,) * 2 for stride in (4, 8, 16)]
    wanted = [
        (each["segmentation"], each["predicted_iou"], each["stability_score"])
        for each in theirs.generate(np.repeat(plane[..., None], 3, axis=2))
    ]
    candidates = MaskGenerator(
        ours, points_per_side=6, crop_layers=layers, batch=16, lowest_score=-np.inf
    ).generate(plane)
    found = []
    for each in candidates.choose(SCORE, STABILITY, OVERLAP, overlap_of="boxes").masks:
        mask = np.zeros(plane.shape, dtype=bool)
        mask[each.mask.slices] = each.mask.expand()
        found.append((mask, each.score, each.stability))
    return found, sorted(wanted, key=lambda one: -one[1]), candidates


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("shape", [(256, 256), (180, 300)])
def test_the_same_masks(models, table, layers, shape):
    plane = np.resize(discs(1)[0], (300, 300))[: shape[0], : shape[1]]
    found, wanted, candidates = generated(models, plane, layers)
    assert 3 < len(wanted) < len(candidates.masks)
    assert len(found) == len(wanted)
    ious = []
    for (mask, score, stable), (other, other_score, other_stable) in zip(
        found, wanted, strict=True
    ):
        ious.append(intersection_over_union(mask, other))
        assert score == pytest.approx(other_score, abs=1e-4)
        assert stable == pytest.approx(other_stable, abs=1e-3)
    assert min(ious) >= 0.999
    row = f"{shape[0]} x {shape[1]}, {'crops' if layers else 'no crops'}"
    table.note(SECTION, row, "masks", len(found))
    table.note(SECTION, row, IOU_COLUMN, min(ious))


@pytest.fixture
def amg():
    return pytest.importorskip("sam2.utils.amg", reason="run make parity")


def random_boxes(count=400):
    """Boxes (low_row, low_column, high_row, high_column), the last pixels included."""
    random = np.random.default_rng(0)
    low = random.integers(0, (130, 380), (count, 2))
    high = np.minimum(low + random.integers(3, 150, (count, 2)), (149, 399))
    return np.concatenate([low, high], axis=1)


def test_the_grid_and_the_crops_are_the_published_ones(amg):
    np.testing.assert_allclose(grid(WHOLE, 7)[:, ::-1], amg.build_point_grid(7) * (400, 150))
    boxes, _ = amg.generate_crop_boxes((150, 400), 2, 512 / 1500)
    ours = [(x.start, y.start, x.stop, y.stop) for y, x in crops((150, 400), 2)]
    assert ours == [tuple(box) for box in boxes]


def test_masks_are_cut_off_where_the_published_boxes_are(amg):
    boxes = random_boxes()
    for rows, columns in crops((150, 400), 1):
        window = columns.start, rows.start, columns.stop, rows.stop
        # theirs are boxes within the crop
        shifted = torch.tensor(boxes[:, [1, 0, 3, 2]]) - torch.tensor(window[:2] * 2)
        wanted = amg.is_box_near_crop_edge(shifted, list(window), [0, 0, 400, 150])
        found = [is_cut(runs_of(box), (rows, columns), (150, 400)) for box in boxes]
        assert found == wanted.tolist()


def test_boxes_are_suppressed_as_torchvision_does():
    nms = pytest.importorskip("torchvision.ops").nms
    boxes, scores = random_boxes(), np.random.default_rng(1).random(400)
    kept = nms(torch.tensor(boxes[:, [1, 0, 3, 2]], dtype=torch.float64), torch.tensor(scores), 0.4)
    found = Candidates(
        (150, 400),
        tuple(
            Candidate(runs_of(box), score, 1.0, (0, 0), WHOLE)
            for box, score in zip(boxes, scores, strict=True)
        ),
    ).choose(-1, 0, 0.4, overlap_of="boxes")
    assert [each.score for each in found.masks] == scores[kept].tolist()
    assert 20 < len(kept) < 300


def runs_of(box):
    mask = np.zeros((150, 400), dtype=bool)
    mask[box[0] : box[2] + 1, box[1] : box[3] + 1] = True
    return MaskRuns.of(mask)
