"""What a mask, its score and its presence are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from napari_sam2.model.mask_decoder import Decoded

CROSS_ENTROPY_WEIGHT = 3.0


def mask_losses(logits: Tensor, target: Tensor, object_weight: float) -> Tensor:
    """Cross-entropy and Dice of masks (N, m, h, w) against coverage (N, h, w): (N, m).

    ``object_weight`` weighs pixels of the object against those of the background.
    """
    target = target[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=logits.new_tensor(object_weight), reduction="none"
    )
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum(dim=(2, 3))
    total = probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
    dice = 1 - (overlap + 1) / (total + 1)
    return CROSS_ENTROPY_WEIGHT * entropy.mean(dim=(2, 3)) + dice


def overlap(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of masks (N, m, h, w) with coverage (N, h, w) cut at one half: (N, m)."""
    predicted, wanted = logits > 0, (target > 0.5)[:, None]
    shared = (predicted & wanted).sum(dim=(2, 3))
    return shared / (predicted | wanted).sum(dim=(2, 3)).clamp(min=1)


def decoded_loss(decoded: Decoded, target: Tensor, object_weight: float) -> Tensor:
    """Loss of one decoder call against coverage (N, h, w), averaged over objects.

    The single mask and the best of the three candidates learn the mask; every score learns its
    mask's IoU; presence learns whether the object is there. Absent objects teach presence alone.
    """
    present = is_present(target)
    presence = F.binary_cross_entropy_with_logits(decoded.presence.float(), present.float())
    share = present / present.sum().clamp(min=1)  # of each object in the mean over those present
    logits = decoded.logits.float()
    masks = mask_losses(logits, target, object_weight)
    with torch.no_grad():
        achieved = overlap(logits, target)
    scores = (decoded.scores.float() - achieved).square().mean(dim=1)
    return (share * (masks[:, 0] + masks[:, 1:].amin(dim=1) + scores)).sum() + presence


def is_present(target: Tensor) -> Tensor:
    """Whether coverage (N, h, w) shows an object, (N,) bool."""
    return target.flatten(1).amax(dim=1) > 0.5
