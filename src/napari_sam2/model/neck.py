"""From the encoder's four maps to one embedding and two finer maps for the mask decoder."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.hiera import Hiera

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam2Config


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """An encoded batch of images; h and w are a sixteenth of the input.

    SAM 1 has no finer maps: its skips are empty.
    """

    embedding: Tensor  # (B, C, h, w)
    skip8: Tensor  # (B, C / 4, 2 h, 2 w)
    skip4: Tensor  # (B, C / 8, 4 h, 4 w)

    @property
    def nbytes(self) -> int:
        """Bytes of all three."""
        return sum(each.nbytes for each in (self.embedding, self.skip8, self.skip4))

    def __getitem__(self, index: slice | Tensor) -> ImageFeatures:
        return ImageFeatures(self.embedding[index], self.skip8[index], self.skip4[index])

    def expand(self, batch: int) -> ImageFeatures:
        """The features of one image for a batch of objects, without copying."""
        return ImageFeatures(
            self.embedding.expand(batch, -1, -1, -1),
            self.skip8.expand(batch, -1, -1, -1),
            self.skip4.expand(batch, -1, -1, -1),
        )


class ImageEncoder(nn.Module):
    """Hiera and a feature pyramid whose top-down path joins the two coarsest maps only."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        width = config.width
        self.trunk = Hiera(config.hiera)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in config.hiera.widths)
        self.skip8 = nn.Conv2d(width, width // 4, 1)
        self.skip4 = nn.Conv2d(width, width // 8, 1)

    def forward(self, image: Tensor) -> ImageFeatures:
        at4, at8, at16, at32 = self.trunk(image)
        upsampled = F.interpolate(self.lateral[3](at32).float(), scale_factor=2.0, mode="nearest")
        # in half precision the sum stays in float32: rounded, it would cost masks their exactness
        return ImageFeatures(
            self.lateral[2](at16) + upsampled,
            _both(self.lateral[1], self.skip8, at8),
            _both(self.lateral[0], self.skip4, at4),
        )


def _both(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    """Two pointwise convolutions as one: nothing lies between them, and the maps are large."""
    inner, inner_bias = first.parameters()
    outer, outer_bias = second.parameters()
    kind = x.device.type
    # torch 2.4 has no autocast on MPS, and refuses to switch off what it does not have
    known = torch.amp.is_autocast_available(kind)
    with torch.autocast(kind, enabled=False) if known else nullcontext():
        weight = outer.flatten(1) @ inner.flatten(1)
        bias = torch.addmv(outer_bias, outer.flatten(1), inner_bias)
    return F.conv2d(x, weight[..., None, None], bias)
