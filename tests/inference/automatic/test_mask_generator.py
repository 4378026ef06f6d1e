from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2 import ImagePredictor, MaskGenerator, PointPrompt
from napari_sam2.inference import small_models
from napari_sam2.inference.automatic import point_decoder
from napari_sam2.inference.automatic.found_masks import USUAL, USUAL_OF_NANO, Thresholds
from napari_sam2.inference.automatic.mask_generator import crops_of
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.inference.transforms import to_plane_logits
from napari_sam2.model.mask_decoder import Decoded
from napari_sam2.sample_data import generated_zstack

EVERYTHING = {"score_floor": 0.0, "stability_floor": 0.0}


@pytest.fixture
def decoded(tiny_model, monkeypatch):
    """How many points each call of the decoder was asked about."""
    sizes = []
    decode = tiny_model.network.decode

    def counted(embedding, features, points_xy, labels):
        sizes.append(len(points_xy))
        return decode(embedding, features, points_xy, labels)

    monkeypatch.setattr(tiny_model.network, "decode", counted, raising=False)
    return sizes


@pytest.fixture
def encoded(monkeypatch):
    """The shape of each plane that was encoded."""
    shapes = []
    encode = point_decoder.encode_plane

    def noted(model, plane, limits):
        shapes.append(plane.shape[:2])
        return encode(model, plane, limits)

    monkeypatch.setattr(point_decoder, "encode_plane", noted)
    return shapes


@pytest.fixture
def circles(tiny_model, monkeypatch):
    """A decoder that answers with circles around the point: 4, 8 and 16 of the model's pixels."""

    def decode(embedding, features, points_xy, labels):
        middles = 4 * torch.arange(16) + 2.0
        x, y = points_xy[:, 0, :, None, None].unbind(1)
        squares = (middles - x) ** 2 + (middles[:, None] - y) ** 2
        logits = torch.stack([20 - 20 * squares / r**2 for r in (64, 4, 8, 16)], dim=1)
        scores = torch.tensor([0.99, 0.95, 0.9, 0.85]).expand(len(x), -1)
        return Decoded(logits, scores, scores, scores[:, 0])

    monkeypatch.setattr(tiny_model.network, "decode", decode, raising=False)


def same(first, second):
    assert len(first.masks) == len(second.masks)
    for one, other in zip(first.masks, second.masks, strict=True):
        assert intersection_over_union(one.runs.mask(), other.runs.mask()) > 0.99
        assert one.point_yx == other.point_yx
        np.testing.assert_allclose([one.score, one.stability], [other.score, other.stability],
                                   atol=1e-3)  # fmt: skip


@pytest.mark.parametrize("shape", [(96, 96), (50, 131), (200, 12), (9, 11)], ids=str)
@pytest.mark.parametrize("family", ["tiny_model", "tiny_sam1"])
def test_masks_are_those_of_single_clicks(family, shape, request):
    """Found around what matters only, or on planes smaller than the logits: still the same."""
    model = request.getfixturevalue(family)
    plane = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    generator = MaskGenerator(model, 3, score_floor=0.0, stability_floor=0.0)
    found = {(m.point_yx, round(m.score, 4)): m for m in generator.generate(plane).masks}
    predictor = ImagePredictor(model)
    predictor.set_image(plane)
    seen = 0
    for point in {point for point, _ in found}:
        alone = predictor.predict([PointPrompt(point)], multimask=True)
        logits = to_plane_logits(torch.from_numpy(alone.logits)[None], model.fit(shape))[0]
        for score, each in zip(alone.scores, logits.numpy(), strict=True):
            if score <= 0 or not (each > 0).any():
                continue
            mask = found[point, round(float(score), 4)]
            assert intersection_over_union(mask.runs.mask(), each > 0) > 0.99
            wanted = (each > 1).sum() / (each > -1).sum()
            assert mask.stability == pytest.approx(wanted, abs=0.01)
            seen += 1
    assert seen == len(found) > 0


