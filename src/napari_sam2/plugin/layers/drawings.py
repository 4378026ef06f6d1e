"""What prompt layers show: as a value that undo can bring back, and from prompts."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication

from napari_sam2.inference.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)
from napari_sam2.plugin.layers.own_layers import is_own, restyle, use_object
from napari_sam2.plugin.layers.prompt_features import next_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari.layers import Shapes
    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.values import StackKey

Entry = tuple[np.ndarray, str, int, str]  # positions, kind, object, sign

DRAWING_MS = 50  # between looks whether what the mouse draws or drags is complete
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
        if not np.any(where):
            return self
        left = [index for index, out in enumerate(where) if not out]
        kinds = tuple(self.kinds[index] for index in left) if self.kinds else ()
        features = self.features.iloc[left].reset_index(drop=True)
        data = tuple(self.data[index] for index in left)
        style = {name: values[left] for name, values in self.style.items()}
        return Drawing(self.layer, data, kinds, features, style)

    def changed_as(self, before: Drawing, after: Drawing) -> Drawing:
        """The same without what another one had and lost, and with what that one gained."""
        if before.equals(after):
            return self
        if self.layer is None and before._differs_in_objects(after):
            return self._numbered_as(before, after)
        left = self.without(~before.without(~after._lacks(before))._lacks(self))
        gained = after.without(~before._lacks(after))
        if not left.data or not gained.data:
            return left if left.data else gained
        import pandas as pd  # half a second, which the dock is not to take to open

        return Drawing(
            self.layer,
            left.data + gained.data,
            left.kinds + gained.kinds,
            pd.concat([left.features, gained.features], ignore_index=True),
            {name: np.concatenate([each, gained.style[name]]) for name, each in left.style.items()},
        )

    def of_objects(self, numbers: int | Sequence[int] | NDArray[np.int_]) -> Drawing:
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

    def lacks(self, other: Drawing) -> bool:
        """Whether another one has something that this one does not have."""
        return bool(self._lacks(other).any())

    def show(self, layer: Points | Shapes) -> None:
        """Make the layer show it again."""
        now = Drawing.of(layer)
        if self.equals(now):
            return
        if is_being_drawn(layer):  # napari would go on drawing what is not there any longer
            end_drawing(layer)
            now = Drawing.of(layer)
        style, drawn_next = self._style_after(now), layer.feature_defaults.copy()
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
        _draw_next(layer, drawn_next)

    def _differs_in_objects(self, other: Drawing) -> bool:
        """Whether another one is the same but for which objects all is of."""
        return len(self.data) == len(other.data) > 0 and self.of_objects(0).equals(
            other.of_objects(0)
        )

    def _numbered_as(self, before: Drawing, after: Drawing) -> Drawing:
        """The same with what another one had as that of the objects that it became there.

        Also what was moved since, which is taken for the nearest of the same object.
        """
        old, new = (list(each.features["object"]) for each in (before, after))
        became = defaultdict[int, set[int]](set)
        for number, later in zip(old, new, strict=True):
            became[number].add(later)
        left = dict(enumerate(before._rows()))  # by place in `before`
        numbers = list(self.features["object"])
        moved = []
        for index, row in enumerate(self._rows()):
            at = next((place for place, each in left.items() if each == row), None)
            if at is None:
                moved.append(index)
            else:
                numbers[index] = new[at]
                del left[at]
        for index in moved:
            number, here = numbers[index], np.atleast_2d(self.data[index])[0]
            off = {
                at: float(np.linalg.norm(there - here))
                for at in left
                if old[at] == number
                # within a plane two coordinates change
                and np.sum((there := np.atleast_2d(before.data[at])[0]) == here) >= len(here) - 2
            }
            if off:
                nearest = min(off, key=off.__getitem__)
                numbers[index] = new[nearest]
                del left[nearest]
            elif len(became[number]) == 1:  # drawn since
                (numbers[index],) = became[number]
        return self.of_objects(numbers)

    def _lacks(self, other: Drawing) -> NDArray[np.bool_]:
        """Which points or shapes of another one this one does not have."""
        have, found = Counter(self._rows()), np.zeros(len(other.data), dtype=bool)
        for index, row in enumerate(other._rows()):
            have[row] -= 1
            found[index] = have[row] < 0
        return found

    def _rows(self) -> list[tuple[object, ...]]:
        """What makes each point or shape another one than the rest."""
        if not self.data:
            return []
        kinds = self.kinds or ("",) * len(self.data)
        told = self.features.itertuples(index=False, name=None)
        # as text, for what is missing is not equal to itself
        return [
            (each.astype(float).tobytes(), kind, *map(str, said))
            for each, kind, said in zip(self.data, kinds, told, strict=True)
        ]

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


def is_being_drawn(layer: Points | Shapes) -> bool:
    """Whether the mouse is drawing a shape in a layer, of which nothing may be taken away then."""
    return bool(getattr(layer, "_is_creating", False))


def finished(layer: Points | Shapes) -> Drawing:
    """What a layer shows, but for the shape that the mouse is drawing in it."""
    drawing = Drawing.of(layer)
    count = len(drawing.data)
    return drawing.without(np.arange(count) >= count - is_being_drawn(layer))


def is_dragged(layer: Points | Shapes) -> bool:
    """Whether the mouse, where the layer is the active one, drags something in it."""
    # napari tells a layer nothing of a drag that ends when another one is active
    pressed = QGuiApplication.mouseButtons() != Qt.MouseButton.NoButton
    moved = layer._drag_start is not None or bool(getattr(layer, "_is_moving", False))
    return pressed and moved


def end_drawing(layer: Points | Shapes) -> bool:
    """End the shape that the mouse is drawing, as Escape does: whether anything of it is left."""
    count = len(layer.data)
    layer._finish_drawing()  # another mode would leave a shape of one corner
    drop_given_up(layer)
    return len(layer.data) == count


def drop_given_up(layer: Points | Shapes) -> None:
    """Drop the features of an outline that was given up, which napari leaves to the next shape."""
    count, drawn_next = len(layer.data), layer.feature_defaults.copy()
    if len(layer.features) > count:
        layer.features = layer.features.iloc[:count]
        _draw_next(layer, drawn_next)


@contextmanager
def as_they_were(
    layers: Iterable[Points | Shapes],
    then: Mapping[Points | Shapes, Drawing],
    later: Sequence[dict[Points | Shapes, Drawing]],
) -> Iterator[None]:
    """Let layers show what they showed at a time, and what was drawn since then again afterwards.

    Parameters
    ----------
    layers : iterable of napari.layers.Points or napari.layers.Shapes
        Those of the viewer.
    then : mapping of Points or Shapes to Drawing
        What they showed; those of ours that were made since, nothing.
    later : sequence of dict of Points or Shapes to Drawing
        What they showed at later times; what is done meanwhile is done to these, too.
    """
    before = {each: then.get(each, NOTHING) for each in layers if each in then or is_own(each)}
    now = {layer: Drawing.of(layer) for layer in before}
    for layer, earlier in before.items():
        earlier.show(layer)
    try:
        yield
    finally:
        for layer, earlier in before.items():
            after = Drawing.of(layer)
            now[layer].changed_as(earlier, after).show(layer)
            for drawn in later:
                if layer in drawn:
                    drawn[layer] = drawn[layer].changed_as(earlier, after)


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
    drawn_next = layer.feature_defaults.copy()
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
    _draw_next(layer, drawn_next)


def _draw_next(layer: Points | Shapes, defaults: Any) -> None:
    """Let what is drawn next be what it was: with new features napari takes those of the last."""
    if not layer.feature_defaults.equals(defaults):
        layer.feature_defaults = defaults
    drawn_next = next_object(layer) if is_own(layer) else None
    if drawn_next is not None:
        use_object(layer, drawn_next[0], drawn_next[1] is not False)


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
