"""What a mask, its score and its presence are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from napari_sam2.model.mask_decoder import Decoded

CROSS_ENTROPY_WEIGHT = 3.0
SCORE_WEIGHT = 3.0
PRESENCE_WEIGHT = 2.0


def mask_losses(logits: Tensor, target: Tensor, object_weight: float) -> Tensor:
    """Cross-entropy, that along the outline, and Dice of masks (N, m, h, w): (N, m).

    All are least where each cell's probability is its coverage (N, h, w), so that the outline lies
    right within a cell, too: of a nucleus six cells wide, masks of ones and zeros reach an IoU of
    0.85 at best. Dice has the form that Wang et al. 2023, arXiv 2303.16296, gave it for that.

    ``object_weight`` weighs pixels of the object against those of the background.
    """
    outline = _outline(target)[:, None]
    target = target[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=logits.new_tensor(object_weight), reduction="none"
    )
    along = (entropy * outline).sum(dim=(2, 3)) / outline.sum(dim=(2, 3)).clamp(min=1)
    probability = logits.sigmoid()
    wrong = (probability - target).abs().sum(dim=(2, 3))
    total = probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
    return CROSS_ENTROPY_WEIGHT * entropy.mean(dim=(2, 3)) + along + wrong / (total + 1)


def _outline(target: Tensor) -> Tensor:
    # cells of coverage (N, h, w) with another coverage than one of their neighbours
    most = F.max_pool2d(target[:, None], 3, stride=1, padding=1)[:, 0]
    least = -F.max_pool2d(-target[:, None], 3, stride=1, padding=1)[:, 0]
    return (most > least).float()


def overlap(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of masks (N, m, h, w) with coverage (N, h, w) cut at one half: (N, m)."""
    predicted, wanted = logits > 0, (target > 0.5)[:, None]
    shared = (predicted & wanted).sum(dim=(2, 3))
    return shared / (predicted | wanted).sum(dim=(2, 3)).clamp(min=1)


def decoded_loss(decoded: Decoded, target: Tensor, object_weight: float) -> Tensor:
    """Loss of one decoder call against coverage (N, h, w), averaged over objects.

    The single mask and the best of the three candidates learn the mask; every score learns its
    mask's IoU; presence learns whether the object is there. Where it is absent, no mask shows it:
    what lights up there all the same, such as a daughter of what divided, learns to be dark.
    """
    present = is_present(target)
    presence = F.binary_cross_entropy_with_logits(decoded.presence.float(), present.float())
    share = present / present.sum().clamp(min=1)  # of each object in the mean over those present
    logits = decoded.logits.float()
    masks = mask_losses(logits, target, object_weight)
    with torch.no_grad():
        achieved = overlap(logits, target)
    scores = SCORE_WEIGHT * (decoded.scores.float() - achieved).square().mean(dim=1)
    loss = (share * (masks[:, 0] + masks[:, 1:].amin(dim=1) + scores)).sum()
    absent = ~present / (~present).sum().clamp(min=1)
    return loss + (absent * lit(logits).mean(dim=1)).sum() + PRESENCE_WEIGHT * presence


def lit(logits: Tensor) -> Tensor:
    """Cross-entropy of masks (N, m, h, w) that shall be empty, over what they show: (N, m)."""
    shown = logits.detach().sigmoid()
    return (shown * F.softplus(logits)).sum(dim=(2, 3)) / (shown.sum(dim=(2, 3)) + 1)


def is_present(target: Tensor) -> Tensor:
    """Whether coverage (N, h, w) shows an object, (N,) bool."""
    return target.flatten(1).amax(dim=1) > 0.5