def test_the_grid_lies_in_the_middles_of_its_cells(tiny_model, circles):
    generator = MaskGenerator(tiny_model, 4, **EVERYTHING)
    points = {mask.point_yx for mask in generator.generate(np.zeros((80, 40), np.uint8)).masks}
    assert points == {(r, c) for r in (10, 30, 50, 70) for c in (5, 15, 25, 35)}


def test_the_size_of_batches_changes_nothing(tiny_model, discs, decoded):
    found = [
        MaskGenerator(tiny_model, 5, batch=batch, **EVERYTHING).generate(discs[0][0])
        for batch in (1, 7, 64)
    ]
    assert decoded == [1] * 25 + [7, 7, 7, 4] + [25]
    assert len(found[0].masks) > 25
    same(found[0], found[1])
    same(found[0], found[2])


def test_cancelling_between_batches(tiny_model, discs, decoded):
    steps = MaskGenerator(tiny_model, 4, batch=6, **EVERYTHING).steps(discs[0][0])
    assert decoded == []  # nothing is done before the first step is asked for
    progress = []
    for candidates in steps:
        progress.append((candidates.decoded, candidates.points, len(candidates.masks) > 0))
        if candidates.decoded >= 12:
            break
    assert progress == [(0, 16, False), (6, 16, True), (12, 16, True)]
    assert decoded == [6, 6]
    whole = MaskGenerator(tiny_model, 4, batch=6, **EVERYTHING).generate(discs[0][0])
    assert len(candidates.masks) == sum(
        mask.point_yx in {m.point_yx for m in candidates.masks} for mask in whole.masks
    )


def test_choosing_asks_no_model(tiny_model, discs, decoded, encoded):
    candidates = MaskGenerator(tiny_model, 3, **EVERYTHING).generate(discs[0][0])
    assert (len(decoded), len(encoded)) == (1, 1)
    for threshold in (0.1, 0.5):
        candidates.choose(threshold, threshold, smallest=5).labels()
    assert (len(decoded), len(encoded)) == (1, 1)


def test_masks_below_the_floors_are_not_kept(tiny_model, discs):
    everything = MaskGenerator(tiny_model, 4, **EVERYTHING).generate(discs[0][0])
    score = float(np.median([mask.score for mask in everything.masks]))
    stability = float(np.median([mask.stability for mask in everything.masks]))
    floored = MaskGenerator(tiny_model, 4, score_floor=score, stability_floor=stability)
    kept = floored.generate(discs[0][0])
    assert kept.floors == Thresholds(score, stability)
    wanted = [m.score > score and m.stability >= stability for m in everything.masks]
    assert 0 < len(kept.masks) == sum(wanted) < len(wanted)


def test_points_of_a_detector(tiny_model, discs, circles):
    points = [(30.25, 30.0), (65, 70)]
    candidates = MaskGenerator(tiny_model, **EVERYTHING).generate(discs[0][0], None, points)
    assert (candidates.decoded, candidates.points) == (2, 2)
    assert [mask.point_yx for mask in candidates.masks] == [points[0]] * 3 + [points[1]] * 3
    for mask in candidates.masks:
        middle = np.mean(np.reshape(mask.box, (2, 2)), axis=0)
        np.testing.assert_allclose(middle, mask.point_yx, atol=3)


def test_a_detector_that_found_nothing(tiny_model, discs, encoded):
    candidates = MaskGenerator(tiny_model).generate(discs[0][0], points_yx=np.zeros((0, 2)))
    assert (candidates.points, len(candidates.choose())) == (0, 0)
    assert encoded == []


def test_crops_cover_the_plane_and_overlap():
    crops = crops_of((300, 420), 2)
    assert [layer for layer, _ in crops] == [0] + [1] * 4 + [2] * 16
    for layer in range(3):
        covered = np.zeros((300, 420), int)
        for row_min, col_min, row_max, col_max in (box for at, box in crops if at == layer):
            covered[row_min : row_max + 1, col_min : col_max + 1] += 1
        assert covered.min() == 1
        assert covered.max() == (1, 4, 4)[layer]
    assert crops[0][1] == (0, 0, 299, 419)


