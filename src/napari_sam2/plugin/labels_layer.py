"""Results into a Labels layer, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import labels_from_crops
from napari_sam2.plugin.colors import label_colormap
from napari_sam2.plugin.coordinates import StackGeometry, is_shown, placement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import Dims
    from napari.layers import Image

    from napari_sam2.session.session import FrameChange, ObjectMask

LABELS_NAME = "SAM 2 labels"
_REDRAW_MS = 40


def make_labels_layer(image: Image, shape: tuple[int, ...]) -> Labels:
    """Make an empty Labels layer that lies on an image.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    shape : tuple of int
        Its shape without the RGB axis.
    """
    # zeros are not written before they are needed, so a large image costs no memory here.
    return Labels(
        np.zeros(shape, dtype=np.uint16),
        name=LABELS_NAME,
        colormap=label_colormap(),
        opacity=0.5,
        **placement(image),
    )


def is_possible_target(layer: Labels, shape: tuple[int, ...]) -> bool:
    """Whether results of an image of this shape fit into a Labels layer."""
    return not layer.multiscale and tuple(layer.data.shape) == tuple(shape)


def largest_label(layer: Labels) -> int:
    """Largest label that the layer's data type can hold."""
    return int(np.iinfo(layer.data.dtype).max)


class LabelsWriter:
    """Writes changes of frames into one Labels layer.

    Only background and pixels that the same objects filled before are overwritten: what else
    lies in the layer stays.

    Parameters
    ----------
    layer : napari.layers.Labels
        Where to write; of the image's shape.
    dims : napari.components.Dims
        The viewer's axes, to redraw only what is seen.
    """

    def __init__(self, layer: Labels, dims: Dims) -> None:
        self.layer = layer
        self._dims = dims
        # A slice is drawn anew as a whole, so several writes within a moment share one drawing.
        self._redraw = QTimer()
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(_REDRAW_MS)
        self._redraw.timeout.connect(self._refresh)

    def write(self, change: FrameChange, geometry: StackGeometry) -> None:
        """Replace what a frame showed before by what it shows after.

        Parameters
        ----------
        change : FrameChange
            The masks of one frame.
        geometry : StackGeometry
            Where the frame lies in the layer.
        """
        region = _bounding_region((*change.before.values(), *change.after.values()))
        if region is None:
            return
        index = geometry.index(change.frame, region)
        block = np.array(self.layer.data[index])
        _erase(block, change.before, region)
        _fill(block, change.after, region)
        self.layer.data[index] = block
        seen = self.layer.visible and is_shown(self._dims, self.layer, geometry, change.frame)
        if seen and not self._redraw.isActive():
            self._redraw.start()

    def close(self) -> None:
        """Stop drawing, as the layer is gone or another one is written to."""
        self._redraw.stop()

    def _refresh(self) -> None:
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)


def _bounding_region(masks: tuple[ObjectMask, ...]) -> tuple[slice, slice] | None:
    parts = [mask.crop.slices for mask in masks if mask.crop.logits.size]
    if not parts:
        return None
    rows, columns = zip(*parts, strict=True)
    return _hull(rows), _hull(columns)


def _hull(parts: tuple[slice, ...]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def _erase(
    block: np.ndarray[Any, Any],
    masks: Mapping[int, ObjectMask],
    region: tuple[slice, slice],
) -> None:
    for object_id, mask in masks.items():
        crop = _within(mask.crop, region)
        part = block[crop.slices]
        part[(crop.logits > 0) & (part == object_id)] = 0


def _fill(
    block: np.ndarray[Any, Any],
    masks: Mapping[int, ObjectMask],
    region: tuple[slice, slice],
) -> None:
    crops = [_within(mask.crop, region) for mask in masks.values()]
    found = labels_from_crops(crops, list(masks), (block.shape[0], block.shape[1]))
    free = (block == 0) & (found > 0)
    block[free] = found[free]


def _within(crop: MaskCrop, region: tuple[slice, slice]) -> MaskCrop:
    if crop.logits.size == 0:
        return MaskCrop(crop.logits, (0, 0))
    rows, columns = region
    return MaskCrop(crop.logits, (crop.origin[0] - rows.start, crop.origin[1] - columns.start))
