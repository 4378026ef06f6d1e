"""From a frame's embedding and an object's mask to one memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.layers import LayerNorm2d

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam2Config


class ConvNextBlock(nn.Module):
    """Depthwise 7 x 7 convolution and a pointwise feed-forward (arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        # (B, C, h, w) -> (B, C, h, w)
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        y = self.scale * self.contract(F.gelu(self.expand(y)))
        return x + y.permute(0, 3, 1, 2)


class MemoryEncoder(nn.Module):
    """Adds a downsampled mask to the embedding and mixes them."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        width = config.width
        downsample: list[nn.Module] = []
        channels = 1
        for _ in range(4):  # 16 times smaller in all
            downsample += [
                nn.Conv2d(channels, 4 * channels, 3, stride=2, padding=1),
                LayerNorm2d(4 * channels),
                nn.GELU(),
            ]
            channels *= 4
        self.mask_downsampler = nn.Sequential(*downsample, nn.Conv2d(channels, width, 1))
        self.embedding_projection = nn.Conv2d(width, width, 1)
        self.fuser = nn.Sequential(ConvNextBlock(width), ConvNextBlock(width))
        self.output = nn.Conv2d(width, config.memory_width, 1)

    def forward(self, embedding: Tensor, mask: Tensor) -> Tensor:
        # (B, C, h, w), (B, 1, 16 h, 16 w) -> (B, M, h, w)
        x = self.embedding_projection(embedding) + self.mask_downsampler(mask)
        memory: Tensor = self.output(self.fuser(x))
        return memory
