"""Drawn outlines and strokes as pixels and points of a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Position = tuple[float, float]

MOST_POINTS = 8  # of a scribble; further ones hardly tell the model more
SPACING = 4.0  # pixels, at least, between the points of a scribble


def polygon_mask(vertices: Sequence[Position], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a polygon.

    Parameters
    ----------
    vertices : sequence of (float, float)
        (row, column) of each corner; the last one is joined to the first.
    shape : tuple of int
        (Y, X) of the plane.

    Returns
    -------
    array of bool, shape (Y, X)
        Pixels whose centre lies inside; where the outline crosses itself, by the even-odd rule.
    """
    inside, (row, column) = polygon_crop(vertices, shape)
    mask = np.zeros(shape, dtype=bool)
    mask[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return mask


def polygon_crop(
    vertices: Sequence[Position], shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Fill a polygon as `polygon_mask` does, in the box around it alone.

    Returns
    -------
    array of bool, and (row, column) of its first pixel
        Without a pixel where the polygon lies outside the plane.
    """
    corners = np.asarray(vertices, dtype=float)
    first = np.clip(np.floor(corners.min(axis=0)), 0, shape).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, first, shape).astype(int)
    crossed = _crossings(corners - first, (int(last[0] - first[0]), int(last[1] - first[1])))
    mask: NDArray[np.bool_] = np.logical_xor.accumulate(crossed, axis=1)
    return mask, (int(first[0]), int(first[1]))


def covers_a_pixel(vertices: Sequence[Position], shape: tuple[int, int]) -> bool:
    """Whether `polygon_mask` fills anything."""
    return bool(polygon_crop(vertices, shape)[0].any())


def points_along(path: Sequence[Position], shape: tuple[int, int]) -> tuple[Position, ...]:
    """Spread points evenly along a path.

    Parameters
    ----------
    path : sequence of (float, float)
        (row, column) of each corner.
    shape : tuple of int
        (Y, X) of the plane.

    Returns
    -------
    tuple of (float, float)
        Up to eight, fewer on a short path; those outside the plane are left out.
    """
    corners = np.asarray(path, dtype=float)
    steps = np.linalg.norm(np.diff(corners, axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    length = float(travelled[-1])
    count = max(1, min(MOST_POINTS, int(length / SPACING)))
    # in the middle of equal pieces: the ends of a stroke are its least careful part
    wanted = (np.arange(count) + 0.5) * length / count
    rows, columns = (np.interp(wanted, travelled, corners[:, axis]) for axis in (0, 1))
    height, width = shape
    return tuple(
        (float(row), float(column))
        for row, column in zip(rows, columns, strict=True)
        if -0.5 <= row <= height - 0.5 and -0.5 <= column <= width - 0.5
    )


def _crossings(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mark where the outline is crossed, going along each row: the first pixel beyond it."""
    height, width = shape
    crossed = np.zeros((height, width + 1), dtype=bool)  # one more for what lies to the right
    for (row, column), (next_row, next_column) in zip(
        corners, np.roll(corners, -1, axis=0), strict=True
    ):
        if row == next_row:
            continue  # parallel to the rows
        low, high = sorted((row, next_row))
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), height))
        at = column + (rows - row) * (next_column - column) / (next_row - row)
        crossed[rows, np.ceil(at).clip(0, width).astype(int)] ^= True
    return crossed[:, :width]
