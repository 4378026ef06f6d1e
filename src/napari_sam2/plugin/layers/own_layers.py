"""The plugin's own Points and Shapes layer.

Their features say which object a point or a shape belongs to and whether it is part of the
object; colour and marker show it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np
from napari.layers import Points, Shapes
from qtpy.QtCore import QTimer

from napari_sam2.plugin.coordinates import StackGeometry, placement, stack_geometry
from napari_sam2.plugin.layers.colors import negative_color, object_color
from napari_sam2.plugin.layers.prompt_features import SIGNS, is_object_id, next_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Image, Layer

_Kind = TypeVar("_Kind", bound="Layer")

POINTS_NAME = "SAM 2 points"
SHAPES_NAME = "SAM 2 shapes"
SYMBOLS = {"positive": "disc", "negative": "x"}
_RIGHT = 2  # napari's number of the button
MARK = "napari_sam2"  # in the metadata, with the image that a layer was made for


def make_points_layer(image: Image, geometry: StackGeometry) -> Points:
    """Make an empty Points layer that lies on an image."""
    layer = Points(
        ndim=image.ndim,
        name=POINTS_NAME,
        features=_no_features(),
        size=max(min(geometry.plane_shape) / 40, 2),
        border_color="black",
        border_width=0.05,
        metadata={MARK: str(image.unique_id)},
        **placement(image),
    )
    # From near, a marker must not cover the cell. No lower limit: napari draws its stand-in for
    # "no point on this plane", of size 0, as large as that.
    layer.canvas_size_limits = (0, 16)
    layer.mouse_drag_callbacks.append(_right_is_negative)
    use_object(layer, 1, True)
    return layer


def make_shapes_layer(image: Image, geometry: StackGeometry) -> Shapes:
    """Make an empty Shapes layer that lies on an image."""
    layer = Shapes(
        ndim=image.ndim,
        name=SHAPES_NAME,
        features=_no_features(),
        face_color="transparent",
        opacity=1,
        edge_width=max(min(geometry.plane_shape) / 200, 0.5),
        metadata={MARK: str(image.unique_id)},
        **placement(image),
    )
    use_object(layer, 1, True)
    return layer


def is_own(layer: _Kind | None) -> TypeGuard[_Kind]:
    """Whether a layer was made here, and not by the user."""
    return layer is not None and MARK in layer.metadata


def is_made_for(layer: Layer, image: Image) -> bool:
    """Whether a layer was made here for an image, and still has its axes."""
    return bool(layer.metadata.get(MARK) == str(image.unique_id)) and layer.ndim == image.ndim


def own_layer(viewer: napari.Viewer, name: str, image: Image, make: bool) -> Points | Shapes | None:
    """Find the layer in a viewer that was made here for an image.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        "points" or "shapes".
    image : napari.layers.Image
        The image.
    make : bool
        Whether it is made and added where there is none; else that is None.
    """
    kind, make_layer = _KINDS[name]
    ours = [layer for layer in viewer.layers if isinstance(layer, kind) and is_own(layer)]
    for layer in ours:
        if is_made_for(layer, image):
            return layer
    if not make:
        return None
    layer = make_layer(image, stack_geometry(viewer.dims, image))
    if ours:  # another image's
        layer.name += f" of {image.name}"
    viewer.add_layer(layer)
    return layer


def use_object(layer: Points | Shapes, object_id: int, positive: bool) -> None:
    """Make what is drawn next in a layer belong to an object.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes
        A layer made here, or one of the user's, which says it only where it has the features.
    object_id : int
        The object.
    positive : bool
        Whether the next point or scribble is part of the object.
    """
    sign = "positive" if positive else "negative"
    said = {"object": object_id, "sign": sign}
    if not is_own(layer):
        said = {name: value for name, value in said.items() if name in layer.features}
        if any(not (layer.feature_defaults[name] == value).all() for name, value in said.items()):
            layer.selected_data = set()
        for name, value in said.items():
            with suppress(ValueError, TypeError):  # a column of another type
                layer.feature_defaults = layer.feature_defaults.assign(**{name: value})
        return
    # napari changes whatever is selected together with the defaults, and a new point is selected.
    layer.selected_data = set()
    layer.feature_defaults = said
    if isinstance(layer, Points):
        layer.current_face_color = object_color(object_id)
        layer.current_symbol = SYMBOLS[sign]
    else:
        layer.current_edge_color = _edge_color(object_id, sign)


def name_objects(layer: Points | Shapes) -> bool:
    """Let a layer of the user's say which object is what, where that changes nothing in it.

    Gives whether it can say so.
    """
    if "object" not in layer.features and len(layer.data) == 0:
        layer.features = layer.features.assign(**_no_features())
    return "object" in layer.features


def restyle(layer: Points | Shapes) -> None:
    """Show objects and signs in a layer of our own, after an edited feature."""
    features = layer.features
    if len(features) == 0 or not {"object", "sign"} <= set(features):
        return
    if not all(map(is_object_id, features["object"])) or not features["sign"].isin(SIGNS).all():
        return
    objects = [int(value) for value in features["object"]]
    if isinstance(layer, Points):
        layer.face_color = [object_color(object_id) for object_id in objects]
        layer.symbol = [SYMBOLS[sign] for sign in features["sign"]]
    else:
        styles = zip(objects, features["sign"], strict=True)
        layer.edge_color = [_edge_color(object_id, sign) for object_id, sign in styles]


def _right_is_negative(layer: Points, event: Any) -> Iterator[None]:
    """Let a click with the right button add a negative point."""
    drawn_next = next_object(layer)
    if event.button != _RIGHT or layer.mode != "add" or drawn_next is None:
        return
    object_id, positive = drawn_next
    use_object(layer, object_id, False)
    yield
    while event.type == "mouse_move":
        yield
    # napari adds the point at the same release, before or after this
    QTimer.singleShot(0, lambda: use_object(layer, object_id, positive is not False))


_KINDS = {"points": (Points, make_points_layer), "shapes": (Shapes, make_shapes_layer)}


def _no_features() -> dict[str, np.ndarray]:
    return {"object": np.empty(0, dtype=int), "sign": np.empty(0, dtype=object)}


def _edge_color(object_id: int, sign: str) -> str:
    # A line has no marker that could show its sign.
    return negative_color(object_id) if sign == "negative" else object_color(object_id)
