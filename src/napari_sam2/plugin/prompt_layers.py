"""Points and Shapes layers as prompts.

The plugin makes two layers of its own, whose features say which object a point or a box belongs
to and, for points, whether it is part of the object. Layers of the user's own are read in the
same way, never changed, and may lack these features.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from napari.layers import Points, Shapes

from napari_sam2.inference.prompts import BoxPrompt, PointPrompt, check_prompts
from napari_sam2.plugin.colors import object_color
from napari_sam2.plugin.coordinates import (
    PlanePosition,
    StackGeometry,
    placement,
    to_image,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Image

    from napari_sam2.inference.prompts import Prompt

POINTS_NAME = "SAM 2 points"
BOXES_NAME = "SAM 2 boxes"
SYMBOLS = {"positive": "disc", "negative": "x"}
_MARK = "napari_sam2"


@dataclass(frozen=True)
class PromptReading:
    """What prompt layers say about one stack.

    Parameters
    ----------
    prompts : mapping of (int, int) to tuple of Prompt
        Prompts that can be used, by (object, frame).
    problems : tuple of str
        What cannot be used, and what to do about it.
    """

    prompts: Mapping[tuple[int, int], tuple[Prompt, ...]]
    problems: tuple[str, ...]


def make_points_layer(image: Image, geometry: StackGeometry) -> Points:
    """Make an empty Points layer that lies on an image."""
    layer = Points(
        ndim=image.ndim,
        name=POINTS_NAME,
        features={"object": np.empty(0, dtype=int), "sign": np.empty(0, dtype=object)},
        size=max(min(geometry.plane_shape) / 40, 2),
        border_color="black",
        border_width=0.05,
        metadata={_MARK: "points"},
        **placement(image),
    )
    # From near, a marker must not cover the cell. No lower limit: napari draws its stand-in for
    # "no point on this plane", of size 0, as large as that.
    layer.canvas_size_limits = (0, 16)
    use_object(layer, 1, True)
    return layer


def make_boxes_layer(image: Image, geometry: StackGeometry) -> Shapes:
    """Make an empty Shapes layer that lies on an image."""
    layer = Shapes(
        ndim=image.ndim,
        name=BOXES_NAME,
        features={"object": np.empty(0, dtype=int)},
        face_color="transparent",
        edge_width=max(min(geometry.plane_shape) / 200, 0.5),
        metadata={_MARK: "boxes"},
        **placement(image),
    )
    use_object(layer, 1, True)
    return layer


def is_own(layer: Points | Shapes | None) -> TypeGuard[Points | Shapes]:
    """Whether a layer was made here, and not by the user."""
    return layer is not None and _MARK in layer.metadata


def use_object(layer: Points | Shapes, object_id: int, positive: bool) -> None:
    """Make what is drawn next in a layer of our own belong to an object.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes
        A layer made here.
    object_id : int
        The object.
    positive : bool
        Whether the next point is part of the object; boxes always are.
    """
    # napari changes whatever is selected together with the defaults, and a new point is selected.
    layer.selected_data = set()
    if isinstance(layer, Points):
        sign = "positive" if positive else "negative"
        layer.feature_defaults = {"object": object_id, "sign": sign}
        layer.current_face_color = object_color(object_id)
        layer.current_symbol = SYMBOLS[sign]
    else:
        layer.feature_defaults = {"object": object_id}
        layer.current_edge_color = object_color(object_id)


def next_object(layer: Points | Shapes) -> tuple[int, bool | None] | None:
    """Read what the next point or box in a layer will be.

    Returns
    -------
    tuple of int and bool or None, or None
        The object and, for points, whether positive; None where the defaults do not say it.
    """
    defaults = layer.feature_defaults
    if "object" not in defaults or not _is_object_id(defaults["object"].iloc[0]):
        return None
    sign = str(defaults["sign"].iloc[0]) != "negative" if "sign" in defaults else None
    return int(defaults["object"].iloc[0]), sign


def largest_object(layer: Points | Shapes) -> int:
    """Largest object that a layer names; 0 where it names none."""
    named = layer.features["object"] if "object" in layer.features else ()
    return max((int(value) for value in named if _is_object_id(value)), default=0)


def restyle_points(layer: Points) -> None:
    """Colour points of our own by object and shape them by sign, after an edited feature."""
    features = layer.features
    if "object" in features and len(features) and all(map(_is_object_id, features["object"])):
        layer.face_color = [object_color(int(value)) for value in features["object"]]
    if "sign" in features and len(features) and features["sign"].isin(SYMBOLS).all():
        layer.symbol = [SYMBOLS[value] for value in features["sign"]]


def read_prompts(
    points: Points | None, boxes: Shapes | None, image: Image, geometry: StackGeometry
) -> PromptReading:
    """Read prompts, leaving out what cannot be used and saying so.

    Parameters
    ----------
    points : napari.layers.Points or None
        Feature "object" (a number from 1; by default 1) and "sign" ("positive" or "negative";
        by default positive).
    boxes : napari.layers.Shapes or None
        Rectangles, with the feature "object".
    image : napari.layers.Image
        The image that they lie on, through the world.
    geometry : StackGeometry
        The stack; prompts for other stacks of the image are left out silently.

    Returns
    -------
    PromptReading
        Prompts by (object, frame), boxes first.
    """
    found: dict[tuple[int, int], list[Prompt]] = defaultdict(list)
    problems: list[str] = []
    for layer, read in ((boxes, _read_boxes), (points, _read_points)):
        if layer is None or len(layer.data) == 0:
            continue
        try:
            read(layer, image, geometry, found, problems)
        except ValueError as error:
            problems.append(str(error))
    prompts: dict[tuple[int, int], tuple[Prompt, ...]] = {}
    for (object_id, frame), group in found.items():
        try:
            prompts[object_id, frame] = check_prompts(group, geometry.plane_shape)
        except ValueError as error:
            problems.append(f"Object {object_id}, plane {frame}: {error}")
    # dict.fromkeys: each problem once, in order.
    return PromptReading(prompts, tuple(dict.fromkeys(problems)))


def _read_points(
    layer: Points,
    image: Image,
    geometry: StackGeometry,
    found: dict[tuple[int, int], list[Prompt]],
    problems: list[str],
) -> None:
    objects = _object_ids(layer, len(layer.data))
    positives = _signs(layer)
    positions = to_image(layer.data, layer, image)
    for object_id, positive, position in zip(objects, positives, positions, strict=True):
        place = geometry.locate(position)
        if place is None:
            continue
        if not geometry.contains(place):
            problems.append(_outside("point", layer, place, geometry))
        else:
            found[object_id, place.frame].append(PointPrompt((place.row, place.column), positive))


def _read_boxes(
    layer: Shapes,
    image: Image,
    geometry: StackGeometry,
    found: dict[tuple[int, int], list[Prompt]],
    problems: list[str],
) -> None:
    objects = _object_ids(layer, len(layer.data))
    for object_id, vertices, kind in zip(objects, layer.data, layer.shape_type, strict=True):
        places = [geometry.locate(vertex) for vertex in to_image(vertices, layer, image)]
        inside = [place for place in places if place is not None]
        if not inside:
            continue
        if kind != "rectangle":
            problems.append(
                f"The layer “{layer.name}” has a shape of the kind “{kind}”. Only rectangles are "
                "read as prompts for now: draw one instead, or click points."
            )
        elif len(inside) < len(places) or len({place.frame for place in inside}) > 1:
            problems.append(
                f"A rectangle in the layer “{layer.name}” lies across several planes. "
                "Draw it on one plane, seen as it is now."
            )
        elif not 0 <= inside[0].frame < geometry.frame_count:
            problems.append(_outside("rectangle", layer, inside[0], geometry))
        else:
            corners = np.array([(place.row, place.column) for place in inside])
            low, high = corners.min(axis=0), corners.max(axis=0)
            found[object_id, inside[0].frame].append(
                BoxPrompt((float(low[0]), float(low[1]), float(high[0]), float(high[1])))
            )


def _object_ids(layer: Points | Shapes, count: int) -> Sequence[int]:
    if "object" not in layer.features:
        return [1] * count
    objects = []
    for value in layer.features["object"]:
        if not _is_missing(value) and not _is_object_id(value):
            raise ValueError(
                f"The layer “{layer.name}” has {value!r} in its feature “object”. "
                "Objects are whole numbers from 1."
            )
        objects.append(1 if _is_missing(value) else int(value))
    return objects


def _signs(layer: Points) -> Sequence[bool]:
    if "sign" not in layer.features:
        return [True] * len(layer.data)
    signs = []
    for value in layer.features["sign"]:
        if not _is_missing(value) and value not in SYMBOLS:
            raise ValueError(
                f"The layer “{layer.name}” has {value!r} in its feature “sign”. "
                "It must be “positive” or “negative”."
            )
        signs.append(value != "negative")
    return signs


def _is_object_id(value: Any) -> bool:
    # Tables of features turn whole numbers into floats and texts.
    try:
        return int(value) == float(value) >= 1
    except (TypeError, ValueError, OverflowError):
        return False


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _outside(
    kind: str, layer: Points | Shapes, place: PlanePosition, geometry: StackGeometry
) -> str:
    if not 0 <= place.frame < geometry.frame_count:
        where = f"on plane {place.frame}, but the stack has planes 0 to {geometry.frame_count - 1}"
    else:
        height, width = geometry.plane_shape
        where = (
            f"at row {place.row:.0f}, column {place.column:.0f}, outside the plane of "
            f"{height} x {width} pixels"
        )
    return (
        f"A {kind} in the layer “{layer.name}” lies {where}. It is left out: move it into the "
        "image, or delete it."
    )
