"""Images and their channels as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam2.inference.channels import Channel
from napari_sam2.session import strict
from napari_sam2.session.identity import ImageIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_image(image: ImageIdentity) -> dict[str, Any]:
    """What identifies an image, as JSON."""
    return {
        "name": image.name,
        "shape": list(image.shape),
        "dtype": image.dtype,
        "rgb": image.rgb,
        "sha256": image.sha256,
        "axes": image.axes,
        "scale": list(image.scale),
        "units": list(image.units),
        "translation": list(image.translation),
    }


def read_image(value: Any) -> ImageIdentity:
    """What identifies an image, of JSON; a FormatError says what is wrong."""
    names: tuple[str, ...] = ()
    if isinstance(value, dict) and "axes" in value:  # earlier files do not say where axes lie
        names = ("axes", "scale", "units", *(["translation"] if "translation" in value else []))
    found = strict.record(value, "name", "shape", "dtype", "rgb", "sha256", *names)
    image = ImageIdentity(
        strict.text(found["name"]),
        strict.listing(found["shape"], lambda n: strict.integer(n, 1)),
        strict.text(found["dtype"]),
        strict.flag(found["rgb"]),
        strict.text(found["sha256"]),
        strict.text(found.get("axes", "")),
        strict.listing(found.get("scale", []), strict.number),
        strict.listing(found.get("units", []), strict.text),
        strict.listing(found.get("translation", []), strict.number),
    )
    for each in (image.axes, image.scale, image.units, image.translation):
        if len(each) not in (0, len(image.shape) - image.rgb):
            raise strict.FormatError("what is said of the axes does not fit the shape")
    return image


def write_channel(channel: Channel, images: Mapping[str, ImageIdentity]) -> dict[str, Any]:
    """A channel as JSON; the session's own image, which `images` lacks, is left out of it."""
    image = images.get(channel.image)
    return {
        "image": None if image is None else write_image(image),
        "contrast_limits": list(channel.contrast_limits),
        "gamma": channel.gamma,
        "colormap": [list(colour) for colour in channel.colormap],
    }


def read_channel(value: Any, own: str, images: dict[str, ImageIdentity]) -> Channel:
    """A channel of JSON; a FormatError says what is wrong.

    Parameters
    ----------
    value : Any
        The JSON.
    own : str
        What identifies the session's own image.
    images : dict of str to ImageIdentity
        Takes the channel's image, where that is another one.
    """
    found = strict.record(value, "image", "contrast_limits", "gamma", "colormap")
    image = strict.optional(found["image"], read_image)
    if image is not None:
        images[image.key] = image
    colormap = strict.listing(found["colormap"], _read_colour)
    if not colormap:
        raise strict.FormatError("a colormap should have a colour")
    return Channel(
        own if image is None else image.key,
        strict.pair(found["contrast_limits"], strict.number),
        strict.number(found["gamma"]),
        colormap,
    )


def _read_colour(value: Any) -> tuple[float, float, float]:
    red, green, blue = strict.listing(value, strict.number, 3)
    return red, green, blue
