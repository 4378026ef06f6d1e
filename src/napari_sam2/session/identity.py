"""Which image and which model a session was made with."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.checkpoints.download import path_of
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE
from napari_sam2.inference.frames import spread_parts

if TYPE_CHECKING:
    from napari_sam2.inference.frames import ArrayLike

_PLANES = 3  # first, middle and last: reading all of a large image would take too long
_LARGE = 2**26  # bytes of a plane; of larger ones so many parts a side are read, of so many pixels
_PARTS, _PART = 4, 256


@dataclass(frozen=True)
class ImageIdentity:
    """What tells an image from others.

    Parameters
    ----------
    name : str
        What it is called; another name alone makes no other image.
    shape : tuple of int
        Its shape, colours included.
    dtype : str
        Its data type.
    rgb : bool
        Whether its last axis holds colours.
    sha256 : str
        Of its first, middle and last plane, or parts of them; empty where they are not known.
    axes : str
        A letter of "tczyx" for each axis but the colours; empty where they have no such names.
    scale : tuple of float
        Size of a pixel along each axis but the colours; empty where it is not known.
    units : tuple of str
        What ``scale`` is in, for each axis, such as "micrometer" or "second".
    translation : tuple of float
        Where the first pixel lies along each axis, in the same units; empty where it is not known.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rgb: bool
    sha256: str
    axes: str = ""
    scale: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    translation: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """The same for the same image, whatever its name."""
        parts = (self.shape, self.dtype, self.rgb, self.sha256)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def differences(self, other: ImageIdentity) -> list[str]:
        """Say in what another image differs from this one, were it told apart by its pixels.

        Its name and what its axes mean do not count; nor do the pixels, where they are not known
        of one of them.
        """
        told = {
            f"its shape is {other.shape}, not {self.shape}": other.shape != self.shape,
            f"its data type is {other.dtype}, not {self.dtype}": other.dtype != self.dtype,
            f"it {_has(other.rgb)} colours": other.rgb != self.rgb,
        }
        found = [text for text, differs in told.items() if differs]
        others = self.sha256 != other.sha256 and "" not in (self.sha256, other.sha256)
        return found or ["its pixels are others"] * others


def identify_image(name: str, data: ArrayLike, rgb: bool) -> ImageIdentity:
    """Read a few planes of an image, or parts of large ones, to know it again.

    Parameters
    ----------
    name : str
        What it is called.
    data : array-like, shape (..., Y, X) or (..., Y, X, C)
        The image.
    rgb : bool
        Whether the last axis holds colours.
    """
    shape = tuple(int(length) for length in data.shape)
    leading = shape[: len(shape) - 2 - rgb]
    count = int(np.prod(leading))
    digest = hashlib.sha256()
    for flat in sorted({0, count // 2, count - 1})[:_PLANES]:
        index = tuple(int(i) for i in np.unravel_index(flat, leading)) if leading else ()
        for part in _parts(shape[len(leading) :], np.dtype(data.dtype).itemsize):
            digest.update(np.ascontiguousarray(data[(*index, *part)]).tobytes())
    return ImageIdentity(name, shape, str(np.dtype(data.dtype)), rgb, digest.hexdigest())


def _parts(plane: tuple[int, ...], itemsize: int) -> list[tuple[slice, ...]]:
    """What is read of a plane: nothing is left out of one that fits into memory easily."""
    if math.prod(plane) * itemsize <= _LARGE:
        return [()]
    return [*spread_parts(plane, _PARTS, _PART)]


def identify_model(name: str) -> str:
    """SHA-256 of a model's file, by the model's name or the file's path.

    Raises
    ------
    OSError
        When the file cannot be read.
    """
    path = Path(name)
    if name == "nano":
        path = NANO_FILE
    elif name in CHECKPOINTS and not path.is_file():
        path = path_of(CHECKPOINTS[name])
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@lru_cache
def _digest(path: Path, size: int, changed: int) -> str:
    # size and time of change only tell when the file must be read anew
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has(rgb: bool) -> str:
    return "has" if rgb else "has no"
