"""Room for the labels of a whole image, in memory or on disk."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from napari.utils.notifications import show_info

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 512  # pixels along each side of a plane


def empty_labels(
    shape: tuple[int, ...],
    dtype: type[np.unsignedinteger[Any]] = np.uint16,
    how_to_keep: str = "save the layer",
    free: Callable[[], int] = lambda: psutil.virtual_memory().available,
) -> Any:
    """Make an array of 0 that can be written to.

    Parameters
    ----------
    shape : tuple of int
        Its shape; the last two axes are mostly those of planes.
    dtype : type
        Of the labels.
    how_to_keep : str
        What the user can do so that the labels outlive napari.
    free : callable
        Gives the free memory in bytes. What would take more than half of it is a zarr array in a
        temporary folder, which is deleted with the array, or else when napari is closed.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= free() // 2:
        # zeros are not written before they are needed, so a large image costs no memory here
        return np.zeros(shape, dtype)
    import zarr

    folder = tempfile.mkdtemp(prefix="napari-sam2-labels-")
    chunks = (*[1] * (len(shape) - 2), *(min(_CHUNK, length) for length in shape[-2:]))
    labels = zarr.create_array(folder, shape=shape, chunks=chunks, dtype=dtype)
    weakref.finalize(labels, shutil.rmtree, folder, ignore_errors=True)
    show_info(
        f"The labels of all planes could take {size / 10**9:.0f} GB, more than half of the memory "
        f"that is free, so they are kept in {tempfile.gettempdir()} until napari is closed. To "
        f"keep them, {how_to_keep}, or crop the image."
    )
    return labels
