"""The plain vision transformer of SAM 1 (arXiv 2304.02643; ViTDet, arXiv 2203.16527)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.layers import LayerNorm2d, from_windows, to_windows

if TYPE_CHECKING:
    from napari_sam2.model.config import VitConfig

WINDOW = 14  # tokens
# Elements of the position bias that are held at a time: 256 MiB in float32.
BIAS_LIMIT = 2**26


class VitBlock(nn.Module):
    """Attention with relative positions, and feed-forward.

    ``window`` is the side of the attention windows in tokens, 0 for the whole grid; ``grid`` the
    side of the grid that the relative positions were learned on.
    """

    def __init__(self, config: VitConfig, window: int, grid: int) -> None:
        super().__init__()
        width = config.width
        side = window or grid
        self.heads, self.window = config.heads, window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.relative_rows = nn.Parameter(torch.zeros(2 * side - 1, width // config.heads))
        self.relative_columns = nn.Parameter(torch.zeros(2 * side - 1, width // config.heads))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (B, H, W, C) -> the same
        normed = self.norm1(x)
        if self.window:
            height, width = x.shape[1:3]
            mixed = self._attend(to_windows(normed, self.window))
            mixed = from_windows(mixed, height, width)
        else:
            mixed = self._attend(normed)
        x = x + mixed
        hidden = F.gelu(self.expand(self.norm2(x)))
        x = x + self.contract(hidden)
        return x

    def _attend(self, x: Tensor) -> Tensor:
        batch, height, width = x.shape[:3]
        query, key, value = (
            t.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in self.qkv(x).chunk(3, dim=-1)
        )  # (B, heads, H * W, C / heads) each
        rows = _between(self.relative_rows, height)  # (H, H, C / heads)
        columns = _between(self.relative_columns, width)
        # the bias is as large as the attention itself: a few heads at a time
        step = max(1, BIAS_LIMIT // (batch * (height * width) ** 2))
        mixed = torch.cat(
            [
                F.scaled_dot_product_attention(
                    q, k, v, attn_mask=_position_bias(q, rows.to(q.dtype), columns.to(q.dtype))
                )
                for q, k, v in zip(
                    query.split(step, 1), key.split(step, 1), value.split(step, 1), strict=True
                )
            ],
            dim=1,
        )
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output.unflatten(1, (height, width))


def _between(relative: Tensor, side: int) -> Tensor:
    """Embedding of each key position as each query position sees it: (side, side, c)."""
    if len(relative) != 2 * side - 1:  # learned on a grid of another side
        relative = F.interpolate(relative.T[None], size=2 * side - 1, mode="linear")[0].T
    index = torch.arange(side, device=relative.device)
    return relative[index[:, None] - index + side - 1]


def _position_bias(query: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    # (B, h, H * W, c), (H, H, c), (W, W, c) -> (B, h, H * W, H * W)
    places = query.unflatten(2, (len(rows), len(columns)))
    by_row = torch.einsum("bhyxc,ykc->bhyxk", places, rows)
    by_column = torch.einsum("bhyxc,xkc->bhyxk", places, columns)
    return (by_row[..., :, None] + by_column[..., None, :]).flatten(4, 5).flatten(2, 3)


class Vit(nn.Module):
    """Image to one map at stride 16."""

    def __init__(self, config: VitConfig, width: int, grid: int) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.width, 16, stride=16)
        self.position = nn.Parameter(torch.zeros(1, grid, grid, config.width))
        self.blocks = nn.ModuleList(
            VitBlock(config, 0 if index in config.global_blocks else WINDOW, grid)
            for index in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, width, 1, bias=False),
            LayerNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            LayerNorm2d(width),
        )

    def forward(self, image: Tensor) -> Tensor:
        # (B, 3, S, S) -> (B, C, S / 16, S / 16)
        x = self.patch_embedding(image).permute(0, 2, 3, 1)
        x = x + self._position(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding

    def _position(self, height: int, width: int) -> Tensor:
        if (height, width) == tuple(self.position.shape[1:3]):
            return self.position
        stretched = F.interpolate(
            self.position.permute(0, 3, 1, 2), size=(height, width), mode="bicubic"
        )
        return stretched.permute(0, 2, 3, 1)
