"""Hiera, the hierarchical image encoder (arXiv 2306.00989), as SAM 2 uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.gpu import lowered
from napari_sam2.model.layers import attention, from_windows, to_windows

if TYPE_CHECKING:
    from napari_sam2.model.config import HieraConfig
    from napari_sam2.model.position import Part


def _pool(x: Tensor) -> Tensor:
    # (B, H, W, C) -> (B, H / 2, W / 2, C)
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention and feed-forward; the first block of a later stage halves the grid.

    ``window`` is the side of the attention windows in tokens, 0 for the whole grid.
    """

    def __init__(self, width_in: int, width: int, heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.heads, self.window, self.pool = heads, window, pool
        self.norm1 = nn.LayerNorm(width_in, eps=1e-6)
        self.qkv = nn.Linear(width_in, 3 * width)
        self.output = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.shortcut = nn.Linear(width_in, width) if width_in != width else None

    def forward(self, x: Tensor) -> Tensor:
        # (B, H, W, C_in) -> (B, H', W', C)
        normed = lowered(self.norm1(x))
        if self.shortcut is not None:
            x = _pool(self.shortcut(normed)) if self.pool else self.shortcut(normed)
        height, width = x.shape[1:3]
        if self.window:
            normed = to_windows(normed, self.window)
        mixed = self._attend(normed)
        if self.window:
            mixed = from_windows(mixed, height, width)
        x = x + mixed
        hidden = F.gelu(self.expand(self.norm2(x)))
        x = x + self.contract(hidden)
        return x

    def _attend(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, dim=-1)  # (B, H, W, C) each
        if self.pool:
            query = _pool(query)
        height, width = query.shape[1:3]
        mixed = attention(
            *(
                t.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                for t in (query, key, value)
            )
        )
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output.unflatten(1, (height, width))


class Hiera(nn.Module):
    """Image to one feature map a stage, at strides 4, 8, 16 and 32."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.part: Part | None = None
        self.patch_embedding = nn.Conv2d(3, config.width, 7, stride=4, padding=3)
        self.position_background = nn.Parameter(torch.zeros(1, config.width, *config.background))
        first_window = config.windows[0]
        self.position_window = nn.Parameter(
            torch.zeros(1, config.width, first_window, first_window)
        )
        self.blocks = nn.ModuleList()
        self.stage_ends = []
        width_in = config.width
        for stage, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
            for index in range(depth):
                first = index == 0 and stage > 0
                # the first block of a stage still works in the previous stage's windows
                window = config.windows[stage - 1 if first else stage]
                if len(self.blocks) in config.global_blocks:
                    window = 0
                heads = config.heads * 2**stage
                self.blocks.append(Block(width_in, width, heads, window, pool=first))
                width_in = width
            self.stage_ends.append(len(self.blocks) - 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        # (B, 3, S, S) -> [(B, C, S / 4, S / 4), ... (B, 8 C, S / 32, S / 32)]
        x = self.patch_embedding(image)
        x = (x + self._position(x)).permute(0, 2, 3, 1)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def _position(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.part is None:
            return self._whole_position(height, width)
        return self.part.cut(self._whole_position(*self.part.whole_shape(height, width)))

    def _whole_position(self, height: int, width: int) -> Tensor:
        stretched = F.interpolate(self.position_background, size=(height, width), mode="bicubic")
        window = self.position_window.shape[-1]
        tiled = self.position_window.tile(1, 1, -(-height // window), -(-width // window))
        return stretched + tiled[..., :height, :width]
