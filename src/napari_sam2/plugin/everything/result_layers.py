"""The layers of the dock *Segment all*: one for single planes, others for whole stacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Tracks

from napari_sam2.plugin.coordinates import placement
from napari_sam2.plugin.layers.labels_layer import insert_above
from napari_sam2.plugin.layers.new_labels import new_labels

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.stack_segmenter import StackObjects
    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.session.values import StackKey

LABELS_NAME = "SAM 2 everything"
STACK_NAME = "SAM 2 whole stack"
TRACKS_NAME = "SAM 2 tracks"
_MOST_AXES = 4  # of napari's Tracks layers

# Marks in the metadata of a layer, as its name is the user's: its image, and its stacks.
_IMAGE, _STACKS = "SAM 2 everything of", "SAM 2 stacks"


def plane_layer(layers: LayerList, image: Image, shape: tuple[int, ...]) -> Labels:
    """The layer for single planes of an image, which is added where there is none."""
    layer = own_plane_layer(layers, image)
    if layer is None:
        # a stack, or a large plane, may hold more objects than uint16 has numbers
        layer = _labels(image, new_labels(shape, np.uint32), LABELS_NAME)
        insert_above(layers, (image,), layer)
    return layer


def own_plane_layer(layers: LayerList, image: Image) -> Labels | None:
    """The layer for single planes of an image, where there is one."""
    for layer in layers:
        if _is_of(layer, image) and _STACKS not in layer.metadata:
            return layer
    return None


def stack_layer(layers: LayerList, image: Image, geometry: StackGeometry) -> Labels:
    """A layer for a stack, in which nothing is lost; `add_stack_layer` adds it.

    That is the one with other times of a 3D+t image, or else a new one.
    """
    for layer in layers:
        if _is_of(layer, image) and _has_room(layer, geometry):
            return layer
    # zeros are not written before they are needed, so a large image costs no memory here
    return _labels(image, np.zeros(geometry.shape, np.uint32), STACK_NAME)


def add_stack_layer(layers: LayerList, layer: Labels, image: Image, stack: StackKey) -> None:
    """Add the layer of a stack, unless it is there, and note that the stack is in it."""
    layer.metadata[_STACKS] = (*layer.metadata.get(_STACKS, ()), stack)
    if layer not in layers:
        insert_above(layers, (image, *(one for one in layers if _is_of(one, image))), layer)
    show_alone(layers, layer)


def stack_view(labels: NDArray[np.uint32], stack: StackKey) -> NDArray[np.uint32]:
    """The part (T, Y, X) of an image's labels that belongs to a stack; not a copy."""
    fixed = dict(stack.fixed)
    assert stack.frame_axis is not None
    left = [axis for axis in range(labels.ndim) if axis not in fixed]
    part = labels[tuple(fixed.get(axis, slice(None)) for axis in range(labels.ndim))]
    return np.moveaxis(part, left.index(stack.frame_axis), 0)


def show_alone(layers: LayerList, shown: Labels) -> None:
    """Hide the other labels that this dock made of an image: their colours would mix."""
    image = shown.metadata[_IMAGE]
    for layer in layers:
        if isinstance(layer, Labels) and layer.metadata.get(_IMAGE) == image:
            layer.visible = layer is shown


def tracks_layer(objects: StackObjects, image: Image, stack: StackKey) -> Tracks | None:
    """The tracks of a time-lapse as a layer of their own.

    Parameters
    ----------
    objects : StackObjects
        What was found.
    image : napari.layers.Image
        The image.
    stack : StackKey
        Which planes of it.

    Returns
    -------
    napari.layers.Tracks or None
        None without tracks, and where napari cannot show them: time is the first axis of such a
        layer, and there are four at most. Axes before time are left out.
    """
    first = stack.frame_axis
    assert first is not None
    if first > stack.plane_axes[0] or image.ndim - first > _MOST_AXES or not len(objects.tracks):
        return None
    numbers, frames, rows, columns = objects.tracks.T
    along: dict[int, Any] = {
        **{axis: np.full(len(numbers), index) for axis, index in stack.fixed},
        **dict(zip((first, *stack.plane_axes), (frames, rows, columns), strict=True)),
    }
    return Tracks(
        np.column_stack([numbers, *(along[axis] for axis in range(first, image.ndim))]),
        graph=objects.graph,
        name=TRACKS_NAME,
        **placement(image, first),
    )


def _labels(image: Image, data: Any, name: str) -> Labels:
    return Labels(
        data,
        name=name,
        opacity=0.6,
        metadata={_IMAGE: str(image.unique_id)},
        **placement(image),
    )


def _is_of(layer: Any, image: Image) -> bool:
    return isinstance(layer, Labels) and layer.metadata.get(_IMAGE) == str(image.unique_id)


def _has_room(layer: Labels, geometry: StackGeometry) -> bool:
    """Whether a layer is as we made it, and all in it lies at other times than a stack."""
    stacks, stack = layer.metadata.get(_STACKS, ()), geometry.key
    return (
        bool(stacks)
        and isinstance(layer.data, np.ndarray)
        and (layer.data.shape, layer.data.dtype) == (geometry.shape, np.uint32)
        and all(other != stack == replace(other, fixed=stack.fixed) for other in stacks)
    )
