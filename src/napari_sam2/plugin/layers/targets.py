"""Which Labels layer the results of each image go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from psygnal import Signal

from napari_sam2.plugin.coordinates import image_shape
from napari_sam2.plugin.layers.labels_layer import (
    insert_above,
    is_possible_target,
    make_labels_layer,
)
from napari_sam2.plugin.layers.own_layers import is_made_for, is_own

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Image, Layer


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
        # by layer, when it was made or first chosen: what comes later is ours
        self._largest: dict[str, int] = {}

    @property
    def largest_found(self) -> int:
        """Largest label that was in any of the layers."""
        return max(map(self.largest, self._layers.values()), default=0)

    def is_known(self, layer: Labels) -> bool:
        """Whether the largest label of a layer is known."""
        return str(layer.unique_id) in self._largest

    def largest(self, layer: Labels) -> int:
        """Largest label in a layer when it was chosen last, but for what was written to it."""
        return self._largest.get(str(layer.unique_id), 0)

    def every(self) -> dict[str, Labels]:
        """The layers by image."""
        return dict(self._layers)

    def of(self, image_id: str) -> Labels | None:
        """Layer of an image; None where there is none yet."""
        return self._layers.get(image_id)

    def is_candidate(self, layer: Layer, image: Image | None) -> bool:
        """Whether results of an image could be written to a layer."""
        labels = isinstance(layer, Labels) and image is not None
        return labels and is_possible_target(layer, image_shape(image))

    def choose(self, image: Image, layer: Labels | None, largest: int = 0) -> None:
        """Write the results of an image to another layer.

        Parameters
        ----------
        image : napari.layers.Image
            The image.
        layer : napari.layers.Labels or None
            The layer; None makes one when it is needed.
        largest : int
            Its largest label that is of no object of ours.
        """
        image_id = str(image.unique_id)
        if layer is self.of(image_id):
            return
        self._layers.pop(image_id, None)
        if layer is not None:
            self._layers[image_id] = layer
            self._largest[str(layer.unique_id)] = max(largest, self.largest(layer))
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
            labels = (each for each in self._viewer.layers if isinstance(each, Labels))
            if not all(is_made_for(each, image) for each in labels if is_own(each)):
                layer.name += f" of {image.name}"
            self._largest[str(layer.unique_id)] = 0
            insert_above(self._viewer.layers, (image, *channels), layer)
            self.changed.emit()
        return layer

    def take_up(self, image: Image) -> None:
        """Where an image has no layer, go on with the last one that was made for it here."""
        if self.of(str(image.unique_id)) is None:
            # new ones are added below the others
            labels = (layer for layer in self._viewer.layers if isinstance(layer, Labels))
            made = (layer for layer in labels if is_made_for(layer, image))
            self.choose(image, next(made, None))

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
