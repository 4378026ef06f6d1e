"""Prompts: what a person marks on one plane for one object.

Coordinates are napari's: (row, column) in pixels of the plane, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class PointPrompt:
    """A click.

    Parameters
    ----------
    position : tuple of float
        (row, column) in pixels of the plane.
    positive : bool
        True for "this belongs to the object", False for "this does not".
    """

    position: tuple[float, float]
    positive: bool = True


@dataclass(frozen=True)
class BoxPrompt:
    """A rectangle around the object.

    Parameters
    ----------
    box : tuple of float
        (row_min, col_min, row_max, col_max) in pixels of the plane.
    """

    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """A mask of the object.

    Parameters
    ----------
    mask : array of bool, shape (Y, X)
        The same shape as the plane; any dtype, non-zero means object.
    """

    mask: NDArray[np.bool_]


Prompt = PointPrompt | BoxPrompt | MaskPrompt


def check_prompts(prompts: Sequence[Prompt], shape: tuple[int, int]) -> tuple[Prompt, ...]:
    """Check prompts against the plane they are meant for.

    Parameters
    ----------
    prompts : sequence of Prompt
        At least one; one box or one mask at most, and a mask stands alone.
    shape : tuple of int
        (Y, X) of the plane.

    Returns
    -------
    tuple of Prompt
        The same prompts, corners of a box in order and masks as bool.

    Raises
    ------
    ValueError
        When there is no prompt, or one lies outside the plane, is not finite, is empty or has
        the wrong shape, or when the combination has no meaning.
    TypeError
        When something is not a prompt.
    """
    if len(prompts) == 0:
        raise ValueError("There is no prompt. Add a point, a box or a mask first.")
    checked = tuple(_checked(prompt, shape) for prompt in prompts)
    boxes = sum(isinstance(prompt, BoxPrompt) for prompt in checked)
    masks = sum(isinstance(prompt, MaskPrompt) for prompt in checked)
    if boxes > 1:
        raise ValueError(
            f"One object has {boxes} boxes on one plane, but it can have one. "
            "Remove the others, or give them to other objects."
        )
    if masks and len(checked) > 1:
        raise ValueError(
            "A mask prompt stands alone on its plane. Remove the other prompts or the mask."
        )
    return checked


def _checked(prompt: Prompt, shape: tuple[int, int]) -> Prompt:
    if isinstance(prompt, PointPrompt):
        row, column = (float(value) for value in prompt.position)
        if not np.isfinite((row, column)).all():
            raise ValueError(f"The point {prompt.position} is not finite.")
        if not (-0.5 <= row <= shape[0] - 0.5 and -0.5 <= column <= shape[1] - 0.5):
            raise ValueError(
                f"The point ({row:g}, {column:g}) lies outside the plane of {shape[0]} x "
                f"{shape[1]} pixels. Click inside the image."
            )
        return PointPrompt((row, column), bool(prompt.positive))
    if isinstance(prompt, BoxPrompt):
        return _checked_box(prompt, shape)
    if isinstance(prompt, MaskPrompt):
        mask = np.asarray(prompt.mask)
        if mask.shape != tuple(shape):
            raise ValueError(
                f"The mask has shape {mask.shape}, the plane {tuple(shape)}. They must be equal."
            )
        if not mask.any():
            raise ValueError("The mask prompt is empty. Paint the object, or click it instead.")
        return MaskPrompt(mask.astype(bool))
    raise TypeError(
        f"{type(prompt).__name__} is not a prompt. Use PointPrompt, BoxPrompt or MaskPrompt."
    )


def _checked_box(prompt: BoxPrompt, shape: tuple[int, int]) -> BoxPrompt:
    box = np.asarray(prompt.box, dtype=float)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise ValueError(
            f"The box {prompt.box} is not (row_min, col_min, row_max, col_max) in finite numbers."
        )
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    if (high < -0.5).any() or (low > np.asarray(shape) - 0.5).any():
        raise ValueError(
            f"The box {prompt.box} lies outside the plane of {shape[0]} x {shape[1]} pixels."
        )
    low = np.maximum(low, -0.5)
    high = np.minimum(high, np.asarray(shape) - 0.5)
    if (high - low).min() <= 0:
        raise ValueError(f"The box {prompt.box} has no area. Draw a larger one.")
    return BoxPrompt((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
