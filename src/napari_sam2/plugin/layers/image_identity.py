"""What identifies the image of a layer."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from napari_sam2.plugin.coordinates import full_resolution
from napari_sam2.session.identity import identify_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_sam2.session.identity import ImageIdentity


def identify_layer(image: Image) -> Callable[[], ImageIdentity]:
    """What identifies an image, to be found in another thread."""
    name, rgb, data = image.name, bool(image.rgb), full_resolution(image)
    axes = "".join(label.lower() for label in image.axis_labels)
    known = len(axes) == image.ndim == len(set(axes) & set("tczyx"))
    placed: _Placed = {
        "axes": axes if known else "",
        "scale": tuple(map(float, image.scale)),
        "units": tuple(map(str, image.units)),
        "translation": tuple(map(float, image.translate)),
    }
    return lambda: replace(identify_image(name, data, rgb), **placed)


def is_smaller(image: Image, known: ImageIdentity) -> bool:
    """Whether an image lacks something of what it was."""
    shape = full_resolution(image).shape
    return len(shape) != len(known.shape) or any(map(operator.lt, shape, known.shape))


class _Placed(TypedDict):
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    translation: tuple[float, ...]
