"""Dense targets: foreground, boundary and the way to the object's centre.

They teach the image encoder what an object is, before and beside the prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from napari_sam2.model.neck import ImageFeatures

STRIDE = 4  # of the finest features, where the targets are set
OFFSET_SCALE = 32.0  # pixels; keeps offsets near 1


class DenseHead(nn.Module):
    """Four numbers a place from the encoder's features; used in training only."""

    def __init__(self, width: int, hidden: int = 32) -> None:
        super().__init__()
        self.from16 = nn.Conv2d(width, hidden, 1)
        self.from8 = nn.Conv2d(width // 4, hidden, 1)
        self.from4 = nn.Conv2d(width // 8, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.output = nn.Conv2d(hidden, 4, 1)

    def forward(self, features: ImageFeatures) -> Tensor:
        """Foreground and boundary logits and offsets in rows and columns, (B, 4, S / 4, S / 4)."""
        x = F.interpolate(self.from16(features.embedding), scale_factor=2.0, mode="bilinear")
        x = F.interpolate(x + self.from8(features.skip8), scale_factor=2.0, mode="bilinear")
        x = F.gelu(x + self.from4(features.skip4))
        predicted: Tensor = self.output(F.gelu(self.mix(x)))
        return predicted.float()


def dense_targets(labels: Tensor) -> Tensor:
    """Targets of label maps (B, S, S): (B, 4, S / 4, S / 4)."""
    coarse = labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].long()
    foreground = coarse > 0
    largest = F.max_pool2d(coarse.float()[:, None], 3, 1, 1)[:, 0]
    smallest = -F.max_pool2d(-coarse.float()[:, None], 3, 1, 1)[:, 0]
    boundary = (largest != smallest) & (largest > 0)

    # the mean position of each label, per image
    batch, height, width = coarse.shape
    flat = coarse + (coarse.max() + 1) * torch.arange(batch, device=labels.device)[:, None, None]
    ones = torch.ones(flat.numel(), device=labels.device)
    count = ones.new_zeros(int(flat.max()) + 1).index_add_(0, flat.flatten(), ones)
    offsets = []
    for axis, length in ((1, height), (2, width)):
        shape = [1, 1, 1]
        shape[axis] = length
        position = (
            torch.arange(length, device=labels.device)
            .float()
            .reshape(shape)
            .expand(batch, height, width)
        )
        total = torch.zeros_like(count).index_add_(0, flat.flatten(), position.flatten())
        offsets.append(((total / count)[flat] - position) * STRIDE / OFFSET_SCALE)
    return torch.stack([foreground.float(), boundary.float(), *offsets], dim=1)


def dense_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of foreground and boundary, and the offsets' distance on the foreground."""
    target = dense_targets(labels)
    # boundaries are rare
    weight = predicted.new_tensor([1.0, 3.0])[:, None, None]
    maps = F.binary_cross_entropy_with_logits(predicted[:, :2], target[:, :2], pos_weight=weight)
    inside = target[:, :1]
    offset = F.smooth_l1_loss(predicted[:, 2:] * inside, target[:, 2:] * inside, reduction="sum")
    return maps + offset / inside.sum().clamp(min=1)