def test_masks_of_crops_lie_on_the_plane(tiny_model, circles, encoded):
    plane = np.zeros((160, 200), np.uint8)
    generator = MaskGenerator(tiny_model, 6, crop_layers=1, **EVERYTHING)
    candidates = generator.generate(plane)
    crops = [box for _, box in crops_of(plane.shape, 1)]
    # each crop is encoded once
    assert encoded == [(box[2] - box[0] + 1, box[3] - box[1] + 1) for box in crops]
    assert candidates.points == 5 * 36
    assert {mask.crop for mask in candidates.masks} == set(crops)
    for mask in candidates.masks:
        assert mask.runs.mask()[tuple(np.round(mask.point_yx).astype(int))]


def test_clicks_are_where_they_lie_in_their_crop(tiny_model, circles, monkeypatch):
    asked = []
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr(
        point_decoder, "freed", lambda logits, clicks: asked.append(clicks[0][0]) or logits
    )
    plane = np.zeros((160, 200), np.uint8)
    MaskGenerator(tiny_model, crop_layers=1, **EVERYTHING).generate(plane, points_yx=[(70.0, 90.0)])
    holding = [
        box
        for _, box in crops_of(plane.shape, 1)
        if box[0] <= 70 <= box[2] and box[1] <= 90 <= box[3]
    ]
    expected = [
        ((70.5 - top) / (bottom - top + 1), (90.5 - left) / (right - left + 1))
        for top, left, bottom, right in holding
    ]
    assert len(holding) > 1
    np.testing.assert_allclose(asked, expected)


def test_masks_cut_off_by_a_crop_are_left_out(tiny_model, circles):
    plane = np.zeros((160, 200), np.uint8)
    _, *crops = (box for _, box in crops_of(plane.shape, 1))
    row_min, col_min, row_max, col_max = crops[0]
    assert (row_min, col_min) == (0, 0)
    cases = {
        (40.0, 40.0): True,
        (3.0, 40.0): True,  # near the edge of the plane
        (40.0, 3.0): True,
        (row_max - 15.0, 40.0): False,
        (40.0, col_max - 15.0): False,
        (row_max - 40.0, col_max - 40.0): True,
    }
    generator = MaskGenerator(tiny_model, crop_layers=1, **EVERYTHING)
    for point, kept in cases.items():
        masks = generator.generate(plane, points_yx=[point]).masks
        own = [mask for mask in masks if mask.crop == crops[0] and mask.score > 0.94]
        assert len(own) == kept, point
        assert any(mask.crop == (0, 0, 159, 199) for mask in masks)


def test_too_little_memory_halves_the_batch(tiny_model, discs, decoded, monkeypatch):
    whole = MaskGenerator(tiny_model, 4, batch=16, **EVERYTHING).generate(discs[0][0])
    decode = tiny_model.network.decode

    def narrow(embedding, features, points_xy, labels):
        if len(points_xy) > 5:
            raise RuntimeError("CUDA out of memory")
        return decode(embedding, features, points_xy, labels)

    monkeypatch.setattr(tiny_model.network, "decode", narrow)
    decoded.clear()
    with pytest.warns(UserWarning, match="fewer are decoded at once") as warned:
        found = MaskGenerator(tiny_model, 4, batch=16, **EVERYTHING).generate(discs[0][0])
    assert decoded == [4] * 4
    assert len(warned) == 1
    same(found, whole)


