"""Which part of a large plane the model sees at once, and how coarsely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]  # (row_min, col_min, row_max, col_max) in pixels

# Of a tile's side. What comes so near to an edge of the tile may go on beyond it.
HALO = 1 / 32
# Tiles lie half a side apart, so the centre of the nearest is at most a quarter away: an object of
# at most this share of the side always has a tile that shows it whole, and the level at which it is
# seen depends on its size alone, not on where it lies or was clicked.
LARGEST = 1 / 2 - 2 * HALO


@dataclass(frozen=True)
class Field:
    """A part of a plane, as the model is shown it.

    Attributes
    ----------
    row, column : int
        The first pixel, in pixels of the plane; multiples of ``step``.
    height, width : int
        In pixels of the plane.
    step : int
        So many pixels of the plane, along each axis, are averaged into one that is shown; a power
        of two.
    """

    row: int
    column: int
    height: int
    width: int
    step: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(row_min, col_min, row_max, col_max), the last pixels included."""
        return (
            self.row,
            self.column,
            self.row + self.height - 1,
            self.column + self.width - 1,
        )

    @property
    def level(self) -> int:
        """0 at full resolution, one more each time that it is halved."""
        return self.step.bit_length() - 1

    @property
    def shown(self) -> tuple[int, int]:
        """(Y, X) of what is shown, the last pixels of which may be averages of fewer."""
        return -(-self.height // self.step), -(-self.width // self.step)

    def to_shown(self, position: tuple[float, float]) -> tuple[float, float]:
        """A (row, column) of the plane, in pixels of what is shown."""
        row, column = position
        return (
            (row - self.row + 0.5) / self.step - 0.5,
            (column - self.column + 0.5) / self.step - 0.5,
        )

    def extent(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box in pixels of what is shown, the last included, in pixels of the plane."""
        row, column, last_row, last_column = box
        return (
            self.row + self.step * row,
            self.column + self.step * column,
            self.row + min(self.step * (last_row + 1), self.height) - 1,
            self.column + min(self.step * (last_column + 1), self.width) - 1,
        )

    def holds(self, bounds: Bounds) -> bool:
        """Whether all of a box lies inside, pixels to their outer edges."""
        first, last = np.array(self.box[:2]) - 0.5, np.array(self.box[2:]) + 0.5
        return bool((first <= bounds[:2]).all() and (last >= bounds[2:]).all())


class Grid:
    """Overlapping tiles of a plane, at every level from full resolution to the whole plane.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    size : int
        Side of a tile at full resolution.
    """

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        self.shape, self.size = shape, size

    @property
    def whole(self) -> Field:
        """The whole plane."""
        return self.view((0, 0, self.shape[0] - 1, self.shape[1] - 1))

    def view(self, bounds: Bounds) -> Field:
        """The field of all pixels with their centres in a box, averaged where they are too many.

        Raises
        ------
        ValueError
            When no pixel of the plane lies in it.
        """
        low = np.maximum(np.ceil(bounds[:2]), 0).astype(int)
        high = np.minimum(np.floor(bounds[2:]), np.array(self.shape) - 1).astype(int)
        if (high < low).any():
            raise ValueError(
                f"The view {bounds} shows no pixel of the plane of {self.shape[0]} x "
                f"{self.shape[1]}. Give (row_min, col_min, row_max, col_max) of a part of it."
            )
        step = 1
        while 2 * step * self.size <= int((high - low).max()) + 1:
            step *= 2
        row, column = (int(first) // step * step for first in low)
        return Field(row, column, int(high[0]) + 1 - row, int(high[1]) + 1 - column, step)

    def tile(self, level: int, near: tuple[float, float], holding: Bounds) -> Field:
        """The tile with its centre nearest to a place, of those that hold a box.

        Parameters
        ----------
        level : int
            Of the tile; a coarser one is taken where none holds the box, and its halo around it.
        near : tuple of float
            (row, column).
        holding : tuple of float
            (row_min, col_min, row_max, col_max), all in pixels of the plane.

        Returns
        -------
        Field
            The whole plane where nothing less will do.
        """
        while self.size << level < max(self.shape):
            rows, columns = (self._along(axis, level, near, holding) for axis in (0, 1))
            if rows is not None and columns is not None:
                return Field(rows[0], columns[0], rows[1], columns[1], 1 << level)
            level += 1
        return self.whole

    def closer(self, near: tuple[float, float], holding: Bounds) -> Field | None:
        """Half as long as a tile at full resolution, else as `tile`; None where none holds it."""
        rows, columns = (self._along(axis, -1, near, holding) for axis in (0, 1))
        if rows is None or columns is None:
            return None
        return Field(rows[0], columns[0], rows[1], columns[1], 1)

    def is_finest(self, field: Field) -> bool:
        """Whether a field is as large as a tile at full resolution."""
        sides = tuple(min(self.size, length) for length in self.shape)
        return (field.height, field.width) == sides

    def is_closer(self, field: Field) -> bool:
        """Whether a field is as small as those of `closer`, or smaller."""
        return max(field.height, field.width) <= self._side(-1)

    @property
    def levels(self) -> int:
        """How many there are, the last of which shows the whole plane in one tile."""
        return max(0, (max(self.shape) - 1) // self.size).bit_length() + 1

    def finer(self, tile: Field) -> Field:
        """A tile of the level before that of a tile, at the same place."""
        side = self.size << (tile.level - 1)
        height, width = (min(side, length) for length in self.shape)
        return Field(tile.row, tile.column, height, width, tile.step // 2)

    def tiles(self, level: int) -> Iterator[Field]:
        """Every tile of a level, row by row."""
        side = self.size << level
        for row in self._starts(0, level).tolist():
            for column in self._starts(1, level).tolist():
                height, width = min(side, self.shape[0] - row), min(side, self.shape[1] - column)
                yield Field(row, column, height, width, 1 << level)

    def own(self, axis: int, tile: Field) -> tuple[float, float]:
        """Where along an axis no other tile of the level has its middle nearer; low included."""
        side, length = self.size << tile.level, self.shape[axis]
        starts = self._starts(axis, tile.level)
        middles = starts + (np.minimum(side, length) - 1) / 2
        edges = np.concatenate([[-0.5], (middles[:-1] + middles[1:]) / 2, [length - 0.5]])
        index = int(np.searchsorted(starts, tile.box[axis]))
        return float(edges[index]), float(edges[index + 1])

    def is_too_large(self, extent: Bounds, field: Field) -> bool:
        """Whether what extends so far is to be seen at a coarser level than that of a tile."""
        limit = LARGEST * self.size * field.step
        return any(
            extent[axis + 2] - extent[axis] > limit
            for axis, length in enumerate((field.height, field.width))
            if length < self.shape[axis]
        )

    def is_cut(self, extent: Bounds, field: Field) -> bool:
        """Whether something comes near to an edge of a field that is none of the plane's."""
        halo = HALO * self.size * field.step
        return any(
            (field.box[axis] > 0 and extent[axis] < field.box[axis] + halo)
            or (field.box[axis + 2] < length - 1 and extent[axis + 2] > field.box[axis + 2] - halo)
            for axis, length in enumerate(self.shape)
        )

    def _starts(self, axis: int, level: int) -> NDArray[np.int64]:
        """The first pixels of the tiles of a level; the last tile ends with the plane."""
        side, length = self._side(level), self.shape[axis]
        if side >= length:
            return np.zeros(1, np.int64)
        step = 1 << max(level, 0)
        last = -(-(length - side) // step) * step
        return np.append(np.arange(0, last, max(1, side // 2)), last)

    def _side(self, level: int) -> int:
        return self.size << level if level >= 0 else self.size >> -level

    def _along(
        self, axis: int, level: int, near: tuple[float, float], holding: Bounds
    ) -> tuple[int, int] | None:
        """First pixel and length, along an axis, of the nearest tile that holds the box."""
        side, length = self._side(level), self.shape[axis]
        starts = self._starts(axis, level)
        halo = HALO * side
        low, high = max(holding[axis] - halo, 0), min(holding[axis + 2] + halo, length - 1)
        starts = starts[(starts <= low) & (starts + side > high)]
        if not starts.size:
            return None
        start = int(starts[np.abs(starts + (side - 1) / 2 - near[axis]).argmin()])
        return start, min(side, length - start)


def middle_of(bounds: Bounds) -> tuple[float, float]:
    """The middle (row, column) of a box."""
    return (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
