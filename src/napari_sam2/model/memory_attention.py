"""A frame's embedding looks at the memories of other frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.gpu import lowered, planned_attention, turned_at_once
from napari_sam2.model.layers import Attention, narrow_attention
from napari_sam2.model.position import (
    rotary_table,
    rotate,
    rotate_in_place,
    sine_grid,
)

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam2Config
    from napari_sam2.model.position import Part


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to memories, feed-forward; each normalised first."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads=1)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads=1, source_width=config.memory_width)
        self.norm3 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, config.memory_feedforward)
        self.contract = nn.Linear(config.memory_feedforward, width)

    def forward(
        self,
        x: Tensor,  # (B or 1, hw, C)
        key: Tensor,  # (B, n hw + pointers, M)
        value: Tensor,
        pointers: int,
        table: Tensor,
        whole: Tensor | None,  # the table of all keys, on a GPU
    ) -> Tensor:
        attention = self.self_attention
        y = lowered(self.norm1(x))
        query = rotate(attention.query(y), table)
        x = x + attention.attend(query, rotate(attention.key(y), table), attention.value(y))

        attention = self.cross_attention
        query = rotate(attention.query(self.norm2(x)), table).expand(len(key), -1, -1)
        projected = attention.key(key)
        # pointer tokens have no place on the grid
        spatial = projected[:, : projected.shape[1] - pointers]
        # its steps in place have no gradient
        learning = any(each.requires_grad for each in (query, projected, value))
        if query.device.type == "cpu" and not learning:
            for grid in (g for each in spatial for g in each.split(len(table))):
                grid.copy_(rotate(grid[None], table)[0])  # one stays in the processor's cache
            # weights sum to one, so that values can be projected after they are mixed
            mixed = narrow_attention(query, projected, value.to(query.dtype))
            x = x + attention.output(attention.value(mixed))
        else:
            turned = None if learning or whole is None else turned_at_once(projected, whole)
            if turned is None:
                rotate_in_place(spatial, table)
            else:
                projected = turned
            planned = None if learning else planned_attention(query, projected, value)
            if planned is not None:
                x = x + attention.output(attention.value(planned))
            else:
                x = x + attention.attend(query, projected, attention.value(value))

        return x + self.contract(F.relu(self.expand(self.norm3(x)), inplace=True))


class MemoryAttention(nn.Module):
    """A stack of layers over all memories of an object."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__()
        self.part: Part | None = None
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(config) for _ in range(config.memory_layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, embedding: Tensor, key: Tensor, value: Tensor, pointers: int) -> Tensor:
        """Condition an embedding on memories.

        ``key`` is memory plus position, ``value`` memory alone; the last ``pointers`` tokens of
        both are object pointers.
        """
        # (B or 1, C, h, w), (B, n hw + pointers, M) twice -> (B, C, h, w)
        # The objects of a frame share its embedding, and with it the first self-attention.
        channels, height, width = embedding.shape[1:]
        x = embedding + 0.1 * sine_grid(channels, height, width, embedding, self.part)
        x = x.flatten(2).transpose(1, 2)
        table = rotary_table(channels, height, width, x.device)
        key, value = lowered(key), lowered(value)
        whole = None
        if key.is_cuda and key.dtype == torch.bfloat16 and not torch.is_grad_enabled():
            still = table.new_ones(pointers, table.shape[1])  # pointers have no place
            whole = torch.cat([table.repeat((key.shape[1] - pointers) // len(table), 1), still])
        for layer in self.layers:
            x = layer(x, key, value, pointers, table, whole)
        normed: Tensor = self.norm(x)
        return normed.transpose(1, 2).unflatten(2, (height, width))
