"""Which further layers the model sees together with each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from psygnal import Signal

from napari_sam2.plugin.coordinates import equally_placed, image_shape

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

# after these another layer may fit, or be called otherwise
_EVENTS = {"inserted", "removed", "reordered", "renamed"}
_EVENTS |= {"data", "scale", "translate", "rotate", "shear", "affine", "units"}


class Channels:
    """Further channels of images: layers of the same shape at the same place.

    Going back to an image finds its channels again.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    changed : Signal()
        Emitted after channels were ticked or dropped, or after other layers may fit.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._ticked: dict[str, list[Image]] = {}
        viewer.layers.events.connect(self._on_event)

    def close(self) -> None:
        """Listen to nothing any longer."""
        self._viewer.layers.events.disconnect(self._on_event)

    def fitting(self, image: Image | None) -> list[Image]:
        """Layers that can be channels of an image, topmost first."""
        layers = reversed(self._viewer.layers)
        return [] if image is None else [layer for layer in layers if _fits(layer, image)]

    def of(self, image: Image | None) -> list[Image]:
        """Channels that the model sees together with an image, in the order of their ticks."""
        fitting = self.fitting(image)
        ticked = [] if image is None else self._ticked.get(str(image.unique_id), [])
        return [layer for layer in ticked if layer in fitting]

    def tick(self, image: Image, layer: Image, on: bool) -> None:
        """Let the model see a layer together with an image from the next run on, or not."""
        others = [each for each in self.of(image) if each is not layer]
        self._ticked[str(image.unique_id)] = [*others, layer] if on else others
        self.changed.emit()

    def drop_lost(self, image: Image) -> list[str]:
        """Forget channels that were deleted or fit no longer.

        Returns
        -------
        list of str
            What happened to each of them, and what to do.
        """
        ticked, kept = self._ticked.get(str(image.unique_id), []), self.of(image)
        lost = [layer for layer in ticked if layer not in kept]
        if lost:
            self._ticked[str(image.unique_id)] = kept
            self.changed.emit()
        return [
            f"The channel “{layer.name}” {self._fate(layer)}, so the model sees “{image.name}” "
            "without it. Tick a layer of the image's shape and place under channels to go on "
            "with it."
            for layer in lost
        ]

    def _fate(self, layer: Image) -> str:
        here = layer in self._viewer.layers
        return "no longer has the shape and place of the image" if here else "was deleted"

    def _on_event(self, event: Any) -> None:
        if event.type in _EVENTS:
            self.changed.emit()


def _fits(layer: Layer, image: Image) -> bool:
    return (
        isinstance(layer, Image)
        and layer is not image
        and not (layer.rgb or image.rgb)
        and image_shape(layer) == image_shape(image)
        and all(np.dtype(each.dtype).kind in "buif" for each in (layer, image))
        and equally_placed(layer, image)
    )
