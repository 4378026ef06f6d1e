"""Prompts: what a person marks on one plane for one object.

Coordinates are napari's: (row, column) in pixels of the plane, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.masks import bounding_box
from napari_sam2.inference.shapes import covers_a_pixel, points_along, polygon_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


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


@dataclass(frozen=True, init=False, eq=False, repr=False)
class MaskPrompt:
    """A mask of the object, kept as its bounding box: memory follows the object, not the plane.

    Parameters
    ----------
    mask : array, shape (Y, X)
        The same shape as the plane; any dtype, non-zero means object. It is copied.

    Attributes
    ----------
    shape : tuple of int
        Of the mask.
    crop : array of bool, shape (y, x)
        What lies in its bounding box; of shape (0, 0) when it is empty. Read-only.
    origin : tuple of int
        (row, column) of the crop's first pixel in the plane.
    """

    __match_args__ = ("mask",)

    shape: tuple[int, ...]
    crop: NDArray[np.bool_]
    origin: tuple[int, int]

    def __init__(self, mask: ArrayLike) -> None:
        given = np.asarray(mask).astype(bool)
        box = bounding_box(given) if given.ndim == 2 else None
        rows, columns = box or (slice(0, 0), slice(0, 0))
        crop = given[rows, columns].copy() if box else np.zeros((0, 0), dtype=bool)
        crop.setflags(write=False)
        values = (given.shape, crop, (rows.start, columns.start))
        for name, value in zip(("shape", "crop", "origin"), values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask, an array of bool of shape (Y, X), made anew."""
        plane = np.zeros(self.shape, dtype=bool)
        if self.crop.size:
            plane[self.slices] = self.crop
        return plane

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the crop lies in the plane."""
        (row, column), (height, width) = self.origin, self.crop.shape
        return slice(row, row + height), slice(column, column + width)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MaskPrompt)
            and (self.shape, self.origin) == (other.shape, other.origin)
            and np.array_equal(self.crop, other.crop)
        )

    def __repr__(self) -> str:
        height, width = self.crop.shape
        return (
            f"MaskPrompt({np.count_nonzero(self.crop)} pixels in {height} x {width} from "
            f"{self.origin}, of a plane of shape {self.shape})"
        )


@dataclass(frozen=True)
class PolygonPrompt:
    """An outline of the object; what is inside is a mask prompt.

    Parameters
    ----------
    vertices : tuple of (float, float)
        (row, column) of each corner, in pixels of the plane; the last one is joined to the first.
        What lies outside the plane is cut off.
    """

    vertices: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke: up to eight clicks, spread evenly along it.

    Parameters
    ----------
    path : tuple of (float, float)
        (row, column) of each corner, in pixels of the plane.
    positive : bool
        True for "this belongs to the object", False for "this does not".
    """

    path: tuple[tuple[float, float], ...]
    positive: bool = True


ModelPrompt = PointPrompt | BoxPrompt | MaskPrompt  # what a network takes
Prompt = ModelPrompt | PolygonPrompt | ScribblePrompt


