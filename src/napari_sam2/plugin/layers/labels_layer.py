"""Results into a Labels layer, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_sam2.plugin.coordinates import placement
from napari_sam2.plugin.layers.colors import label_colormap
from napari_sam2.plugin.layers.new_labels import new_labels
from napari_sam2.plugin.layers.own_layers import MARK
from napari_sam2.session.labels import MaskOverlay, plane_key, planes_meet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import LayerList
    from napari.layers import Image, Layer

    from napari_sam2.plugin.layers.write_queue import WriteQueue
    from napari_sam2.session.labels import Pixels
    from napari_sam2.session.values import FrameChange

LABELS_NAME = "SAM 2 labels"
_REDRAW_MS = 40
_HOW_TO_KEEP = "choose a Labels layer of your own on a zarr array (your session is saved as ever)"


def make_labels_layer(image: Image, shape: tuple[int, ...]) -> Labels:
    """Make an empty Labels layer that lies on an image.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    shape : tuple of int
        Its shape without the RGB axis.
    """
    return Labels(
        new_labels(shape, how_to_keep=_HOW_TO_KEEP),
        name=LABELS_NAME,
        colormap=label_colormap(),
        opacity=0.5,
        metadata={MARK: str(image.unique_id)},
        **placement(image),
    )


def insert_above(layers: LayerList, below: Iterable[Layer], layer: Layer) -> None:
    """Add a layer above others and below the prompts, which it would hide.

    The active layer stays the active one, so that no click goes elsewhere.
    """
    selected = layers.selection.active
    layers.insert(max(map(layers.index, below)) + 1, layer)
    layers.selection.active = selected


def is_possible_target(layer: Labels, shape: tuple[int, ...]) -> bool:
    """Whether results of an image of this shape fit into a Labels layer."""
    return not layer.multiscale and tuple(layer.data.shape) == tuple(shape)


def largest_label(layer: Labels) -> int:
    """Largest label that the layer's data type can hold."""
    return int(np.iinfo(layer.data.dtype).max)


class LabelsWriter:
    """Writes changes of frames into one Labels layer.

    Parameters
    ----------
    layer : napari.layers.Labels
        Where to write; of the image's shape.
    queue : WriteQueue
        Says when a plane is written, and what is seen and has to be drawn.
    protect : bool
        Whether only background is filled, or other labels in the layer are covered, too: see
        `MaskOverlay`. May be changed; what is written next follows it.
    """

    def __init__(self, layer: Labels, queue: WriteQueue, protect: bool = True) -> None:
        self.layer = layer
        self.shape = tuple(layer.data.shape)  # as it was chosen; its data may be replaced
        self.protect = protect
        self._queue = queue
        self._overlay = MaskOverlay()
        # A slice is drawn anew as a whole, so several writes within a moment share one drawing.
        self._redraw = QTimer()
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(_REDRAW_MS)
        self._redraw.timeout.connect(self._refresh)

    def write(self, change: FrameChange, painted: Pixels | None = None) -> None:
        """Replace what a frame showed before by what it shows after.

        Parameters
        ----------
        change : FrameChange
            The masks of one frame.
        painted : Pixels, optional
            What a person has painted there: see `MaskOverlay.write`.
        """
        # as it is now, whatever becomes of the layer until the plane's turn comes
        data, protect, known = self.layer.data, self.protect, self._overlay.note(change)
        plane = plane_key(change.stack, change.frame)

        def write() -> None:
            self._overlay.write(data, change, protect, painted, known)
            if self.layer.visible and planes_meet(plane, self._queue.view(self.layer)):
                self._draw_soon()

        self._queue.add(self.layer, plane, write)

    def close(self) -> None:
        """Stop drawing, as the layer is gone or another one is written to."""
        self._redraw.stop()

    def _draw_soon(self) -> None:
        if not self._redraw.isActive():
            self._redraw.start()

    def _refresh(self) -> None:
        if self._queue.is_volume and self._queue.waits_for(self.layer):
            self._redraw.start()  # the whole volume goes to the screen: once is enough
        else:
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)
