"""What identifies the images of layers: at once their shape, soon some of their pixels."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from psygnal import Signal

from napari_sam2.inference.errors import InputError, in_words
from napari_sam2.plugin.coordinates import full_resolution
from napari_sam2.session.identity import ImageIdentity, identify_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_sam2.plugin.job_runner import Jobs
    from napari_sam2.plugin.layers.workspace import Workspace


class Identities:
    """Knows what identifies each image that was in use, or seen together with one.

    Parameters
    ----------
    workspace : Workspace
        Has the images.
    jobs : Jobs
        Reads the pixels.

    Attributes
    ----------
    known : dict of str to ImageIdentity
        By what identifies an image in `StackKey`, or in `Channel`.
    found : Signal(str)
        Emitted with an image of which the pixels were read, or cannot be.
    replaced : Signal(str)
        Emitted with an image that got other pixels, before they are identified.
    """

    found = Signal(str)
    replaced = Signal(str)

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        self.known: dict[str, ImageIdentity] = {}
        self._workspace = workspace
        self._jobs = jobs
        self._seen: WeakSet[Image] = WeakSet()
        workspace.layers_changed.connect(self._look)
        workspace.channels.changed.connect(self._look)

    def close(self) -> None:
        """Listen to the images no longer."""
        for image in self._seen:
            image.events.data.disconnect(self._on_pixels)
            image.events.name.disconnect(self._on_name)

    def of(self, image: Image) -> Callable[[], ImageIdentity]:
        """What identifies an image, to be asked for in another thread, where it may be read."""
        outline, identify = _outline(image), _identify(image)
        known = self.known.get(str(image.unique_id), outline)
        if len(known.shape) == len(outline.shape):
            # what it is called, and where it lies, may have changed since
            known = replace(outline, shape=known.shape, sha256=known.sha256)

        def found() -> ImageIdentity:
            if known.sha256:
                return known
            try:
                return identify()
            except Exception:  # whatever reads the pixels
                return known

        return found

    def _look(self) -> None:
        image = self._workspace.image
        for each in () if image is None else (image, *self._workspace.channels.of(image)):
            if each not in self._seen:
                self._seen.add(each)
                each.events.data.connect(self._on_pixels)
                each.events.name.connect(self._on_name)
                self._find(each)

    def _on_name(self, event: Any) -> None:
        image_id = str(event.source.unique_id)
        self.known[image_id] = replace(self.known[image_id], name=event.source.name)

    def _on_pixels(self, event: Any) -> None:
        """See it as the image of the pixels that are there now.

        Of a smaller one masks may lie outside: it stays the one that it was.
        """
        image = event.source
        if not _is_smaller(image, self.known[str(image.unique_id)]):
            self.replaced.emit(str(image.unique_id))
            self._find(image)

    def _find(self, image: Image) -> None:
        image_id, pixels = str(image.unique_id), full_resolution(image)
        self.known[image_id] = outline = _outline(image)

        def take(identity: ImageIdentity) -> None:
            if full_resolution(image) is pixels:
                self.known[image_id] = replace(identity, name=image.name)
                self.found.emit(image_id)

        def fail(error: Exception) -> None:
            self._jobs.failed.emit(
                InputError(
                    f"“{image.name}” cannot be read as a whole ({in_words(error)}). Its session is "
                    "saved all the same, and is found again by the image's name and shape."
                )
            )
            take(outline)

        self._jobs.run(_identify(image), take, fail)


def named(image: ImageIdentity, axes: str) -> ImageIdentity:
    """The image, with what is known of its axes otherwise where they have no names."""
    return image if image.axes else replace(image, axes=axes)


def _outline(image: Image) -> ImageIdentity:
    """What identifies an image as far as it is known without its pixels."""
    data = full_resolution(image)
    axes = "".join(label.lower() for label in image.axis_labels)
    known = len(axes) == image.ndim == len(set(axes) & set("tczyx"))
    return ImageIdentity(
        image.name,
        tuple(int(length) for length in data.shape),
        str(np.dtype(data.dtype)),
        bool(image.rgb),
        sha256="",
        axes=axes if known else "",
        scale=tuple(map(float, image.scale)),
        units=tuple(map(str, image.units)),
        translation=tuple(map(float, image.translate)),
    )


def _identify(image: Image) -> Callable[[], ImageIdentity]:
    """What identifies an image, to be found in another thread."""
    outline, data = _outline(image), full_resolution(image)
    return lambda: replace(outline, sha256=identify_image(outline.name, data, outline.rgb).sha256)


def _is_smaller(image: Image, known: ImageIdentity) -> bool:
    """Whether an image of as many axes lacks something of what it was."""
    shape = full_resolution(image).shape
    return len(shape) == len(known.shape) and any(map(operator.lt, shape, known.shape))