@pytest.mark.filterwarnings("ignore:The memory does not suffice")
def test_no_memory_at_all_is_told_with_a_remedy(tiny_model, discs, monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA out of memory")

    for holder, name in ((tiny_model.network, "decode"), (point_decoder, "encode_plane")):
        with monkeypatch.context() as patch:
            patch.setattr(holder, name, full)
            with pytest.raises(MemoryError, match=r"96 x 96 pixels of a plane\. Close"):
                MaskGenerator(tiny_model, 1).generate(discs[0][0])


def test_other_errors_are_passed_on(tiny_model, discs, monkeypatch):
    def broken(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(tiny_model.network, "decode", broken, raising=False)
    with pytest.raises(RuntimeError, match="a mistake"):
        MaskGenerator(tiny_model, 4).generate(discs[0][0])


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.float32])
def test_planes_of_any_kind(tiny_model, dtype):
    plane = (np.random.default_rng(0).random((40, 50, 3)) * 3).astype(dtype)
    if dtype == np.float32:
        plane[0, :5] = np.nan
    generator = MaskGenerator(tiny_model, 2, **EVERYTHING)
    assert generator.generate(plane).shape == (40, 50)
    assert generator.generate(plane[..., 0]).masks


def test_contrast_limits_matter(tiny_model, discs):
    generator = MaskGenerator(tiny_model, 2, **EVERYTHING)
    found = [generator.generate(discs[0][0], limits) for limits in (None, (0, 255), (0, 60))]
    same(found[0], found[1])
    assert [mask.score for mask in found[0].masks] != [mask.score for mask in found[2].masks]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"points_per_side": 2.5}, "whole number"),
        ({"crop_layers": -1}, "crop_layers is -1"),
        ({"points_downscale": 0}, "points_downscale is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"points_per_side": 8, "crop_layers": 2, "points_downscale": 3}, "none left"),
        ({"score_floor": 1.5}, "score_floor is 1.5"),
        ({"stability_floor": -0.1}, "stability_floor is -0.1"),
    ],
)
def test_senseless_options_are_named(tiny_model, options, message):
    with pytest.raises(ValueError, match=message):
        MaskGenerator(tiny_model, **options)


@pytest.mark.parametrize(
    ("shape", "layers", "points", "error", "message"),
    [
        ((5,), 0, None, ValueError, "must be 3"),
        ((5, 8, 9), 0, None, ValueError, "must be 3"),
        ((60, 60), 1, None, ValueError, "40 x 40.*no more than 0 layers"),
        ((60, 70), 0, [1, 2, 3], ValueError, "must be \\(N, 2\\)"),
        ((60, 70), 0, [[1, 2, 3]], ValueError, "must be \\(N, 2\\)"),
        ((60, 70), 0, [[1, 2], [65, 3]], ValueError, "1 of 2 points .* such as \\(65, 3\\)"),
        ((60, 70), 0, [[1, np.nan]], ValueError, "1 of 1 points"),
    ],
)
def test_mistakes_are_named_before_any_work(
    tiny_model, encoded, shape, layers, points, error, message
):
    generator = MaskGenerator(tiny_model, crop_layers=layers)
    with pytest.raises(error, match=message):
        generator.steps(np.zeros(shape, np.uint8), points_yx=points)
    assert encoded == []


def test_what_is_usual_depends_on_the_model(tiny_model, tiny_sam1, nano):
    plane = np.zeros((20, 20), np.uint8)
    usual = [
        next(MaskGenerator(model).steps(plane)).usual for model in (tiny_model, tiny_sam1, nano)
    ]
    assert usual == [*USUAL.values(), USUAL_OF_NANO]


def test_nano_finds_nuclei(nano):
    (stack, *_), (truth, *_) = generated_zstack()[:2]
    labels = MaskGenerator(nano, 10).generate(stack[29]).choose(smallest=20).labels()
    nuclei = [truth[29] == number for number in np.unique(truth[29])[1:]]
    assert len(nuclei) == 9
    likeliest = [labels == np.bincount(labels[nucleus]).argmax() for nucleus in nuclei]
    overlaps = map(intersection_over_union, likeliest, nuclei)
    assert sum(overlap > 0.5 for overlap in overlaps) >= 6
