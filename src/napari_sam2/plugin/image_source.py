"""An image layer as the pixels that a model sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.session.engine import StackSource

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_sam2.session.values import StackKey


def stack_source(image: Image, stack: StackKey, earlier: StackSource | None) -> StackSource:
    """Describe the stack so that the model sees what the user sees.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    stack : StackKey
        Which planes of it.
    earlier : StackSource or None
        What was used before.

    Returns
    -------
    StackSource
        The pixels at full resolution, with the layer's contrast limits.
    """
    data = image.data[0] if image.multiscale else image.data
    limits = _rgb_limits(data.dtype) if image.rgb else _shown_limits(image)
    if image.auto_contrast and earlier is not None and earlier.data is data:
        # Auto-contrast moves the limits with every slice; the model needs one pair for all.
        limits = earlier.contrast_limits
    return StackSource(stack, data, bool(image.rgb), limits)


def _shown_limits(image: Image) -> tuple[float, float] | None:
    low, high = (float(value) for value in image.contrast_limits)
    return (low, high) if np.isfinite((low, high)).all() and low < high else None


def _rgb_limits(dtype: np.dtype) -> tuple[float, float]:
    # napari ignores the contrast limits of colours: whole numbers span their type, others 0 to 1.
    return (0.0, float(np.iinfo(dtype).max)) if np.issubdtype(dtype, np.integer) else (0.0, 1.0)
