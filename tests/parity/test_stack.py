"""Whole stacks against the published video predictor, same random weights, float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2 import BoxPrompt, ImagePredictor, MaskPrompt, PointPrompt, VideoPredictor
from napari_sam2.inference.load import load_model
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.inference.transforms import to_model_image

pytestmark = pytest.mark.parity

LOGIT_TOLERANCE = 1e-3
SIZE = 512


def stack_of(frames: int) -> np.ndarray:
    """Discs that move over noise, uint8 of shape (frames, 96, 120)."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :120]
    planes = random.integers(0, 60, (frames, 96, 120))
    for frame, plane in enumerate(planes):
        for row, column, radius in ((30 + 2 * frame, 40, 14), (60, 90 - 3 * frame, 18)):
            plane[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] += 150
    return planes.astype(np.uint8)


class Published:
    """The published predictor on a stack, answering with logits at the plane's size."""

    def __init__(self, model, stack: np.ndarray, monkeypatch) -> None:
        from sam2 import sam2_video_predictor

        images = torch.cat([to_model_image(p, (0, 255), SIZE, torch.device("cpu")) for p in stack])
        monkeypatch.setattr(
            sam2_video_predictor, "load_video_frames", lambda **_: (images, *stack.shape[1:])
        )
        self.model = model
        self.state = model.init_state("")

    def points(self, object_id, frame, points_xy, labels=None, box=None):
        _, ids, logits = self.model.add_new_points_or_box(
            self.state, frame, object_id, points=points_xy, labels=labels, box=box
        )
        return dict(zip(ids, logits[:, 0].numpy(), strict=True))

    def mask(self, object_id, frame, mask):
        self.model.add_new_mask(self.state, frame, object_id, mask)

    def propagate(self, **options):
        return {
            frame: dict(zip(ids, logits[:, 0].numpy(), strict=True))
            for frame, ids, logits in self.model.propagate_in_video(self.state, **options)
        }


def assert_equal(ours: VideoPredictor, frame: int, published: dict[int, np.ndarray]) -> None:
    from napari_sam2.inference.transforms import to_plane_logits

    result = ours.result(frame)
    for object_id, mask in zip(result.object_ids, result.masks, strict=True):
        wanted = published[object_id]
        found = ours._tracks[object_id].get(frame)
        logits = to_plane_logits(found.logits[None], ours.source.plane_shape)[0, 0].numpy()
        assert np.abs(logits - wanted).max() < LOGIT_TOLERANCE, (frame, object_id)
        assert intersection_over_union(mask, wanted > 0) >= 0.999, (frame, object_id)


@pytest.fixture
def pair(published_tiny, monkeypatch):
    model, path = published_tiny
    stack = stack_of(10)
    ours = VideoPredictor(load_model(path, "cpu", image_size=SIZE), stack)
    return ours, Published(model, stack, monkeypatch)


def test_two_objects_forward_reverse_and_a_correction(pair):
    ours, theirs = pair
    ours.add_prompts(1, 2, [PointPrompt((34, 40))])
    theirs.points(1, 2, [[40, 34]], [1])
    ours.add_prompts(2, 4, [BoxPrompt((40, 60, 80, 98)), PointPrompt((60, 78))])
    theirs.points(2, 4, [[78, 60]], [1], box=[60, 40, 98, 80])

    seen_both = set()
    forward = theirs.propagate(start_frame_idx=0)
    for result in ours.propagate("forward", start=0):
        assert_equal(ours, result.frame, forward[result.frame])
        seen_both.update(result.present.tolist())
    assert set(forward) == set(range(10))

    reverse = theirs.propagate(start_frame_idx=9, reverse=True)
    for result in ours.propagate("backward", start=9):
        assert_equal(ours, result.frame, reverse[result.frame])
        seen_both.update(result.present.tolist())
    assert seen_both == {True, False}, "the weights show only one of presence and absence"

    # a correction on a tracked frame is decoded with memory, from the mask so far
    ours.add_prompts(1, 6, [PointPrompt((42, 40)), PointPrompt((80, 10), positive=False)])
    corrected = theirs.points(1, 6, [[40, 42], [10, 80]], [1, 0])
    assert_equal(ours, 6, {**corrected, 2: reverse[6][2]})

    again = theirs.propagate(start_frame_idx=0)
    for result in ours.propagate("forward", start=0):
        assert_equal(ours, result.frame, again[result.frame])


def test_a_given_mask_is_carried_on(pair):
    ours, theirs = pair
    rows, columns = np.mgrid[:96, :120]
    mask = (rows - 30) ** 2 + (columns - 40) ** 2 < 14**2
    ours.add_prompts(3, 0, [MaskPrompt(mask)])
    theirs.mask(3, 0, mask)
    forward = theirs.propagate()
    for result in ours.propagate("forward"):
        assert_equal(ours, result.frame, forward[result.frame])


def test_image_predictor(published_tiny):
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    model, path = published_tiny
    # three equal channels at the model's size: neither side has to resize
    plane = np.random.default_rng(1).integers(0, 255, (SIZE, SIZE), dtype=np.uint8)
    ours = ImagePredictor(load_model(path, "cpu", image_size=SIZE))
    ours.set_image(plane)
    theirs = SAM2ImagePredictor(model)
    # the package's list of feature sizes is that of 1024 pixels
    theirs._bb_feat_sizes = [(SIZE // 4,) * 2, (SIZE // 8,) * 2, (SIZE // 16,) * 2]
    theirs.set_image(np.repeat(plane[..., None], 3, axis=2))
    for multimask in (False, True):
        masks, scores, low = theirs.predict(
            np.array([[100.0, 200.0], [300, 50]]), np.array([1, 0]), multimask_output=multimask
        )
        prompts = [PointPrompt((200, 100)), PointPrompt((50, 300), positive=False)]
        prediction = ours.predict(prompts, multimask=multimask)
        np.testing.assert_allclose(prediction.scores, scores, atol=1e-4)
        np.testing.assert_allclose(prediction.logits.clip(-32, 32), low, atol=LOGIT_TOLERANCE)
        assert intersection_over_union(prediction.masks, masks > 0) >= 0.999
    masks, _, _ = theirs.predict(box=np.array([50.0, 60, 200, 260]), multimask_output=False)
    prediction = ours.predict([BoxPrompt((60, 50, 260, 200))])
    assert intersection_over_union(prediction.masks, masks > 0) >= 0.999


@pytest.mark.parametrize("variant", ["sam2_tiny", "sam2.1_small", "sam2.1_base_plus"])
def test_other_variants_encode_alike(variant, tmp_path):
    pytest.importorskip("sam2", reason="the published package is not installed: run make parity")
    from tests.parity.conftest import published

    model = published(variant, image_size=256)
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pt")
    ours = load_model(tmp_path / "weights.pt", "cpu", image_size=256)
    assert ours.config.name == variant
    image = torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        features = ours.network.encode_image(image)
        skip4, skip8, embedding = model.forward_image(image)["backbone_fpn"]
    torch.testing.assert_close(features.embedding, embedding, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.skip8, skip8, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features.skip4, skip4, atol=1e-4, rtol=1e-4)
