"""Finds the images of a session among files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam2.cli.errors import InputError
from napari_sam2.inference.image_files import open_image, split_channels
from napari_sam2.session.identity import identify_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.session.identity import ImageIdentity
    from napari_sam2.session.saved import SavedSession


@dataclass(eq=False)
class _Found:
    """An image of a file, and whether it is used."""

    path: Path
    image: OpenImage
    identity: ImageIdentity
    used: bool = False


def find_images(saved: SavedSession, paths: Sequence[Path]) -> tuple[OpenImage, dict[str, Any]]:
    """Open the images that a session was made with.

    Parameters
    ----------
    saved : SavedSession
        The session.
    paths : sequence of Path
        One or more files, in any order. An image may be one of a file's channels.

    Returns
    -------
    OpenImage
        The session's own image.
    dict of str to array-like
        The further images that it saw as channels, by what identifies them in its log.

    Raises
    ------
    InputError
        When an image is missing, another one than that of the session, or too much.
    """
    found = [
        _Found(path, image, identify_image(path.name, image.data, image.rgb))
        for path in paths
        for whole in [open_image(path)]
        for image in (whole, *split_channels(whole))
    ]
    own = _search(saved.image, found)
    if own is None:
        differences = saved.image.differences(found[0].identity)
        raise InputError(
            f"{paths[0]} is not the image of the session, “{saved.image.name}”: "
            f"{'; '.join(differences)}. Give that image."
        )
    channels = {}
    for key, wanted in saved.channels.items():
        channel = _search(wanted, found)
        if channel is None:
            unused = {each.path: each.identity for each in reversed(found) if not each.used}
            told = [f"{path}: {wanted.differences(unused[path])[0]}" for path in unused]
            raise InputError(
                f"The session needs its channel “{wanted.name}”, too, of shape {wanted.shape} and "
                f"type {wanted.dtype}. Give it after the image{_aside(told)}."
            )
        channels[key] = channel.image.data
    spare = set(paths) - {each.path for each in found if each.used}
    if spare:
        raise InputError(f"{min(spare)} is no image of the session. Leave it out.")
    return own.image, channels


def _search(wanted: ImageIdentity, found: Sequence[_Found]) -> _Found | None:
    same = [each for each in found if not wanted.differences(each.identity)]
    if not same:
        return None
    # where the pixels of a channel are not known, rather an image that is no other one's
    chosen = min(same, key=lambda each: each.used)
    chosen.used = True
    return chosen


def _aside(told: Sequence[str]) -> str:
    return f" ({'; '.join(told)})" if told else ""
