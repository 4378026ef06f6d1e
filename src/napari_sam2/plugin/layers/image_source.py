"""Image layers as the pixels that a model sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.channels import Channel, ChannelBlend
from napari_sam2.plugin.coordinates import full_resolution
from napari_sam2.session.stack_source import StackSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from napari.utils import Colormap

    from napari_sam2.session.values import StackKey

_STEPS = 1024  # of a colormap that is no evenly spaced list of colours; as many as napari draws


def stack_source(
    image: Image, stack: StackKey, earlier: StackSource | None, further: Sequence[Image] = ()
) -> StackSource:
    """Describe the stack so that the model sees what the user sees.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    stack : StackKey
        Which planes of it.
    earlier : StackSource or None
        What was used before.
    further : sequence of napari.layers.Image
        Layers that are seen together with it, all of them through their colormaps.

    Returns
    -------
    StackSource
        The pixels at full resolution, with the layers' contrast limits. Of one layer alone, its
        coarser levels, too.
    """
    name = f"“{image.name}”"
    if not further:
        data = full_resolution(image)
        coarser = tuple(image.data[1:]) if image.multiscale else ()
        limits = _limits(image, data, earlier)
        return StackSource(stack, data, bool(image.rgb), limits, name, coarser)
    layers = [image, *further]
    pixels = [full_resolution(layer) for layer in layers]
    channels = [
        Channel(
            str(layer.unique_id),
            _limits(layer, data, earlier) or (0.0, 1.0),  # there is nothing but NaN to see
            float(layer.gamma),
            colour_table(layer.colormap),
        )
        for layer, data in zip(layers, pixels, strict=True)
    ]
    return StackSource(stack, ChannelBlend(channels, pixels), True, (0.0, 1.0), name)


def colour_table(colormap: Colormap) -> tuple[tuple[float, float, float], ...]:
    """A colormap as evenly spaced colours, each red, green and blue of 0 to 1.

    Parameters
    ----------
    colormap : napari.utils.Colormap
        The colormap. Colours that let light through are darker by that, as layers add up.
    """
    colours = np.asarray(colormap.colors)
    is_list = (
        colormap.interpolation == "linear"
        and colormap.low_color is colormap.high_color is None
        and np.allclose(colormap.controls, np.linspace(0, 1, len(colours)))
    )
    if not is_list:
        colours = colormap.map(np.linspace(0, 1, _STEPS))
    table: list[list[float]] = (colours[:, :3] * colours[:, 3:]).astype(np.float32).tolist()
    return tuple((red, green, blue) for red, green, blue in table)


def _limits(image: Image, data: Any, earlier: StackSource | None) -> tuple[float, float] | None:
    if image.auto_contrast and earlier is not None:
        # Auto-contrast moves the limits with every slice; the model needs one pair for all.
        if isinstance(earlier.data, ChannelBlend):
            for seen, channel in zip(earlier.data.data, earlier.channels, strict=True):
                if seen is data:
                    return channel.contrast_limits
        elif earlier.data is data:
            return earlier.contrast_limits
    return _rgb_limits(data.dtype) if image.rgb else _shown_limits(image)


def _shown_limits(image: Image) -> tuple[float, float] | None:
    low, high = (float(value) for value in image.contrast_limits)
    return (low, high) if np.isfinite((low, high)).all() and low < high else None


def _rgb_limits(dtype: np.dtype) -> tuple[float, float]:
    # napari ignores the contrast limits of colours: whole numbers span their type, others 0 to 1.
    return (0.0, float(np.iinfo(dtype).max)) if np.issubdtype(dtype, np.integer) else (0.0, 1.0)