def check_prompts(prompts: Sequence[Prompt], shape: tuple[int, int]) -> tuple[Prompt, ...]:
    """Check prompts against the plane they are meant for.

    Parameters
    ----------
    prompts : sequence of Prompt
        All prompts of one object on this plane: at least one, and at most one box.
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
    if boxes > 1:
        raise ValueError(
            f"One object has {boxes} boxes on one plane, but it can have one. "
            "Remove the others, or give them to other objects."
        )
    return checked


_LARGEST = int(np.iinfo(np.uint32).max)


def check_object_id(object_id: int) -> None:
    """Raise ValueError for a number that cannot be a label."""
    if not isinstance(object_id, int | np.integer) or not 1 <= object_id <= _LARGEST:
        raise ValueError(
            f"object_id is {object_id}, but labels are whole numbers from 1 to {_LARGEST}; 0 is "
            "background."
        )


def are_given(prompts: Sequence[Prompt]) -> bool:
    """Whether prompts are a mask as it is to be: drawn, with nothing beside it that refines it."""
    return all(isinstance(prompt, MaskPrompt | PolygonPrompt) for prompt in prompts)


def refines(prompts: Sequence[Prompt], earlier: Sequence[Prompt]) -> bool:
    """Whether prompts add to earlier ones, so that the mask so far is refined.

    One that was taken away or moved must leave no trace in the mask.
    """
    return all(prompt in prompts for prompt in earlier)


def expand_prompts(prompts: Sequence[Prompt], shape: tuple[int, int]) -> tuple[ModelPrompt, ...]:
    """Turn prompts into what a network takes.

    Parameters
    ----------
    prompts : sequence of Prompt
        As `check_prompts` returned them.
    shape : tuple of int
        (Y, X) of the plane.

    Returns
    -------
    tuple of ModelPrompt
        Scribbles as points, and at most one mask: everything that masks and polygons cover.
    """
    expanded: list[ModelPrompt] = []
    masks: list[NDArray[np.bool_]] = []
    for prompt in prompts:
        if isinstance(prompt, PolygonPrompt):
            masks.append(polygon_mask(prompt.vertices, shape))
        elif isinstance(prompt, MaskPrompt):
            masks.append(prompt.mask)
        elif isinstance(prompt, ScribblePrompt):
            along = points_along(prompt.path, shape)
            expanded += [PointPrompt(position, prompt.positive) for position in along]
        else:
            expanded.append(prompt)
    if masks:
        expanded.append(MaskPrompt(np.logical_or.reduce(masks)))
    return tuple(expanded)


def _checked(prompt: Prompt, shape: tuple[int, int]) -> Prompt:
    if isinstance(prompt, PointPrompt):
        return _checked_point(prompt, shape)
    if isinstance(prompt, BoxPrompt):
        return _checked_box(prompt, shape)
    if isinstance(prompt, MaskPrompt):
        return _checked_mask(prompt, shape)
    if isinstance(prompt, PolygonPrompt):
        return _checked_polygon(prompt, shape)
    if isinstance(prompt, ScribblePrompt):
        return _checked_scribble(prompt, shape)
    raise TypeError(
        f"{type(prompt).__name__} is not a prompt. Use PointPrompt, BoxPrompt, MaskPrompt, "
        "PolygonPrompt or ScribblePrompt."
    )


def _checked_point(prompt: PointPrompt, shape: tuple[int, int]) -> PointPrompt:
    row, column = (float(value) for value in prompt.position)
    if not np.isfinite((row, column)).all():
        raise ValueError(f"The point {prompt.position} is not finite.")
    if not (-0.5 <= row <= shape[0] - 0.5 and -0.5 <= column <= shape[1] - 0.5):
        raise ValueError(
            f"The point ({row:g}, {column:g}) lies outside the plane of {shape[0]} x "
            f"{shape[1]} pixels. Click inside the image."
        )
    return PointPrompt((row, column), bool(prompt.positive))


def _checked_mask(prompt: MaskPrompt, shape: tuple[int, int]) -> MaskPrompt:
    if prompt.shape != tuple(shape):
        raise ValueError(
            f"The mask has shape {prompt.shape}, the plane {tuple(shape)}. They must be equal."
        )
    if not prompt.crop.size:
        raise ValueError("The mask prompt is empty. Paint the object, or click it instead.")
    return prompt


def _checked_polygon(prompt: PolygonPrompt, shape: tuple[int, int]) -> PolygonPrompt:
    vertices = _positions("polygon", prompt.vertices)
    if not covers_a_pixel(vertices, shape):
        raise ValueError(
            f"The polygon around ({vertices[0][0]:g}, {vertices[0][1]:g}) covers no pixel of the "
            f"plane of {shape[0]} x {shape[1]} pixels. Draw it around the object, in the image."
        )
    return PolygonPrompt(vertices)


def _checked_scribble(prompt: ScribblePrompt, shape: tuple[int, int]) -> ScribblePrompt:
    path = _positions("scribble", prompt.path)
    if not points_along(path, shape):
        raise ValueError(
            f"The scribble from ({path[0][0]:g}, {path[0][1]:g}) lies outside the plane of "
            f"{shape[0]} x {shape[1]} pixels. Draw it inside the image."
        )
    return ScribblePrompt(path, bool(prompt.positive))


def _positions(
    kind: str, positions: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    array = np.asarray(positions, dtype=float)
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0 or not np.isfinite(array).all():
        raise ValueError(
            f"The {kind} is not a sequence of (row, column) in finite numbers. Give its corners."
        )
    return tuple((float(row), float(column)) for row, column in array)


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
