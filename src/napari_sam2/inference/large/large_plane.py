"""Read parts of a plane that is too large to be read whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.frames import UNNAMED, reading, spread_parts
from napari_sam2.inference.transforms import checked_limits, limits_of_parts, rescale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.frames import ArrayLike
    from napari_sam2.inference.large.fields import Field

BLOCK = 2048  # pixels a side that are read at once; files are mostly stored in parts that divide it
SHOWN = (0.0, 1.0)  # contrast limits of what was read
SAMPLES, SAMPLE = 6, 256  # so many parts a side, of so many pixels a side, tell the contrast limits


class LargePlane:
    """A plane, read where it is looked at.

    Parameters
    ----------
    data : array-like, shape (Y, X) or (Y, X, 3), or sequence of them
        Anything with shape, dtype and slicing; or a pyramid, its full resolution first.
    contrast_limits : tuple of float, optional
        (low, high), mapped to black and white everywhere on the plane. By default 0 to 255 for
        uint8, else the 0.1 and 99.9 percentiles of parts that are spread over the plane.
    name : str, optional
        What messages call the image: its file, or its layer.

    Raises
    ------
    TypeError
        When the data has no real numbers.
    ValueError
        When it has another shape.
    """

    def __init__(
        self,
        data: ArrayLike | Sequence[ArrayLike],
        contrast_limits: tuple[float, float] | None = None,
        name: str = UNNAMED,
    ) -> None:
        # not every sequence: arrays are, to mypy
        levels: list[Any] = list(data) if isinstance(data, list | tuple) else [data]
        if not levels:
            raise ValueError(
                "The pyramid has no level. Give the plane at full resolution, at least."
            )
        for level in levels:
            _check(tuple(level.shape), np.dtype(level.dtype))
        self._name = name
        self.shape: tuple[int, int] = (int(levels[0].shape[0]), int(levels[0].shape[1]))
        self._levels = {_factor(self.shape, level.shape): level for level in reversed(levels)}
        self.contrast_limits = (
            limits_of_parts(self._sample(levels[0]), self._parts(levels[-1]))
            if contrast_limits is None
            else checked_limits(contrast_limits)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the levels that are in memory."""
        return sum(each.nbytes for each in self._levels.values() if isinstance(each, np.ndarray))

    def read(self, field: Field) -> NDArray[np.float32]:
        """What the model is shown of a field.

        Parameters
        ----------
        field : Field
            Which part, and how coarsely.

        Returns
        -------
        array of float32, shape ``field.shown``, or with 3 colours last
            0 to 1, from black to white: pixels as `rescale` shows them, averaged over
            ``field.step`` along each axis. Where a pyramid has averages already, they are taken.

        Raises
        ------
        InputError
            When it cannot be read.
        """
        factor = max(factor for factor in self._levels if factor and self._has(field, factor))
        data, step = self._levels[factor], field.step // factor
        parts = [
            [
                block_means(rescale(self._part(data, rows, columns), self.contrast_limits), step)
                for columns in _blocks(field.column // factor, field.shown[1], step, data.shape[1])
            ]
            for rows in _blocks(field.row // factor, field.shown[0], step, data.shape[0])
        ]
        read = np.concatenate([np.concatenate(band, axis=1) for band in parts])
        # a pyramid may leave out the last pixels, where they are no whole one of the coarser level
        missing = [(0, wanted - n) for wanted, n in zip(field.shown, read.shape, strict=False)]
        return np.pad(read, missing + [(0, 0)] * (read.ndim - 2), mode="edge")

    def _has(self, field: Field, factor: int) -> bool:
        """Whether a level of the pyramid has a field, or the beginning of it, in whole pixels."""
        firsts, lengths = (field.row, field.column), self._levels[factor].shape
        inside = all(first // factor < n for first, n in zip(firsts, lengths, strict=False))
        return inside and field.step % factor == 0

    def _sample(self, data: ArrayLike) -> NDArray[Any]:
        """All pixels where they are few, else parts spread over the plane."""
        if np.dtype(data.dtype) in (np.uint8, np.bool_):
            return np.zeros(0, data.dtype)  # their limits do not depend on pixels
        if max(self.shape) <= SAMPLES * SAMPLE:
            return self._part(data, slice(0, self.shape[0]), slice(0, self.shape[1]))
        parts = spread_parts(self.shape, SAMPLES, SAMPLE)
        return np.concatenate([self._part(data, *part).ravel() for part in parts])

    def _parts(self, data: ArrayLike) -> Iterator[NDArray[Any]]:
        """All of a level, part by part."""
        for rows in _blocks(0, data.shape[0], 1, data.shape[0]):
            for columns in _blocks(0, data.shape[1], 1, data.shape[1]):
                yield self._part(data, rows, columns)

    def _part(self, data: ArrayLike, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a part of a level, without transparency."""
        where = ", ".join(
            f"{name} {part.start} to {part.stop - 1} of {length}"
            for name, part, length in zip(
                ("rows", "columns"), (rows, columns), data.shape, strict=False
            )
            if (part.start, part.stop) != (0, length)
        )
        with reading(f"The plane of {self._name}{where and f', {where},'}"):
            read: NDArray[Any] = np.asarray(data[rows, columns])
        return read[..., :3] if read.ndim == 3 else read


def block_means(values: NDArray[Any], step: int) -> NDArray[np.float32]:
    """Average squares of ``step`` pixels a side; the last ones along an axis may be smaller.

    Parameters
    ----------
    values : array, shape (Y, X) or (Y, X, C)
        Numbers or bool.
    step : int
        1 gives the same values.

    Returns
    -------
    array of float32
        The shape of ``values``, its first two axes divided by ``step`` and rounded up.
    """
    for axis in (0, 1) if step > 1 else ():
        starts = np.arange(0, values.shape[axis], step)
        sums = np.add.reduceat(values, starts, axis=axis, dtype=np.float32)
        counts = np.diff(np.append(starts, values.shape[axis])).astype(np.float32)
        values = sums / counts.reshape([-1 if each == axis else 1 for each in range(sums.ndim)])
    means: NDArray[np.float32] = values.astype(np.float32, copy=False)
    return means


def _blocks(first: int, shown: int, step: int, length: int) -> Iterator[slice]:
    """Cut what is shown along an axis, from its first pixel on, at multiples of `BLOCK`."""
    side, last = max(BLOCK, step), min(first + shown * step, length)
    while first < last:
        stop = min((first // side + 1) * side, last)
        yield slice(first, stop)
        first = stop


def _factor(shape: tuple[int, int], coarser: tuple[int, ...]) -> int:
    """How many times coarser a level of a pyramid is; 0 where not by a power of two."""
    factor = round(shape[0] / coarser[0])
    fits = (
        all(
            full // factor <= length <= -(-full // factor)
            for full, length in zip(shape, coarser, strict=False)
        )
        if factor
        else False
    )
    return factor if fits and factor.bit_count() == 1 else 0


def _check(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "buif":
        raise TypeError(f"The image has dtype {dtype}, but real numbers or bool are needed.")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
        raise ValueError(
            f"The image has shape {shape}, but must be one plane: (Y, X), or (Y, X, 3) with "
            "colours. Index the other axes."
        )
