"""Find everything on a plane: ask about many points, and keep each mask that may be good."""

from __future__ import annotations

import math
import warnings
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.automatic.found_masks import (
    USUAL,
    USUAL_OF_NANO,
    Candidates,
    Thresholds,
)
from napari_sam2.inference.automatic.point_decoder import CROP_MARGIN, PointDecoder
from napari_sam2.inference.device import is_out_of_memory, memory_explained
from napari_sam2.inference.errors import check_whole
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.transforms import chosen_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from napari_sam2.inference.automatic.found_masks import Box, FoundMask
    from napari_sam2.inference.load import Model

CROP_OVERLAP = 512 / 1500  # of the plane's shorter side, in layer 1; that of the sam2 package

# Points decoded at once. On one CPU core nano took 13 ms a point with 16 of them and 20 ms with 64,
# whose tensors do not fit the processor's cache.
CPU_BATCH, DEVICE_BATCH = 16, 64


class MaskGenerator:
    """Segments everything on a plane, without anyone clicking.

    The costly part, decoding, is done once; `Candidates.choose` then takes thresholds as often as
    wanted, without the model.

    Parameters
    ----------
    model : Model
        From `load_model`.
    points_per_side : int
        The plane is asked about at the points of a grid of so many rows and columns. An object
        between two points is missed.
    crop_layers : int
        Small objects are found in crops of the plane, which the model sees larger: layer 1 has
        2 x 2 of them, layer 2 has 4 x 4, each with a grid of its own. 0 is none.
    points_downscale : int
        The grid of layer n has so many times fewer points a side, to the power of n.
    score_floor, stability_floor : float
        Masks that do not reach them are not kept, which saves memory; thresholds cannot be chosen
        lower afterwards.
    batch : int, optional
        Points decoded at once. By default 16 on a CPU and 64 elsewhere; halved where memory does
        not suffice. It does not change the masks.

    Raises
    ------
    ValueError
        When one of the numbers has no meaning.
    """

    def __init__(
        self,
        model: Model,
        points_per_side: int = 32,
        *,
        crop_layers: int = 0,
        points_downscale: int = 1,
        score_floor: float = 0.2,
        stability_floor: float = 0.5,
        batch: int | None = None,
    ) -> None:
        if batch is None:
            batch = CPU_BATCH if model.device.type == "cpu" else DEVICE_BATCH
        for name, value, least in (
            ("points_per_side", points_per_side, 1),
            ("crop_layers", crop_layers, 0),
            ("points_downscale", points_downscale, 1),
            ("batch", batch, 1),
        ):
            check_whole(name, value, least)
        if points_per_side < points_downscale**crop_layers:
            raise ValueError(
                f"With points_downscale={points_downscale}, a grid of {points_per_side} points a "
                f"side has none left in crop layer {crop_layers}. Use fewer layers, or more points."
            )
        for name, floor in (("score_floor", score_floor), ("stability_floor", stability_floor)):
            if not 0 <= floor <= 1:
                raise ValueError(f"{name} is {floor}; it must be from 0 to 1.")
        self.model = model
        self.points_per_side, self.points_downscale = points_per_side, points_downscale
        self.crop_layers = crop_layers
        self.floors = Thresholds(score_floor, stability_floor)
        self.batch = batch

    @property
    def usual(self) -> Thresholds:
        """What masks of this model must reach, unless `Candidates.choose` is told otherwise."""
        return USUAL_OF_NANO if is_small(self.model) else USUAL[self.model.config.family]

    def generate(
        self,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float] | None = None,
        points_yx: ArrayLike | None = None,
    ) -> Candidates:
        """Decode every point of a plane.

        Parameters
        ----------
        plane : array, shape (Y, X) or (Y, X, 3)
            Any real dtype. NaN and infinities are taken as the lower limit.
        contrast_limits : tuple of float, optional
            (low, high), mapped to black and white. By default 0 to 255 for uint8, else the 0.1
            and 99.9 percentiles.
        points_yx : array-like, shape (N, 2), optional
            (row, column) in pixels of the plane, from any detector, in place of the grid. In
            crops those inside are asked about again.

        Returns
        -------
        Candidates
            What `Candidates.choose` chooses from.

        Raises
        ------
        TypeError, ValueError
            When the plane has another shape or no real numbers, is too small for so many layers of
            crops, or when points have another shape or lie outside.
        """
        for candidates in self.steps(plane, contrast_limits, points_yx):  # noqa: B007
            pass
        return candidates

    def steps(
        self,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float] | None = None,
        points_yx: ArrayLike | None = None,
    ) -> Iterator[Candidates]:
        """Decode batch by batch; takes and raises what `generate` does, raising at once.

        Stop iterating to cancel: what came stays.

        Returns
        -------
        iterator of Candidates
            After each batch, everything that was decoded so far; before the first, nothing.
        """
        source = FrameSource(np.asarray(plane)[None])  # the same checks as for a stack
        plane, shape = source.plane(0), source.plane_shape
        given = None if points_yx is None else _checked_points(points_yx, shape)
        crops = crops_of(shape, self.crop_layers)
        points = []
        for layer, crop in crops:
            if given is None:
                points.append(_grid(crop, self.points_per_side // self.points_downscale**layer))
            else:
                points.append(given[_inside(given, crop)])
        limits = chosen_limits(contrast_limits, plane)
        return self._steps(plane, limits, [crop for _, crop in crops], points)

    def _steps(
        self,
        plane: NDArray[Any],
        limits: tuple[float, float],
        crops: list[Box],
        points: list[NDArray[np.float64]],
    ) -> Iterator[Candidates]:
        with memory_explained(plane.shape):
            yield from self._decoded(plane, limits, crops, points)

    def _decoded(
        self,
        plane: NDArray[Any],
        limits: tuple[float, float],
        crops: list[Box],
        points: list[NDArray[np.float64]],
    ) -> Iterator[Candidates]:
        shape = plane.shape[0], plane.shape[1]
        found: tuple[FoundMask, ...] = ()
        decoded, total = 0, sum(map(len, points))
        yield Candidates(shape, found, decoded, total, self.floors, self.usual)
        batch, told = self.batch, False
        for crop, own in zip(crops, points, strict=True):
            if not len(own):
                continue
            decoder = PointDecoder(self.model, plane, limits, crop, self.floors)
            first = 0
            while first < len(own):
                asked = own[first : first + batch]
                try:
                    found += tuple(decoder.masks(asked))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or batch == 1:
                        raise
                    batch = max(1, len(asked) // 2)
                    if not told:
                        told = True
                        warnings.warn(
                            "The memory does not suffice for so many points at a time, so fewer "
                            "are decoded at once from now on. Masks stay the same.",
                            stacklevel=3,
                        )
                else:
                    first += len(asked)
                    decoded += len(asked)
                    yield Candidates(shape, found, decoded, total, self.floors, self.usual)


def crops_of(shape: tuple[int, int], layers: int) -> list[tuple[int, Box]]:
    """The whole plane and its overlapping crops, as the sam2 package lays them.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    layers : int
        How many layers of crops; layer n has 2^n x 2^n.

    Returns
    -------
    list of (layer, box)
        (row_min, col_min, row_max, col_max), the last pixels included.

    Raises
    ------
    ValueError
        When crops would be so small that hardly a mask in them were whole.
    """
    height, width = shape
    crops = [(0, (0, 0, height - 1, width - 1))]
    for layer in range(1, layers + 1):
        side = 2**layer
        overlap = int(CROP_OVERLAP * min(shape) * (2 / side))
        lengths = [math.ceil((overlap * (side - 1) + length) / side) for length in shape]
        if min(lengths) <= 2 * CROP_MARGIN:
            raise ValueError(
                f"Crops of layer {layer} of a plane of {height} x {width} pixels have "
                f"{lengths[0]} x {lengths[1]}, but masks within {CROP_MARGIN} pixels of a crop's "
                f"edge are left out. Use no more than {layer - 1} layers of crops."
            )
        starts = [[(length - overlap) * number for number in range(side)] for length in lengths]
        for column, row in product(starts[1], starts[0]):
            last_row = min(row + lengths[0], height) - 1
            last_column = min(column + lengths[1], width) - 1
            crops.append((layer, (row, column, last_row, last_column)))
    return crops


def _grid(crop: Box, side: int) -> NDArray[np.float64]:
    """Points of a grid over a crop, (side^2, 2): the middles of its cells, as in sam2."""
    middles = (np.arange(side) + 0.5) / side
    rows = crop[0] + middles * (crop[2] - crop[0] + 1)
    columns = crop[1] + middles * (crop[3] - crop[1] + 1)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def _inside(points_yx: NDArray[np.float64], crop: Box) -> NDArray[np.bool_]:
    """Which points lie in a crop, (N,)."""
    low, high = np.array(crop[:2]) - 0.5, np.array(crop[2:]) + 0.5
    inside: NDArray[np.bool_] = np.all((low <= points_yx) & (points_yx <= high), axis=1)
    return inside


def _checked_points(points_yx: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    points = np.asarray(points_yx, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, 2)  # a detector may find nothing
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"points_yx has shape {points.shape}, but must be (N, 2): a row and a column for each."
        )
    outside = ~_inside(points, (0, 0, shape[0] - 1, shape[1] - 1))  # not a number is outside, too
    if outside.any():
        row, column = points[outside][0]
        raise ValueError(
            f"{np.count_nonzero(outside)} of {len(points)} points lie outside the plane of "
            f"{shape[0]} x {shape[1]} pixels, such as ({row:g}, {column:g}). Give (row, column), "
            "in pixels of the plane."
        )
    return points
