"""A plane shown to the model in several turns, and what it answers to them as one answer.

What a small model finds depends on how a plane lies, though it should not. Masks that are the mean
over turns are better than those of any one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_sam2.inference.small_models import is_small
from napari_sam2.model.mask_decoder import Decoded
from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam2.inference.load import Model

TURNS = 3  # of small models: a quarter each, the first as the plane lies
# Each takes as long to encode: a fourth brought nano less than a hundredth of IoU.


def turns_of(model: Model) -> int:
    """How many turns of a plane a model is shown where it is prompted."""
    return TURNS if is_small(model) else 1


def turned_maps(maps: Tensor, turns: int) -> Tensor:
    """Images, masks or logits (1, C, S, S) in each turn, (turns, C, S, S)."""
    return torch.cat([maps.rot90(turn, (2, 3)) for turn in range(turns)])


def turned_points(
    points_xy_model: Tensor, labels: Tensor, size: int, turns: int
) -> tuple[Tensor, Tensor]:
    """Points and box of one object, as `point_tensors` gives them, in each turn.

    (1, P, 2) in an input of ``size`` pixels a side, and (1, P) labels: (turns, P, 2), (turns, P).
    """
    every = [points_xy_model]
    for _ in range(1, turns):
        x, y = every[-1].unbind(dim=-1)
        every.append(torch.stack([y, size - x], dim=-1))
    points, labels = torch.cat(every), labels.expand(turns, -1)
    # a box is its lowest and its highest corner, which a turn makes two others
    corner = ((labels == BOX_MIN) | (labels == BOX_MAX))[..., None]
    ordered = points[:, :2].sort(dim=1).values
    points[:, :2] = torch.where(corner[:, :2], ordered, points[:, :2])
    return points, labels


def mean_of_turns(decoded: Decoded) -> Decoded:
    """Turn masks back, (turns, m, h, w), and take their mean as one answer, a batch of 1.

    Tokens are those of the plane as it lies.
    """
    masks = [each.rot90(-turn, (1, 2)) for turn, each in enumerate(decoded.logits)]
    return Decoded(
        torch.stack(masks).float().mean(dim=0, keepdim=True),
        decoded.scores.float().mean(dim=0, keepdim=True),
        decoded.tokens[:1],
        decoded.presence.float().mean(dim=0, keepdim=True),
    )
