"""Room for the labels of a layer, and what the user should know of it."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from napari.utils.notifications import show_info

from napari_sam2.inference.empty_labels import empty_labels


def new_labels(
    shape: tuple[int, ...],
    dtype: type[np.unsignedinteger[Any]] = np.uint16,
    how_to_keep: str = "save the layer",
) -> Any:
    """Make labels of 0, on disk where they are too large for the memory: then that is told.

    Parameters
    ----------
    shape : tuple of int
        Their shape; the last two axes are mostly those of planes.
    dtype : type
        Of the labels.
    how_to_keep : str
        What the user can do so that the labels outlive napari.
    """
    labels = empty_labels(shape, dtype)
    if not isinstance(labels, np.ndarray):
        size = labels.size * np.dtype(dtype).itemsize
        show_info(
            f"The labels of all planes could take {size / 10**9:.0f} GB, more than half of the "
            f"memory that is free, so they are kept in {tempfile.gettempdir()} until napari is "
            f"closed. To keep them, {how_to_keep}, or crop the image."
        )
    return labels
