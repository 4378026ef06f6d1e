"""Encodings of position and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """A square of a model's input, as shares of the input's side: what is shown instead of all."""

    side: float
    top: float
    left: float

    def whole_shape(self, height: int, width: int) -> tuple[int, int]:
        """Shape of the grid on the whole input of which a part's has this one."""
        return round(height / self.side), round(width / self.side)

    def cut(self, whole: Tensor) -> Tensor:
        """The part of a grid on the whole input, (..., H, W) -> (..., h, w)."""
        height, width = whole.shape[-2:]
        top, left = round(self.top * height), round(self.left * width)
        bottom, right = top + round(self.side * height), left + round(self.side * width)
        return whole[..., top:bottom, left:right]


class RandomFourier(nn.Module):
    """Sines and cosines of random projections of a position (Tancik et al., arXiv 2006.10739).

    Image and prompts share one instance: only so can a prompt point at a place of the image.
    """

    matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part: Part | None = None
        self.register_buffer("matrix", torch.randn(2, width // 2))

    def forward(self, xy: Tensor) -> Tensor:
        # (..., 2) in 0 to 1 -> (..., C)
        if self.part is not None:
            corner = self.part.left, self.part.top
            xy = torch.stack([self.part.side * xy[..., i] + corner[i] for i in (0, 1)], dim=-1)
        angle = 2 * math.pi * ((2 * xy.to(self.matrix.dtype) - 1) @ self.matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encoding of the centres of a grid, (C, H, W)."""
        y = (torch.arange(height, device=self.matrix.device) + 0.5) / height
        x = (torch.arange(width, device=self.matrix.device) + 0.5) / width
        yx = torch.meshgrid(y, x, indexing="ij")
        encoded: Tensor = self(torch.stack(yx[::-1], dim=-1))
        return encoded.permute(2, 0, 1)


def _interleave(angle: Tensor) -> Tensor:
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)


def sine_grid(
    channels: int, height: int, width: int, like: Tensor, part: Part | None = None
) -> Tensor:
    """Fixed sine encoding of a grid, as in DETR (arXiv 2005.12872): (C, H, W)."""
    if part is not None:
        return part.cut(sine_grid(channels, *part.whole_shape(height, width), like))
    return _sine_grid(channels, height, width, like.device, like.dtype)


# Tables are made once, as dozens of small steps wait for a GPU, and never dropped, as graphs of
# them (CUDA's) may be replayed at any time. Outside inference mode, training can use them, too.


@cache
@torch.inference_mode(False)
def _sine_grid(
    channels: int, height: int, width: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    half = channels // 2
    exponent = torch.arange(half, device=device, dtype=torch.float32).div(2).floor() * 2 / half
    period = 10000.0**exponent
    y = torch.arange(1, height + 1, device=device) / (height + 1e-6) * 2 * math.pi
    x = torch.arange(1, width + 1, device=device) / (width + 1e-6) * 2 * math.pi
    rows = _interleave(y[:, None] / period)[:, None].expand(height, width, half)
    columns = _interleave(x[:, None] / period)[None].expand(height, width, half)
    return torch.cat([rows, columns], dim=-1).permute(2, 0, 1).to(dtype)


def sine_time(offset: Tensor, channels: int) -> Tensor:
    """Fixed sine encoding of a time, (...) -> (..., C): all sines, then all cosines."""
    half = channels // 2
    exponent = torch.arange(half, device=offset.device, dtype=torch.float32).div(2).floor()
    angle = offset[..., None] / 10000.0 ** (exponent * 2 / half)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


@cache
@torch.inference_mode(False)
def rotary_table(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """Turns of the axial rotary encoding (arXiv 2403.13298), complex (H * W, C / 2).

    The first half of the channel pairs turns with the column, the second with the row. On MPS,
    where complex numbers need macOS 14, real and imaginary parts lie along a further axis.
    """
    exponent = torch.arange(0, channels, 4, device=device).float() / channels
    frequency = 1.0 / 10000.0**exponent  # (C / 4,)
    index = torch.arange(height * width, device=device)
    columns, rows = (index % width).float(), (index // width).float()
    angle = torch.cat([columns[:, None] * frequency, rows[:, None] * frequency], dim=-1)
    if device.type == "mps":
        return torch.stack([angle.cos(), angle.sin()], dim=-1)
    return torch.polar(torch.ones_like(angle), angle)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the neighbouring channel pairs of (B, N, C), N a multiple of the table's length."""
    return _turned(x, table).to(x.dtype)


def rotate_in_place(x: Tensor, table: Tensor) -> None:
    """The same, into the tensor itself: large ones are passed over less often, on a GPU."""
    x.copy_(_turned(x, table))


def _turned(x: Tensor, table: Tensor) -> Tensor:
    # (B, N, C) -> (B, n, H * W, C / 2, 2)
    pairs = x.float().unflatten(1, (-1, len(table))).unflatten(-1, (-1, 2))
    if table.is_complex():
        # a pair is a complex number, so that one kernel turns it
        turned = torch.view_as_real(torch.view_as_complex(pairs) * table)
    else:
        (a, b), (cosine, sine) = pairs.unbind(-1), table.unbind(-1)
        turned = torch.stack([a * cosine - b * sine, a * sine + b * cosine], dim=-1)
    return turned.flatten(-2).flatten(1, 2)
