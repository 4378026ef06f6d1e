"""Our video predictor and the published one, given the same things and compared at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from tests.parity.published import exact_torch, model_image

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt, VideoPredictor
from napari_sam2.inference.masks import intersection_over_union

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import ModelPrompt
    from napari_sam2.inference.video.video_predictor import Direction

LOGIT_TOLERANCE = 1e-3
IOU = 0.999


def own_logits(predictor: VideoPredictor, object_id: int, frame: int) -> torch.Tensor:
    """What ours knows of an object on a frame, (1, 1, S / 4, S / 4)."""
    logits: torch.Tensor = predictor._tracks[object_id].get(frame).logits[None].float()
    return logits


def plane_logits(predictor: VideoPredictor, object_id: int, frame: int) -> np.ndarray:
    """The same at the plane's size, (Y, X)."""
    logits = own_logits(predictor, object_id, frame)
    shape = predictor.source.plane_shape
    return F.interpolate(logits, size=shape, mode="bilinear", align_corners=False)[0, 0].numpy()


class Published:
    """The published predictor on a stack, answering with logits at the plane's size."""

    def __init__(
        self, model: torch.nn.Module, stack: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from sam2 import sam2_video_predictor

        images = torch.cat([model_image(plane, model.image_size) for plane in stack])
        monkeypatch.setattr(
            sam2_video_predictor, "load_video_frames", lambda **_: (images, *stack.shape[1:])
        )
        # the package encodes a frame again in every pass; the features are the same
        encoded: dict[int, dict[str, object]] = {}
        encode = type(model).forward_image

        def encode_once(image: torch.Tensor) -> dict[str, object]:
            key = image.data_ptr()
            if key not in encoded:
                encoded[key] = encode(model, image)
            return encoded[key]

        monkeypatch.setattr(model, "forward_image", encode_once)
        self.model = model
        self.state = model.init_state("")

    def prompt(
        self, object_id: int, frame: int, prompts: tuple[ModelPrompt, ...], add: bool = False
    ) -> dict[int, np.ndarray]:
        boxes = [(*p.box[1::-1], *p.box[:1:-1]) for p in prompts if isinstance(p, BoxPrompt)]
        points = [p for p in prompts if isinstance(p, PointPrompt)]
        for prompt in prompts:
            if isinstance(prompt, MaskPrompt):
                answer = self.model.add_new_mask(self.state, frame, object_id, prompt.mask)
        if boxes or points:
            answer = self.model.add_new_points_or_box(
                self.state,
                frame,
                object_id,
                points=[p.position[::-1] for p in points] or None,
                labels=[int(p.positive) for p in points] or None,
                box=boxes[0] if boxes else None,
                clear_old_points=not add,
            )
        return self.by_object(answer)

    def propagate(
        self, start: int, reverse: bool, stop: int | None = None
    ) -> Iterator[tuple[int, dict[int, np.ndarray]]]:
        beyond = None if stop is None else abs(stop - start)
        for answer in self.model.propagate_in_video(self.state, start, beyond, reverse):
            yield answer[0], self.by_object(answer)

    def replace(self, object_id: int, frame: int, logits: torch.Tensor) -> None:
        """Put another mask in the place of one that was prompted since the last pass."""
        index = self.state["obj_id_to_idx"][object_id]
        prompted = self.state["temp_output_dict_per_obj"][index]["cond_frame_outputs"]
        prompted[frame]["pred_masks"] = logits.clone()

    @staticmethod
    def by_object(answer: tuple[int, list[int], torch.Tensor]) -> dict[int, np.ndarray]:
        _, ids, logits = answer
        return dict(zip(ids, logits[:, 0].float().numpy(), strict=True))


class Pair:
    """Both predictors on one stack, compared whenever either answers; the worst is kept."""

    def __init__(
        self,
        ours: Model,
        theirs: torch.nn.Module,
        stack: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from sam2 import sam2_video_predictor

        monkeypatch.setattr(sam2_video_predictor, "torch", exact_torch())
        self.ours = VideoPredictor(ours, stack)
        self.theirs = Published(theirs, stack, monkeypatch)
        self.difference, self.scale, self.iou = 0.0, 0.0, 1.0
        self.seen: set[bool] = set()

    def prompt(
        self, object_id: int, frame: int, *prompts: ModelPrompt, add: tuple[ModelPrompt, ...] = ()
    ) -> None:
        """Prompt both; ``add`` is what the published one is given to add to its earlier points."""
        self.ours.add_prompts(object_id, frame, [*prompts, *add])
        self.compare(frame, self.theirs.prompt(object_id, frame, add or prompts, bool(add)))
        # A prompted mask enters memory as above or below zero. Random weights put many pixels so
        # near to zero that a rounding error decides, so both go on from the very same mask.
        self.theirs.replace(object_id, frame, own_logits(self.ours, object_id, frame))

    def remove_prompts(self, object_id: int, frame: int) -> None:
        """Take an object's prompts on a frame back."""
        self.ours.remove_prompts(object_id, frame)
        published = self.theirs
        answer = published.model.clear_all_prompts_in_frame(published.state, frame, object_id)
        self.compare(frame, published.by_object(answer))

    def remove_object(self, object_id: int) -> None:
        """Forget an object."""
        self.ours.remove_object(object_id)
        self.theirs.model.remove_object(self.theirs.state, object_id)

    def forward(self, start: int, stop: int | None = None) -> None:
        """One pass of all objects, from ``start`` to the last frame or ``stop``."""
        self._propagate("forward", start, stop)

    def backward(self, start: int, stop: int | None = None) -> None:
        """One pass of all objects, from ``start`` to the first frame or ``stop``."""
        self._propagate("backward", start, stop)

    def _propagate(self, direction: Direction, start: int, stop: int | None) -> None:
        results = self.ours.propagate(direction, start=start, stop=stop)
        published = self.theirs.propagate(start, direction == "backward", stop)
        for result, (frame, logits) in zip(results, published, strict=True):
            assert result.frame == frame
            assert set(result.object_ids) == set(logits)
            self.compare(frame, logits)

    def compare(self, frame: int, published: dict[int, np.ndarray]) -> None:
        """Compare every object that ours knows on a frame."""
        result = self.ours.result(frame)
        for object_id, mask, present in zip(
            result.object_ids, result.masks, result.present, strict=True
        ):
            wanted = published[object_id]
            difference = float(np.abs(plane_logits(self.ours, object_id, frame) - wanted).max())
            iou = intersection_over_union(mask, wanted > 0)
            self.difference, self.iou = max(self.difference, difference), min(self.iou, iou)
            self.seen.add(bool(present))
            assert difference < LOGIT_TOLERANCE, f"object {object_id} on frame {frame}"
            assert iou >= IOU, f"object {object_id} on frame {frame}"
            if present:
                self.scale = max(self.scale, float(np.abs(wanted).max()))
