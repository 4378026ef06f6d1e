"""A picture of a segmented stack: its projection and some of its planes, outlined in colour."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_TILE = 300  # width of one plane in the picture, in its pixels
_GAP = 12
_HEADER = 56
_BACKGROUND = (16, 18, 24)
_TEXT = (236, 238, 242)
_COLUMNS, _ROWS = 3, 2


def montage(
    image: NDArray[np.integer],
    labels: NDArray[np.unsignedinteger],
    clicks: dict[int, tuple[int, int, int]],
    title: str,
) -> Image.Image:
    """Draw the maximum projection on the left and six planes on the right.

    Parameters
    ----------
    image : array of integers, shape (Z, Y, X)
        Shown between its 1 and 99.8 percentiles.
    labels : array of unsigned int, shape (Z, Y, X)
        0 is background.
    clicks : dict of int to tuple of int
        (z, y, x) of the click of each label; drawn on its plane and on the projection.
    title : str
        One line over the picture.

    Returns
    -------
    PIL.Image.Image
        In RGB.
    """
    height = round(_TILE * image.shape[1] / image.shape[2])
    large = (_ROWS * height + _GAP) / height  # as high as the planes beside it
    size = (round(_TILE * large), _ROWS * height + _GAP)
    width = size[0] + _COLUMNS * (_TILE + _GAP) + 2 * _GAP
    sheet = Image.new("RGB", (width, _HEADER + size[1] + _GAP), _BACKGROUND)
    ImageDraw.Draw(sheet).text((_GAP, _HEADER // 2), title, _TEXT, _font(24), anchor="lm")
    limits = (float(np.percentile(image, 1)), float(np.percentile(image, 99.8)))
    shown = np.unique(labels[labels > 0])
    masks = ((int(label), (labels == label).any(0)) for label in shown)
    projection = _tile(image.max(0), masks, limits, size)
    _caption(projection, "maximum projection, with the clicks")
    _mark(projection, [(y, x) for _, y, x in clicks.values()], image.shape[1:])
    sheet.paste(projection, (_GAP, _HEADER))
    planes = np.linspace(0, len(image) - 1, _COLUMNS * _ROWS + 2).round().astype(int)[1:-1]
    for place, z in enumerate(planes):
        masks = ((int(label), labels[z] == label) for label in np.unique(labels[z][labels[z] > 0]))
        tile = _tile(image[z], masks, limits, (_TILE, height))
        _caption(tile, f"z = {z}")
        _mark(tile, [(y, x) for at, y, x in clicks.values() if at == z], image.shape[1:])
        row, column = divmod(place, _COLUMNS)
        at = (size[0] + 2 * _GAP + column * (_TILE + _GAP), _HEADER + row * (height + _GAP))
        sheet.paste(tile, at)
    return sheet


def _tile(
    plane: NDArray[np.integer],
    masks: Iterable[tuple[int, NDArray[np.bool_]]],
    limits: tuple[float, float],
    size: tuple[int, int],
) -> Image.Image:
    """One plane in grey with outlined masks, at ``size`` (width, height)."""
    low, high = limits
    light = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1) ** 0.8
    grey = Image.fromarray((255 * light).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.repeat(np.asarray(grey, np.float32)[..., None], 3, axis=2)
    for label, mask in masks:
        soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)
        inside = np.asarray(soft) > 127
        colour = np.array(_colour(label))
        pixels[inside] = 0.8 * pixels[inside] + 0.2 * colour
        pixels[find_boundaries(inside, mode="thick")] = colour
    return Image.fromarray(pixels.astype(np.uint8))


def _caption(tile: Image.Image, text: str) -> None:
    draw = ImageDraw.Draw(tile)
    draw.text((8, 6), text, _TEXT, _font(15), stroke_width=2, stroke_fill=_BACKGROUND)


def _mark(tile: Image.Image, points_yx: list[tuple[int, int]], shape: tuple[int, ...]) -> None:
    draw = ImageDraw.Draw(tile)
    for row, column in points_yx:
        y, x = (row + 0.5) * tile.height / shape[0], (column + 0.5) * tile.width / shape[1]
        draw.circle((x, y), 4, fill=_TEXT, outline=_BACKGROUND)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(label: int) -> tuple[float, float, float]:
    # steps of the golden ratio keep the hues of neighbouring labels apart
    red, green, blue = hsv_to_rgb(label * 0.618034 % 1.0, 0.75, 1.0)
    return 255 * red, 255 * green, 255 * blue
