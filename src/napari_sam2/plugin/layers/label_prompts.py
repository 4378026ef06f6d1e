"""A label of a Labels layer as a mask prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.plugin.coordinates import full_resolution

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_sam2.plugin.coordinates import StackGeometry


def read_label(layer: Layer | None, geometry: StackGeometry, frame: int) -> MaskPrompt:
    """Read where the label that is picked in a layer lies on one frame.

    Parameters
    ----------
    layer : napari.layers.Layer or None
        The layer that the user has selected.
    geometry : StackGeometry
        The stack of the frame.
    frame : int
        Index along the frame axis.

    Returns
    -------
    MaskPrompt
        The label's pixels.

    Raises
    ------
    ValueError
        When the layer is no Labels layer of the image's shape, or the label is not there.
    """
    if not isinstance(layer, Labels):
        raise ValueError(
            "No Labels layer is selected. Select one in the layer list, pick a label with its "
            "picker (key: L), and try again."
        )
    data = full_resolution(layer)
    if tuple(data.shape) != geometry.shape:
        raise ValueError(
            f"The layer “{layer.name}” has shape {tuple(data.shape)}, the image "
            f"{geometry.shape}. Select a Labels layer of the image's shape."
        )
    label = layer.selected_label
    if label == layer.colormap.background_value:
        raise ValueError(
            f"The label picked in the layer “{layer.name}” is the background. Pick another with "
            "its picker (key: L)."
        )
    mask = np.asarray(data[geometry.index(frame, (slice(None), slice(None)))]) == label
    if not mask.any():
        raise ValueError(
            f"Label {label} of the layer “{layer.name}” is not on this plane. Pick a label that "
            "is (key: L), or go to a plane that has it."
        )
    return MaskPrompt(mask)
