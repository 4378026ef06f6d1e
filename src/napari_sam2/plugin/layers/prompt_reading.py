"""Points and Shapes layers as prompts.

Layers of the user's own are read in the same way as the plugin's, and may lack the features.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.prompts import (
    BoxPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
    check_prompts,
)
from napari_sam2.plugin.coordinates import PlanePosition, StackGeometry, to_image
from napari_sam2.plugin.layers.drawings import is_being_drawn
from napari_sam2.plugin.layers.prompt_features import object_ids, signs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Image, Points, Shapes

    from napari_sam2.inference.prompts import Prompt

_STROKES = ("path", "line")
_ELLIPSE_CORNERS = 64  # of the polygon that stands for an ellipse; off by 0.1 % of its radius


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


def read_prompts(
    points: Points | None, shapes: Shapes | None, image: Image, geometry: StackGeometry
) -> PromptReading:
    """Read prompts, leaving out what cannot be used and saying so.

    Parameters
    ----------
    points : napari.layers.Points or None
        Feature "object" (a number from 1; by default 1) and "sign" ("positive" or "negative";
        by default positive).
    shapes : napari.layers.Shapes or None
        Rectangles are boxes; polygons and ellipses outlines; paths and lines scribbles. Features
        as for points; a scribble alone can be negative.
    image : napari.layers.Image
        The image that they lie on, through the world.
    geometry : StackGeometry
        The stack; prompts for other stacks of the image are left out silently.

    Returns
    -------
    PromptReading
        Prompts by (object, frame), shapes first.
    """
    found: dict[tuple[int, int], list[Prompt]] = defaultdict(list)
    problems: list[str] = []
    for layer, read in ((shapes, _read_shapes), (points, _read_points)):
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
        except ValueError as error:  # each was checked by itself, so there are several boxes
            problems.append(f"Object {object_id}, plane {frame}: {error} The first one is used.")
            first = next(id(each) for each in group if isinstance(each, BoxPrompt))
            further = {id(each) for each in group if isinstance(each, BoxPrompt)} - {first}
            prompts[object_id, frame] = tuple(each for each in group if id(each) not in further)
    # dict.fromkeys: each problem once, in order.
    return PromptReading(prompts, tuple(dict.fromkeys(problems)))


def _read_points(
    layer: Points,
    image: Image,
    geometry: StackGeometry,
    found: dict[tuple[int, int], list[Prompt]],
    problems: list[str],
) -> None:
    positions = to_image(layer.data, layer, image)
    if not np.isfinite(positions).all():
        problems.append(
            f"A point in the layer “{layer.name}” is nowhere: it has a coordinate that is not a "
            "number. It is left out: delete it."
        )
    for object_id, positive, position in zip(
        object_ids(layer), signs(layer), positions, strict=True
    ):
        place = geometry.locate(position)
        if place is None:
            continue
        if not geometry.contains(place):
            problems.append(_outside("point", layer, place, geometry))
        else:
            found[object_id, place.frame].append(PointPrompt((place.row, place.column), positive))


def _read_shapes(
    layer: Shapes,
    image: Image,
    geometry: StackGeometry,
    found: dict[tuple[int, int], list[Prompt]],
    problems: list[str],
) -> None:
    # the last is not complete while the mouse draws it; of one that is taken away at that time
    # napari tells before its features are
    count = len(layer.data) - is_being_drawn(layer)
    for object_id, positive, vertices, kind in zip(
        object_ids(layer)[:count],
        signs(layer)[:count],
        layer.data[:count],
        layer.shape_type[:count],
        strict=True,
    ):
        places = [geometry.locate(vertex) for vertex in to_image(vertices, layer, image)]
        inside = [place for place in places if place is not None]
        if not inside:
            continue
        frame = inside[0].frame
        if len(inside) < len(places) or any(place.frame != frame for place in inside):
            problems.append(
                f"A shape ({kind}) in the layer “{layer.name}” lies across several planes. "
                "Draw it on one plane, seen as it is now."
            )
        elif not 0 <= frame < geometry.frame_count:
            problems.append(_outside(f"shape ({kind})", layer, inside[0], geometry))
        elif not positive and kind not in _STROKES:
            problems.append(
                f"A shape ({kind}) in the layer “{layer.name}” is negative, but only points, paths "
                "and lines can be. It is left out: draw one of these instead, or make its feature "
                "“sign” positive."
            )
        elif kind == "rectangle" and _extent(inside) < 1:
            problems.append(
                f"A box in the layer “{layer.name}” is smaller than a pixel and left out. Delete "
                "it, and draw one from corner to corner with the button held down."
            )
        else:
            prompt = _prompt(kind, [(place.row, place.column) for place in inside], positive)
            try:
                checked = check_prompts([prompt], geometry.plane_shape)
            except ValueError as error:
                problems.append(f"Object {object_id}, plane {frame}: {error}")
            else:
                found[object_id, frame].extend(checked)


def _extent(places: Sequence[PlanePosition]) -> float:
    """The longer side of the box around places, in pixels."""
    return float(np.ptp([(place.row, place.column) for place in places], axis=0).max())


def _prompt(kind: str, corners: Sequence[tuple[float, float]], positive: bool) -> Prompt:
    if kind in _STROKES:
        return ScribblePrompt(tuple(corners), positive)
    if kind == "rectangle":
        (top, left), (bottom, right) = np.min(corners, axis=0), np.max(corners, axis=0)
        return BoxPrompt((float(top), float(left), float(bottom), float(right)))
    return PolygonPrompt(_ellipse(corners) if kind == "ellipse" else tuple(corners))


def _ellipse(corners: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Corners of a polygon inside the rectangle, turned or not, that an ellipse is kept as."""
    first, second, third, fourth = np.asarray(corners)
    centre = (first + third) / 2
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, np.newaxis]
    outline = centre + np.cos(angles) * (second - first) / 2 + np.sin(angles) * (fourth - first) / 2
    return tuple((float(row), float(column)) for row, column in outline)


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
