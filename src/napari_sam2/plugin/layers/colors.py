"""One colour for each object, the same for its prompts and its label."""

from __future__ import annotations

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap

# Well apart from each other and readable on a dark and on a bright image.
PALETTE = (
    "#4cc9f0",
    "#ffb703",
    "#f72585",
    "#80ed99",
    "#b388ff",
    "#ff7b54",
    "#2ec4b6",
    "#ffe66d",
    "#ff8fab",
    "#5e9bff",
    "#c0e218",
    "#e07be0",
)


# From doubtful to sure. Orange and blue differ for the colour-blind, too.
_CERTAINTY = ((0.4, (230, 97, 1)), (0.7, (224, 176, 92)), (0.95, (62, 150, 190)))


def object_color(object_id: int) -> str:
    """Colour of an object as "#rrggbb"; they repeat after the palette's length."""
    return PALETTE[(object_id - 1) % len(PALETTE)]


def certainty_color(score: float) -> str:
    """Colour of a score, 0 to 1, as "#rrggbb": from orange over sand to blue."""
    marks = [mark for mark, _ in _CERTAINTY]
    channels = zip(*(color for _, color in _CERTAINTY), strict=True)
    return "#" + "".join(f"{round(np.interp(score, marks, each)):02x}" for each in channels)


def negative_color(object_id: int) -> str:
    """Colour, as "#rrggbb", of a line that is no part of an object: the object's, darker."""
    channels = (int(object_color(object_id)[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{int(channel * 0.6):02x}" for channel in channels)


def label_colormap() -> CyclicLabelColormap:
    """Colormap of a Labels layer in which each label has its object's colour."""
    return CyclicLabelColormap(colors=["transparent", *PALETTE], name="SAM 2 objects")
