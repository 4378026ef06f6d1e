"""Labelled microscopy to learn from: planes and stacks with instance labels, read lazily."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.transforms import rescale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_sam2.inference.frames import ArrayLike

DATA_VARIABLE = "NAPARI_SAM2_DATA"
FRAME_AXES = "zt"


def data_folder() -> Path:
    """Folder of the training data: ``$NAPARI_SAM2_DATA``, or ``../shared/data``.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    """
    folder = Path(os.environ.get(DATA_VARIABLE, "../shared/data"))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no training data at {folder.resolve()}. "
            f"Set {DATA_VARIABLE} to the folder that holds it."
        )
    return folder


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of an array, along any of its axes.

    Attributes
    ----------
    data : array-like
        What is read, plane by plane.
    axes : str
        A letter for each axis: y, x, perhaps z or t, and perhaps c for colours.
    block : range, optional
        The part of z or t that is used; all of it by default.
    direction : int
        What a frame is an index of: 0 for z or t, 1 for y, 2 for x.
    """

    data: ArrayLike
    axes: str
    block: range | None = None
    direction: int = 0

    @cached_property
    def along(self) -> str:
        """The axis that the frames lie along; empty where there is one plane only."""
        frame = next((letter for letter in self.axes if letter in FRAME_AXES), "")
        return (frame, "y", "x")[self.direction]

    def __len__(self) -> int:
        if not self.along:
            return 1
        if self.along in FRAME_AXES and self.block is not None:
            return len(self.block)
        return int(self.data.shape[self.axes.index(self.along)])

    def plane(self, frame: int) -> NDArray[Any]:
        """Read one plane: (rows, columns), or (rows, columns, colours)."""
        index = tuple(self._index(letter, frame) for letter in self.axes)
        plane = np.asarray(self.data[index])
        if plane.dtype == bool:
            plane = plane.view(np.uint8)
        left = [letter for letter in self.axes if letter != self.along]
        order = [left.index(letter) for letter in (*FRAME_AXES, "y", "x", "c") if letter in left]
        return plane.transpose(order)

    def _index(self, letter: str, frame: int) -> int | slice:
        block = self.block if letter in FRAME_AXES else None
        if letter == self.along:
            return block[frame] if block is not None else frame
        return slice(None) if block is None else slice(block.start, block.stop, block.step)


@dataclass(frozen=True, eq=False)
class PlaneArray:
    """Planes as an array (T, Y, X[, 3]) that is read when a frame is taken from it."""

    read: Callable[[int], NDArray[Any]]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, read: Callable[[int], NDArray[Any]], count: int) -> PlaneArray:
        """An array of as many planes, all like the first."""
        first = read(0)
        return cls(read, (count, *first.shape), first.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return map(self.read, range(len(self)))

    def __getitem__(self, index: int | tuple[Any, ...]) -> NDArray[Any]:
        frame, *rest = index if isinstance(index, tuple) else (index,)
        plane: NDArray[Any] = self.read(int(frame))[tuple(rest)]
        return plane


@dataclass(frozen=True, eq=False)
class LabelledStack:
    """Planes with instance labels; a single image is a stack of one plane.

    Attributes
    ----------
    source, name : str
        The data set, and the image within it.
    image : Planes
        Any real dtype; one to four colours.
    labels : Planes
        Whole numbers; an object keeps its label over the frames.
    contrast_limits : tuple of float
        What is shown as black and as white, on all planes.
    objects : array of int, shape (n,)
        The labels that count, in order: everything else is background.
    smallest_on_plane : int
        An object is asked for where it has as many pixels on a plane.
    """

    source: str
    name: str
    image: Planes
    labels: Planes
    contrast_limits: tuple[float, float]
    objects: NDArray[np.integer[Any]]
    smallest_on_plane: int = 30

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_planes(self) -> PlaneArray:
        """All that `image_plane` gives."""
        return PlaneArray.of(self.image_plane, len(self))

    @property
    def label_planes(self) -> PlaneArray:
        """All that `label_plane` gives."""
        return PlaneArray.of(self.label_plane, len(self))

    def image_plane(self, frame: int) -> NDArray[np.float32]:
        """Intensities of one plane as 0 to 1: (Y, X) or (Y, X, 3)."""
        plane = rescale(self.image.plane(frame), self.contrast_limits)
        if plane.ndim == 3:
            colours = plane.shape[-1]
            if colours == 1:
                return plane[..., 0]
            if colours == 2:
                return np.pad(plane, [(0, 0), (0, 0), (0, 1)])
            return plane[..., :3]  # a fourth is taken as transparency
        return plane

    def label_plane(self, frame: int) -> NDArray[np.int32]:
        """Labels of one plane as 1 to n, in the order of ``objects``; 0 is background."""
        plane = self.labels.plane(frame)
        if (table := self._table) is not None:
            known: NDArray[np.int32] = table[plane.clip(0, len(table) - 1)]
            return known
        place = np.searchsorted(self.objects, plane).clip(max=len(self.objects) - 1)
        return np.where(self.objects[place] == plane, place + 1, 0).astype(np.int32)

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """Label to place among the objects; None where labels are too large for a table."""
        largest = int(self.objects[-1])
        if largest > 2**20:
            return None
        table = np.zeros(largest + 2, np.int32)  # the last is for everything larger
        table[self.objects.astype(np.int64)] = np.arange(1, len(self.objects) + 1)
        return table


def objects_on_plane(labels: NDArray[np.integer[Any]], smallest: int) -> list[int]:
    """Labels of at least ``smallest`` pixels on a plane of shape (Y, X)."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return [int(value) for value in np.flatnonzero(counts >= smallest)]
