"""Which Labels layer the results of each image go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.plugin.coordinates import image_shape
from napari_sam2.plugin.layers.labels_layer import (
    insert_above,
    is_possible_target,
    make_labels_layer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image, Labels, Layer


class Targets:
    """The Labels layers with results, one for each image.

    Going back to an image finds its labels again.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    changed : Signal()
        Emitted after another layer was chosen or made, or one was let go.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._layers: dict[str, Labels] = {}
        self._largest_found = 0

    @property
    def largest_found(self) -> int:
        """Largest label that was in the layer chosen last; 0 where it is not in memory."""
        return self._largest_found

    def of(self, image_id: str) -> Labels | None:
        """Layer of an image; None where there is none yet."""
        return self._layers.get(image_id)

    def is_candidate(self, layer: Labels, image: Image) -> bool:
        """Whether results of an image could be written to a layer."""
        return is_possible_target(layer, image_shape(image))

    def choose(self, image: Image, layer: Labels | None) -> None:
        """Write the results of an image to another layer; None makes one when it is needed."""
        image_id = str(image.unique_id)
        if layer is self.of(image_id):
            return
        self._layers.pop(image_id, None)
        self._largest_found = 0
        if layer is not None:
            self._layers[image_id] = layer
            # Reading a whole file for this would hold up the window.
            if isinstance(layer.data, np.ndarray):
                self._largest_found = int(layer.data.max(initial=0))
        self.changed.emit()

    def make(self, image: Image, channels: Sequence[Image] = ()) -> Labels:
        """Layer of an image, made where there is none or the one chosen fits no longer.

        Parameters
        ----------
        image : napari.layers.Image
            The image.
        channels : sequence of napari.layers.Image
            Layers that are seen together with it: a new layer lies above them, too.
        """
        image_id, shape = str(image.unique_id), image_shape(image)
        layer = self.of(image_id)
        if layer is None or not is_possible_target(layer, shape):
            layer = self._layers[image_id] = make_labels_layer(image, shape)
            insert_above(self._viewer.layers, (image, *channels), layer)
            self.changed.emit()
        return layer

    def forget(self, image_id: str) -> None:
        """Write the results of an image to its layer no longer."""
        if self._layers.pop(image_id, None) is not None:
            self.changed.emit()

    def forget_layer(self, layer: Layer) -> bool:
        """Write to a layer no longer; gives whether results were written to it."""
        images = [image_id for image_id, target in self._layers.items() if target is layer]
        for image_id in images:
            self.forget(image_id)
        return bool(images)
