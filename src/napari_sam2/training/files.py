"""Arrays in image files, read when they are indexed."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.errors import InputError
from napari_sam2.inference.image_files import OpenImage
from napari_sam2.inference.zarr_images import read_zarr

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.inference.frames import ArrayLike

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".zarr")

CACHE_BYTES = 256 * 2**20
SMALL = 32 * 2**20  # decoded once; larger ones are read plane by plane, where the format allows
OPEN_COST = 4 * 2**20  # what a large one counts as: few stay open


@dataclass(frozen=True)
class FileArray:
    """An array in a file.

    It holds no file open: it can be sent to another process.

    Attributes
    ----------
    path : Path
        A TIFF, PNG or other image file, or a zarr folder.
    shape : tuple of int
        Length of each axis.
    dtype : numpy.dtype
        Type of the numbers.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, path: Path) -> FileArray:
        """Look at a file.

        Raises
        ------
        ValueError
            When it cannot be read.
        """
        array = _CACHE.get(path)
        return cls(path, tuple(array.shape), np.dtype(array.dtype))

    def __getitem__(self, index: Any) -> Any:
        try:
            return np.asarray(_CACHE.get(self.path)[index])
        except ValueError:
            raise
        except Exception as error:  # decoders raise anything when a file is broken
            raise _unreadable(self.path, error) from error


class _Cache:
    """The arrays used last, decoded where they are small, within a budget of bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, Path], ArrayLike] = OrderedDict()
        self.bytes = 0

    def get(self, path: Path) -> ArrayLike:
        key = os.getpid(), path  # a forked process must not share the place in an open file
        if key not in self._kept:
            try:
                self._kept[key] = _small_decoded(_opened(path))
            except InputError:  # it says what is wrong
                raise
            except Exception as error:
                raise _unreadable(path, error) from error
            self.bytes += _cost(self._kept[key])
            while len(self._kept) > 1 and self.bytes > CACHE_BYTES:
                self.bytes -= _cost(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(key)
        return self._kept[key]


_CACHE = _Cache()


def _cost(array: ArrayLike) -> int:
    decoded = isinstance(array, np.ndarray) and not isinstance(array, np.memmap)
    return _bytes(array) if decoded else OPEN_COST


def _bytes(array: ArrayLike) -> int:
    return math.prod(array.shape) * int(np.dtype(array.dtype).itemsize)


def _small_decoded(array: ArrayLike) -> ArrayLike:
    return np.asarray(array[...]) if _bytes(array) <= SMALL else array


def _opened(path: Path) -> ArrayLike:
    if path.suffix == ".zarr":
        return _opened_zarr(path)
    if path.suffix.lower() in {".tif", ".tiff"}:
        return _opened_tiff(path)
    from skimage.io import imread

    image: ArrayLike = imread(path)
    return image


def _opened_zarr(path: Path) -> ArrayLike:
    data, axes, *_ = read_zarr(path)
    array: ArrayLike = data
    if axes:  # OME-Zarr often has all five, of which some have a length of 1
        array = OpenImage(data, axes, rgb=False).squeezed().data
    return array


def _opened_tiff(path: Path) -> ArrayLike:
    import tifffile
    import zarr

    try:
        mapped: ArrayLike = tifffile.memmap(path, mode="r")
    except ValueError:  # compressed
        series = tifffile.TiffFile(path).series[0]
        mapped = zarr.open_array(series.aszarr(level=0), mode="r")
    return mapped


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return ValueError(
        f"{path} cannot be read as an image ({reason}). Replace it, or move it out of the folder."
    )
