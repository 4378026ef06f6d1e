"""What prompt layers show: as a value that undo can bring back, and from prompts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_sam2.inference.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)
from napari_sam2.plugin.layers.own_layers import is_own, restyle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.layers import Shapes
    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.values import StackKey

Entry = tuple[np.ndarray, str, int, str]  # positions, kind, object, sign

_POINT_STYLE = ("size", "symbol", "face_color", "border_color", "border_width", "shown")
_SHAPE_STYLE = ("edge_color", "face_color", "edge_width", "z_index")


@dataclass(frozen=True, eq=False)
class Drawing:
    """The points or shapes of a layer at a time.

    Parameters
    ----------
    layer : napari.layers.Points or napari.layers.Shapes or None
        The layer where it is the user's own; None for ours, which is made anew when deleted.
    data : tuple of array
        Position of each point, or corners of each shape.
    kinds : tuple of str
        What each shape is: "rectangle"; empty for points.
    features : pandas.DataFrame
        The layer's features.
    style : mapping of str to array
        What each point or shape of a layer of the user's looks like, by napari's names; nothing of
        ours, which their features tell.
    """

    layer: Points | Shapes | None
    data: tuple[NDArray[Any], ...]
    kinds: tuple[str, ...]
    features: Any
    style: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: Points | Shapes) -> Drawing:
        """Read a layer."""
        kinds = () if isinstance(layer, Points) else tuple(layer.shape_type)
        data = tuple(np.array(each) for each in layer.data)
        if is_own(layer):
            return cls(None, data, kinds, layer.features.copy())
        names = _POINT_STYLE if isinstance(layer, Points) else _SHAPE_STYLE
        style = {name: np.array(getattr(layer, name)) for name in names}
        return cls(layer, data, kinds, layer.features.copy(), style)

    def without(self, where: NDArray[np.bool_]) -> Drawing:
        """The same without some points or shapes."""
        left = [index for index, out in enumerate(where) if not out]
        kinds = tuple(self.kinds[index] for index in left) if self.kinds else ()
        features = self.features.iloc[left].reset_index(drop=True)
        data = tuple(self.data[index] for index in left)
        style = {name: values[left] for name, values in self.style.items()}
        return Drawing(self.layer, data, kinds, features, style)

    def of_objects(self, numbers: Sequence[int] | NDArray[np.int_]) -> Drawing:
        """The same with the points or shapes as other objects'."""
        return replace(self, features=self.features.assign(object=numbers))

    def equals(self, other: Drawing) -> bool:
        """Whether another one is the same in the same layer, whatever it looks like."""
        return (
            self.layer is other.layer
            and len(self.data) == len(other.data)
            and all(map(np.array_equal, self.data, other.data))
            and self.kinds == other.kinds
            and (not self.data or bool(self.features.equals(other.features)))
        )

    def show(self, layer: Points | Shapes) -> None:
        """Make the layer show it again."""
        now = Drawing.of(layer)
        if self.equals(now):
            return
        style = self._style_after(now)
        layer.selected_data = set()
        if isinstance(layer, Points):
            layer.data = np.array(self.data).reshape(-1, layer.ndim)
        else:
            # data alone would keep what is drawn over
            layer.selected_data = set(range(layer.nshapes))
            layer.remove_selected()
            if self.data:
                layer.add(list(self.data), shape_type=list(self.kinds))
        if self.data:
            layer.features = self.features.copy()
            for name, values in style.items():
                if not np.array_equal(np.array(getattr(layer, name)), values):
                    # of shapes napari takes an array for colours alone
                    setattr(layer, name, values if values.ndim > 1 else values.tolist())
        if is_own(layer):
            restyle(layer)
        layer.selected_data = set()

    def _style_after(self, now: Drawing) -> dict[str, NDArray[Any]]:
        """Its style, but of what the layer shows now, which may have been given another since."""
        places = {data.tobytes(): index for index, data in enumerate(now.data)}
        there = [places.get(data.tobytes()) for data in self.data]
        return {
            name: np.array(
                [
                    own if at is None else now.style[name][at]
                    for own, at in zip(values, there, strict=True)
                ]
            )
            for name, values in self.style.items()
        }


NOTHING = Drawing(None, (), (), None)  # in a layer of ours, also where there is none


def draw(
    points: Points,
    shapes: Shapes,
    prompts: Mapping[StackKey, Mapping[tuple[int, int], Sequence[Prompt]]],
) -> None:
    """Add prompts to layers of our own; masks are in no layer.

    Parameters
    ----------
    points, shapes : napari.layers.Points, napari.layers.Shapes
        The layers, which lie on the image.
    prompts : mapping of StackKey to mapping of (int, int) to sequence of Prompt
        By stack, object and frame.
    """
    clicks: list[Entry] = []
    drawn: list[Entry] = []
    for stack, found in prompts.items():
        for (object_id, frame), group in sorted(found.items(), key=lambda item: item[0]):
            for prompt in group:
                kind, corners, positive = _corners(prompt)
                if not kind:
                    continue
                placed = np.array(
                    [_position(stack, frame, corner, points.ndim) for corner in corners]
                )
                entry = (placed, kind, object_id, "positive" if positive else "negative")
                (clicks if kind == "point" else drawn).append(entry)
    add_entries(points, clicks)
    add_entries(shapes, drawn)


def add_entries(layer: Points | Shapes, entries: Sequence[Entry]) -> None:
    """Add points or shapes to a layer of our own, each with its object and its sign."""
    if not entries:
        return
    placed = [each for each, *_ in entries]
    if isinstance(layer, Points):
        layer.add(np.concatenate(placed))
    else:
        layer.add(placed, shape_type=[kind for _, kind, *_ in entries])
    features = layer.features.copy()
    features.loc[len(features) - len(entries) :, "object"] = [entry[2] for entry in entries]
    features.loc[len(features) - len(entries) :, "sign"] = [entry[3] for entry in entries]
    layer.features = features
    restyle(layer)
    layer.selected_data = set()


def _corners(prompt: Prompt) -> tuple[str, Sequence[tuple[float, float]], bool]:
    match prompt:
        case PointPrompt(position, positive):
            return "point", [position], positive
        case BoxPrompt((top, left, bottom, right)):
            return "rectangle", [(top, left), (top, right), (bottom, right), (bottom, left)], True
        case PolygonPrompt(vertices):
            return "polygon", vertices, True
        case ScribblePrompt(path, positive):
            return "path", path, positive
        case MaskPrompt():
            return "", (), True


def _position(
    stack: StackKey, frame: int, corner: tuple[float, float], ndim: int
) -> tuple[float, ...]:
    placed: dict[int, float] = dict(zip(stack.plane_axes, corner, strict=True)) | dict(stack.fixed)
    if stack.frame_axis is not None:
        placed[stack.frame_axis] = frame
    return tuple(placed[axis] for axis in range(ndim))
