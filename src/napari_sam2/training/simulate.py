"""Prompts that a person might have given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN, NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from torch import Generator


def _draw(weight: Tensor, generator: Generator) -> Tensor:
    # (N, h, w) -> (N, 2), x before y, in pixels of the weight map
    width = weight.shape[-1]
    # the first of races whose speeds are the weights: torch.multinomial waits for a GPU
    race = torch.empty_like(weight).exponential_(generator=generator)
    index = (weight / race).flatten(1).argmax(dim=1)
    return torch.stack([index % width, index // width], dim=1).float()


def _uniform(generator: Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _towards_middle(mask: Tensor) -> Tensor:
    """Weights that favour the middle of a mask (N, h, w) of 0 and 1."""
    mask = mask.float()
    inner = mask
    for size in (5, 9, 17):
        # rows, then columns: a square at once takes several times as long
        rows = F.avg_pool2d(mask[:, None], (1, size), 1, (0, size // 2))
        square = F.avg_pool2d(rows, (size, 1), 1, (size // 2, 0))[:, 0]
        inner = inner + square**2 * mask
    return inner**3 * mask


def first_clicks(masks: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """One positive click on each mask (N, S, S): points (N, 1, 2) in pixels, labels (N, 1).

    Half of the clicks are anywhere on the object, half near its middle.
    """
    coarse = F.avg_pool2d(masks[:, None].float(), 4)[:, 0]
    coarse = torch.where(coarse > 0.5, 1.0, 0.0) + 1e-3 * (coarse > 0)
    anywhere = _uniform(generator, len(masks))[:, None, None] < 0.5
    points = 4 * _draw(torch.where(anywhere, coarse, _towards_middle(coarse) + 1e-6 * coarse),
                       generator)  # fmt: skip
    points = points + 4 * _uniform(generator, *points.shape)
    return points[:, None], torch.full((len(masks), 1), POSITIVE, device=masks.device)


def boxes(masks: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """A box around each mask (N, S, S), drawn well or badly: corners (N, 2, 2), labels (N, 2)."""
    size = masks.shape[-1]
    # (N, S) for x and for y, whether anything is there; to the first and past the last: (N, 2)
    there = [masks.any(dim=1).float(), masks.any(dim=2).float()]
    low = torch.stack([each.argmax(dim=1) for each in there], dim=1).float()
    high = size - torch.stack([each.flip(1).argmax(dim=1) for each in there], dim=1).float()
    noise = torch.randn(len(masks), 2, 2, generator=generator, device=masks.device).clamp(-2, 2)
    care = 0.08 * _uniform(generator, len(masks))[:, None, None]
    corners = torch.stack([low, high], dim=1) + care * (high - low)[:, None] * noise
    labels = torch.tensor([[BOX_MIN, BOX_MAX]], device=masks.device).expand(len(masks), 2)
    return corners.clamp(0, size), labels


def corrections(logits: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """A click where each mask is wrong.

    Parameters
    ----------
    logits : Tensor, shape (N, h, w)
        The masks so far.
    target : Tensor, shape (N, h, w)
        Coverage of the truth, 0 to 1.
    generator : torch.Generator
        The source of chance.

    Returns
    -------
    tuple of Tensor
        Points (N, 1, 2) in model pixels and labels (N, 1): positive where the object was missed,
        negative where the background was taken. A perfect mask gets a click on the object.
    """
    wanted = target > 0.5
    wrong = (logits > 0) != wanted
    nothing_wrong = ~wrong.flatten(1).any(dim=1)[:, None, None]
    wrong = torch.where(nothing_wrong, wanted, wrong)
    # an object smaller than a cell of the mask has no cell of its own
    weight = _towards_middle(wrong) + 1e-6 * wrong + 1e-12
    cell = _draw(weight, generator)
    index = (cell[:, 1] * target.shape[-1] + cell[:, 0]).long()
    positive = wanted.flatten(1).gather(1, index[:, None])
    points = 4 * (cell + _uniform(generator, *cell.shape))
    return points[:, None], torch.where(positive, POSITIVE, NEGATIVE)
