"""Small building blocks that several networks share."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear layers with a ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        last: Tensor = self.layers[-1](x)
        return last


FEW_CHANNELS = 32
EPSILON = 1e-6


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda and len(self.weight) <= FEW_CHANNELS and not torch.is_grad_enabled():
            return self._of_few(x.float())
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, EPSILON)
        return x.permute(0, 3, 1, 2)

    def _of_few(self, x: Tensor) -> Tensor:
        """The same in steps: the kernel has a block of threads for each pixel, of few numbers."""
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        # laid out as the kernel leaves it, for the convolutions that follow
        normed = torch.empty_like(x, memory_format=torch.channels_last)
        # the mean first: a product would round what a variance near zero makes large
        torch.sub(x, mean, out=normed).mul_((variance + EPSILON).rsqrt_())
        return torch.addcmul(self.bias[:, None, None], normed, self.weight[:, None, None])


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer width.

    ``source_width`` is the width of keys and values, ``width`` by default.
    """

    def __init__(
        self, width: int, heads: int, inner: int | None = None, source_width: int | None = None
    ) -> None:
        super().__init__()
        inner = inner or width
        source_width = source_width or width
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(source_width, inner)
        self.value = nn.Linear(source_width, inner)
        self.output = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # (B, Nq, C), (B, Nk, C), (B, Nk, C) -> (B, Nq, C)
        return self.attend(self.query(query), self.key(key), self.value(value))

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of projected queries, keys and values, and the output projection."""
        mixed = attention(
            *(x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        )
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


# A head with more scores takes so many rows of them at a time, which stay in the cache.
MANY_SCORES = 2**18
ROWS = 256


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, the way that is fastest where the tensors are.

    torch's fused kernel gains nothing from bfloat16 on a CPU; plain products do, several times.
    """
    # (B, heads, Nq, C), (B, heads, Nk, C), (B, heads, Nk, M) -> (B, heads, Nq, M)
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(query, key, value)
    learning = any(each.requires_grad for each in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    if learning or query.shape[-2] * key.shape[-2] <= MANY_SCORES:
        return (query @ key.mT).softmax(dim=-1) @ value
    mixed = value.new_empty(*query.shape[:-1], value.shape[-1])
    scores = query.new_empty(ROWS, key.shape[-2])
    heads = (x.flatten(0, 1) for x in (query, key.mT, value, mixed))
    for queries, keys, values, out in zip(*heads, strict=True):
        for rows, into in zip(queries.split(ROWS), out.split(ROWS), strict=True):
            some = torch.mm(rows, keys, out=scores[: len(rows)])
            torch.mm(torch.softmax(some, -1, out=some), values, out=into)
    return mixed


# Queries and keys of a block in float32: their scores stay in the processor's cache.
BLOCK = 512


def narrow_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of one head whose values are narrower than its queries and keys, on a CPU.

    The fused kernel needs values as wide as keys. Block by block, with the running maximum and sum
    of the softmax (Milakov and Gimelshein, arXiv 1805.02867), a quarter of the width costs a third
    less time than the fused kernel's full width.
    """
    # (B, Nq, C), (B, Nk, C), (B, Nk, M) -> (B, Nq, M)
    if query.dtype == torch.bfloat16:
        return attention(query[:, None], key[:, None], value[:, None])[:, 0]
    mixed = value.new_empty(*query.shape[:2], value.shape[-1])
    scale = query.shape[-1] ** -0.5
    for queries, keys, values, out in zip(query, key.mT.contiguous(), value, mixed, strict=True):
        for first in range(0, len(queries), BLOCK):
            block = queries[first : first + BLOCK] * scale
            largest = block.new_full((len(block), 1), -torch.inf)
            total = block.new_zeros(len(block), 1)
            summed = block.new_zeros(len(block), values.shape[-1])
            for start in range(0, len(values), BLOCK):
                scores = block @ keys[:, start : start + BLOCK]
                larger = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
                weights = scores.sub_(larger).exp_()
                shrunk = (largest - larger).exp_()
                total = total.mul_(shrunk).add_(weights.sum(dim=-1, keepdim=True))
                summed = summed.mul_(shrunk).addmm_(weights, values[start : start + BLOCK])
                largest = larger
            torch.div(summed, total, out=out[first : first + BLOCK])
    return mixed


def to_windows(x: Tensor, size: int) -> Tensor:
    """Cut a grid into square windows."""
    # (B, H, W, C) -> (B * windows, size, size, C), zero-padded at the bottom and right
    _, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))  # (B, h, size, w, size, C)
    return x.transpose(2, 3).reshape(-1, size, size, channels)


def from_windows(x: Tensor, height: int, width: int) -> Tensor:
    """Put the windows of a grid together again."""
    # (B * windows, size, size, C) -> (B, H, W, C)
    size = x.shape[1]
    rows, columns = -(-height // size), -(-width // size)
    x = x.unflatten(0, (-1, rows, columns)).transpose(2, 3)  # (B, rows, size, columns, size, C)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
