"""Points, boxes and masks to tokens and a dense embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from napari_sam2.model.layers import LayerNorm2d
from napari_sam2.model.position import RandomFourier

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam1Config, Sam2Config

# Labels of points. A box is its two corners, first in the list.
PADDING, NEGATIVE, POSITIVE, BOX_MIN, BOX_MAX = -1, 0, 1, 2, 3


class PromptEncoder(nn.Module):
    """Encodes points with labels, and the logits of a mask."""

    def __init__(self, config: Sam1Config | Sam2Config) -> None:
        super().__init__()
        width = config.width
        self.always_pads = config.family == "sam2"
        self.fourier = RandomFourier(width)
        self.label_embedding = nn.Parameter(torch.randn(4, width))  # negative, positive, corners
        self.padding_embedding = nn.Parameter(torch.randn(width))
        self.no_mask_embedding = nn.Parameter(torch.randn(width))
        self.mask_convolutions = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )

    def points(self, points_xy: Tensor, labels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens of points (B, P, 2) in input pixels with labels (B, P): (B, P [+ 1], C).

        SAM 2 always appends one padding token, SAM 1 where there are points and no box.
        """
        height, width = grid  # of the image embedding, 16 pixels a step
        shares = [points_xy[..., 0] / (16 * width), points_xy[..., 1] / (16 * height)]
        encoded = self.fourier(torch.stack(shares, dim=-1))
        labelled = encoded + self.label_embedding[labels.clamp(min=0)]
        padding = labels[..., None] == PADDING
        tokens = torch.where(padding, self.padding_embedding, labelled)
        if not self.always_pads and (labels.shape[1] == 0 or (labels == BOX_MIN).any()):
            return tokens
        last = self.padding_embedding.expand(len(tokens), 1, -1)
        return torch.cat([tokens, last], dim=1)

    def no_points(self, batch: int) -> Tensor:
        """What `points` gives where there are none: padding for SAM 2, nothing for SAM 1."""
        # (B, 2, C) or (B, 0, C): the point that SAM 2 has instead of none is padding itself
        return self.padding_embedding.expand(batch, 2 if self.always_pads else 0, -1)

    def dense(self, mask_logits: Tensor | None, grid: tuple[int, int]) -> Tensor:
        """Dense embedding of mask logits (B, 1, 4 h, 4 w), or of their absence: (B, C, h, w)."""
        if mask_logits is None:
            return self.no_mask_embedding[None, :, None, None].expand(1, -1, *grid)
        encoded: Tensor = self.mask_convolutions(mask_logits)
        return encoded
