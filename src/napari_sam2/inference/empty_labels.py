"""Room for the labels of a whole image, in memory or on disk."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from napari_sam2.inference.label_files import label_chunks

if TYPE_CHECKING:
    from collections.abc import Callable


def empty_labels(
    shape: tuple[int, ...],
    dtype: type[np.unsignedinteger[Any]] = np.uint16,
    free: Callable[[], int] = lambda: psutil.virtual_memory().available,
) -> Any:
    """Make an array of 0 that can be written to.

    Parameters
    ----------
    shape : tuple of int
        Its shape; the last two axes are mostly those of planes.
    dtype : type
        Of the labels.
    free : callable
        Gives the free memory in bytes. What would take more than half of it is a zarr array in a
        temporary folder, which is deleted with the array, or else when the program ends.
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= free() // 2:
        # zeros are not written before they are needed, so a large image costs no memory here
        return np.zeros(shape, dtype)
    import zarr

    folder = tempfile.mkdtemp(prefix="napari-sam2-labels-")
    labels = zarr.create_array(folder, shape=shape, chunks=label_chunks(shape), dtype=dtype)
    weakref.finalize(labels, shutil.rmtree, folder, ignore_errors=True)
    return labels
