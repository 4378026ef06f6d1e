"""Read one plane at a time from whatever holds the stack."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_sam2.inference.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


class ArrayLike(Protocol):
    """What numpy, dask and zarr arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        ...

    def __getitem__(self, index: Any) -> Any: ...


class WritableArray(ArrayLike, Protocol):
    """An array that can be written to: numpy, a memory map, zarr."""

    def __setitem__(self, index: Any, value: Any) -> None: ...


WHOLE = (slice(None), slice(None))
UNNAMED = "the image"


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Say what could not be read, as whatever holds the pixels raises anything and names nothing.

    Parameters
    ----------
    what : str
        What is read, as the beginning of a sentence.

    Raises
    ------
    InputError
        In place of the error that the reader raised.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{what} cannot be read ({type(error).__name__}: {error}). Check "
            "that its disk is there, and copy or export the image again."
        ) from error


class OneFrame:
    """A plane as a stack of one frame; nothing is read before it is indexed.

    Parameters
    ----------
    plane : array-like, shape (Y, X) or (Y, X, C)
        Anything with ``shape``, ``dtype`` and indexing.
    """

    def __init__(self, plane: ArrayLike) -> None:
        self._plane, self.dtype = plane, plane.dtype
        self.shape = (1, *plane.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return self._plane[index[1:]]


class FixedAxes:
    """An array of which some axes stay at an index; nothing is read before it is indexed.

    Parameters
    ----------
    data : array-like
        Anything with ``shape``, ``dtype`` and indexing.
    fixed : mapping of int to int
        The axes, and the index that each stays at.
    """

    def __init__(self, data: ArrayLike, fixed: Mapping[int, int]) -> None:
        self._data, self._fixed, self.dtype = data, fixed, data.dtype
        self.shape = tuple(n for axis, n in enumerate(data.shape) if axis not in fixed)

    def __getitem__(self, index: Any) -> Any:
        others = iter(index if isinstance(index, tuple) else (index,))
        return self._data[
            tuple(
                self._fixed[axis] if axis in self._fixed else next(others, slice(None))
                for axis in range(len(self._data.shape))
            )
        ]


def fixed_levels(levels: Sequence[ArrayLike], fixed: Mapping[int, int]) -> tuple[FixedAxes, ...]:
    """The levels of a pyramid, full resolution first, with some axes staying at an index.

    A level that is coarser along such an axis, too, is left out: other planes are at its indices.
    """
    full = levels[0].shape
    return tuple(
        FixedAxes(level, fixed)
        for level in levels
        if all(level.shape[axis] == full[axis] for axis in fixed)
    )


class FrameSource:
    """The planes of a stack, read lazily.

    Parameters
    ----------
    data : array-like
        Anything with ``shape``, ``dtype`` and indexing: numpy, dask, zarr.
    frame_axis : int
        Which axis the frames lie along.
    fixed : mapping of int to int, optional
        Further axes and the index each stays at, such as the time of a 3D+t stack.
    rgb : bool, optional
        Whether the last axis holds colours (3, or 4 of which the last is ignored). By default it
        does when it has that length and would otherwise be one axis too many.
    name : str, optional
        What messages call the image: its file, or its layer.

    Raises
    ------
    TypeError
        When the data has no real numbers.
    ValueError
        When an axis is empty or out of range, or there are not two axes left for the plane.
    """

    def __init__(
        self,
        data: ArrayLike,
        *,
        frame_axis: int = 0,
        fixed: Mapping[int, int] | None = None,
        rgb: bool | None = None,
        name: str = UNNAMED,
    ) -> None:
        shape, dtype = tuple(data.shape), np.dtype(data.dtype)
        if dtype.kind not in "buif":
            raise TypeError(f"The image has dtype {dtype}, but real numbers or bool are needed.")
        fixed = dict(fixed or {})
        left = len(shape) - len(fixed)
        self.rgb = (left == 4 and shape[-1] in (3, 4)) if rgb is None else rgb
        planes = left - self.rgb
        if planes != 3:
            raise ValueError(
                f"The image has shape {shape}: {planes} axes remain for one frame axis and a "
                "plane, but there must be 3. Give a single plane as image[None], and name the "
                "axes that stay fixed."
            )
        if 0 in shape:
            raise ValueError(f"The image has shape {shape}: one of its axes is empty.")
        for axis in (frame_axis, *fixed):
            if not 0 <= axis < len(shape) - self.rgb:
                raise ValueError(f"There is no axis {axis} in an image of shape {shape}.")
        if frame_axis in fixed:
            raise ValueError(f"Axis {frame_axis} is the frame axis and cannot be fixed.")
        if self.rgb and shape[-1] not in (3, 4):
            raise ValueError(f"An RGB image has 3 or 4 colours last, but the shape is {shape}.")
        for axis, index in fixed.items():
            if not 0 <= index < shape[axis]:
                raise ValueError(f"Axis {axis} of shape {shape} has no index {index}.")
        self.data = data
        self.dtype = dtype
        self.name = name
        self._index: list[Any] = [fixed.get(axis, slice(None)) for axis in range(len(shape))]
        self._frame_axis = frame_axis
        first, second = (
            axis for axis in range(len(shape) - self.rgb) if axis not in (frame_axis, *fixed)
        )
        self._plane_axes = first, second
        self.plane_shape: tuple[int, int] = (shape[first], shape[second])

    def __len__(self) -> int:
        return int(self.data.shape[self._frame_axis])

    def plane(self, frame: int, part: tuple[slice, slice] = WHOLE) -> NDArray[Any]:
        """Read one plane, or a part of it.

        Parameters
        ----------
        frame : int
            Index along the frame axis, from 0.
        part : tuple of slice
            Rows and columns.

        Returns
        -------
        array, shape (Y, X) or (Y, X, 3)
            In the data's own dtype.

        Raises
        ------
        IndexError
            When there is no such frame.
        InputError
            When it cannot be read.
        """
        if not 0 <= frame < len(self):
            raise IndexError(f"There is no frame {frame}: the stack has {len(self)}, from 0.")
        index = list(self._index)
        index[self._frame_axis] = frame
        for axis, some in zip(self._plane_axes, part, strict=True):
            index[axis] = some
        with reading(f"{f'Plane {frame}' if len(self) > 1 else 'The plane'} of {self.name}"):
            plane = np.asarray(self.data[tuple(index)])
        return plane[..., :3] if self.rgb else plane


class PlaneReader:
    """Reads planes of a source once, and in a pass one ahead, while the model works.

    Parameters
    ----------
    source : FrameSource
        The stack.

    Attributes
    ----------
    following : int or None
        The frame that will be asked for after the next one: it is read in a thread of its own when
        that one has to be read, too.
    """

    def __init__(self, source: FrameSource) -> None:
        self.source = source
        self.following: int | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._read: dict[int, Future[NDArray[Any]]] = {}

    def plane(self, frame: int) -> NDArray[Any]:
        """Read a plane, as `FrameSource.plane`; the last one and the one ahead are kept."""
        wanted = [frame] if self.following is None else [frame, self.following]
        self._read = {each: self._read.get(each) or self._started(each) for each in wanted}
        reading = self._read[frame]
        if reading.exception() is not None:  # whoever asks again may find the disk there again
            del self._read[frame]
        return reading.result()

    def _started(self, frame: int) -> Future[NDArray[Any]]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "napari-sam2 reader")
        return self._executor.submit(self.source.plane, frame)


def spread_parts(shape: tuple[int, ...], count: int, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of parts spread over a plane (Y, X).

    Parameters
    ----------
    shape : tuple of int
        Of the plane; what follows rows and columns does not count.
    count, side : int
        At most so many parts along each axis, of so many pixels a side.
    """
    rows, columns = (
        [slice(start, start + side) for start in np.unique(starts).tolist()]
        for length in shape[:2]
        for starts in [np.linspace(0, max(0, length - side), count, dtype=int)]
    )
    return list(product(rows, columns))
