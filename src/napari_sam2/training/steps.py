"""One training step: a batch to a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from napari_sam2.inference.encode import LOGIT_LIMIT
from napari_sam2.inference.transforms import normalise
from napari_sam2.model.sam2 import Memories, Sam2, Tracked
from napari_sam2.training.dense import DenseHead, dense_loss
from napari_sam2.training.losses import decoded_loss, is_present, overlap
from napari_sam2.training.simulate import boxes, corrections, first_clicks

if TYPE_CHECKING:
    from napari_sam2.model.mask_decoder import Decoded
    from napari_sam2.model.neck import ImageFeatures
    from napari_sam2.training.config import Stage
    from napari_sam2.training.samples import Batch

MASK_SHARE = 0.2  # of the videos start from a given mask


@dataclass
class Step:
    """The loss of a step, and figures to watch: tensors, as reading one waits for the device."""

    loss: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Chance:
    """What a step draws from: of the device for prompts, of the host for what to do next."""

    prompts: Generator
    course: Random

    @classmethod
    def of(cls, seed: int, device: torch.device) -> Chance:
        """The same draws for the same seed."""
        return cls(torch.Generator(device).manual_seed(seed), Random(seed))

    def happens(self, share: float) -> bool:
        """Whether something happens that happens so often."""
        return self.course.random() < share


def coverage(masks: Tensor) -> Tensor:
    """Share of each decoder cell that a mask (N, S, S) covers: (N, S / 4, S / 4)."""
    return F.avg_pool2d(masks[:, None].float(), 4)[:, 0]


def run_step(model: Sam2, head: DenseHead, batch: Batch, stage: Stage, chance: Chance) -> Step:
    """Run the model on a batch as a predictor would, and add up the losses."""
    frames = batch.images.shape[1]
    features = model.encode_image(normalise(batch.images.flatten(0, 1)))
    step = Step(batch.images.new_zeros(()))
    if stage.dense_weight:
        predicted = head(features)
        labels = batch.labels.flatten(0, 1)
        dense = dense_loss(predicted, labels)
        step.loss = step.loss + stage.dense_weight * dense
        step.figures["dense"] = dense.detach()
        foreground = coverage(labels > 0)
        step.figures["foreground"] = overlap(predicted[:, :1], foreground).mean()
    if not stage.prompts:
        return step
    # (B * T, ...) -> one entry a frame, its images repeated for their objects
    per_frame = [features[batch.owner * frames + index] for index in range(frames)]
    first_masks = batch.masks(0)
    later = (batch.masks(index) for index in range(1, frames))
    targets = [coverage(masks) for masks in (first_masks, *later)]
    if frames == 1:
        _image(model, per_frame[0], first_masks, targets[0], step, stage, chance)
    else:
        _video(model, per_frame, first_masks, targets, step, stage, chance)
    return step


def _chosen(decoded: Decoded, points: Tensor | None) -> Tensor:
    # what the predictor would show: (N, h, w)
    ambiguous = points is None or points.shape[1] <= 1
    shown = decoded.best_candidate() if ambiguous else decoded.single(stability_fallback=False)
    return shown.logits[:, 0].detach().float()


def _image(
    model: Sam2,
    features: ImageFeatures,
    masks: Tensor,
    target: Tensor,
    step: Step,
    stage: Stage,
    chance: Chance,
) -> None:
    """Ask for every object with a click, maybe with a box, too; then correct, maybe.

    The image encoder costs more than the decoder: what it found is asked for more than once.
    """
    embedding = model.without_memory(features)
    corrected = stage.corrections if chance.happens(stage.correction_share) else 0
    asked = {"click": first_clicks}
    if chance.happens(stage.box_share):
        asked["box"] = boxes
    for kind, prompt in asked.items():
        points, labels = prompt(masks, chance.prompts)
        fed_back = None
        for count in range(1 + corrected):
            if fed_back is not None:
                more, more_labels = corrections(fed_back[:, 0], target, chance.prompts)
                points = torch.cat([points, more], dim=1)
                labels = torch.cat([labels, more_labels], dim=1)
            decoded = model.decode(embedding, features, points, labels, fed_back)
            loss = decoded_loss(decoded, target, stage.object_weight)
            step.loss = step.loss + loss / (max(corrected, 1) if count else 1)
            fed_back = _chosen(decoded, points)[:, None].clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            name = f"{kind}+{count}" if count else kind
            step.figures[name] = overlap(fed_back, target).mean()


def _video(
    model: Sam2,
    features: list[ImageFeatures],
    first_masks: Tensor,
    targets: list[Tensor],
    step: Step,
    stage: Stage,
    chance: Chance,
) -> None:
    if chance.happens(MASK_SHARE):
        tracked = model.track_mask(features[0], first_masks[:, None].float())
    else:
        prompt = boxes if chance.happens(stage.box_share) else first_clicks
        points, labels = prompt(first_masks, chance.prompts)
        decoded = model.decode(model.without_memory(features[0]), features[0], points, labels)
        step.loss = step.loss + decoded_loss(decoded, targets[0], stage.object_weight)
        tracked = model.settle(decoded, ambiguous=points.shape[1] <= 1)
    memories = [_remember(model, features[0], tracked, prompted=True)]
    pointers = [tracked.pointers]
    achieved: list[Tensor] = []
    there: list[Tensor] = []
    right: list[Tensor] = []
    for frame in range(1, len(features)):
        # the conditioning frame has the last time index, the frame before this one the first
        times = [model.config.memories - 1, *(frame - 1 - k for k in range(1, frame))]
        device = targets[0].device
        offsets = torch.tensor([float(frame - k) for k in range(frame)], device=device)
        embedding = model.with_memory(
            features[frame],
            Memories(
                torch.stack(memories, dim=1),
                torch.tensor(times, device=device),
                torch.stack(pointers, dim=1),
                offsets / (model.config.pointers - 1),
            ),
        )
        decoded = model.decode(embedding, features[frame], None, None)
        step.loss = step.loss + decoded_loss(decoded, targets[frame], stage.object_weight)
        there.append(is_present(targets[frame]))
        right.append((decoded.presence > 0) == there[-1])
        achieved.append(overlap(_chosen(decoded, None)[:, None], targets[frame])[:, 0])
        if frame == len(features) - 1:
            break  # nothing follows that could remember it
        tracked = model.settle(decoded, ambiguous=True)
        memories.append(_remember(model, features[frame], tracked, prompted=False))
        pointers.append(tracked.pointers)
    step.loss = step.loss / (len(features) / 2)
    present = torch.cat(there)
    step.figures["presence"] = torch.cat(right).float().mean()
    step.figures["tracked"] = (torch.cat(achieved) * present).sum() / present.sum().clamp(min=1)


def _remember(model: Sam2, features: ImageFeatures, tracked: Tracked, prompted: bool) -> Tensor:
    return model.encode_memory(features, tracked.logits, tracked.present, prompted)
