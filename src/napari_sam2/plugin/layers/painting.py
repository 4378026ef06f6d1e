"""Strokes in the Labels layer with the results.

The session owns every stroke that touches an object: it becomes a step of its history and goes
from the layer's own. What touches none of them, such as the user's own labels, is left to the
layer's undo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from psygnal import Signal

from napari_sam2.session.labels import Pixels, plane_key
from napari_sam2.session.masks import plane_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import StackKey

_LOOKING = ("pan_zoom", "transform", "pick")  # modes that paint nothing
UNDO, REDO = "Control-Z", "Control-Shift-Z"  # as napari binds them in Labels layers


class Stroke(NamedTuple):
    """Pixels that were painted at once.

    Attributes
    ----------
    where : array of int, shape (N, ndim)
        The pixels.
    before : array of int, shape (N,)
        Their labels before.
    label : int
        Their label since.
    """

    where: NDArray[np.int_]
    before: NDArray[np.int_]
    label: int


class Painting:
    """Listens to strokes in one layer at a time, and takes its keys for undo and redo.

    Parameters
    ----------
    undo, redo : callable
        Called when these are asked for and the layer has nothing of its own to undo or redo.
    before : callable
        Called with the layer before the mouse, or its own undo, changes it: a stroke may be in
        three dimensions.

    Attributes
    ----------
    painted : Signal(object)
        Emitted with the list of `Stroke` that a press of the mouse painted.
    """

    painted = Signal(object)

    def __init__(
        self,
        undo: Callable[[], None],
        redo: Callable[[], None],
        before: Callable[[Labels], None],
    ) -> None:
        self._undo = undo
        self._redo = redo
        self._before = before
        self._layer: Labels | None = None
        self._earlier: dict[str, Any] = {}

    def listen(self, layer: Labels | None) -> bool:
        """Listen to another layer, None for none; gives whether it is another one."""
        if layer is self._layer:
            return False
        if self._layer is not None:
            self._layer.events.paint.disconnect(self._on_paint)
            if self._on_press in self._layer.mouse_drag_callbacks:
                self._layer.mouse_drag_callbacks.remove(self._on_press)
            for key, action in self._earlier.items():
                self._layer.bind_key(key, action, overwrite=True)
        self._layer = layer
        if layer is not None:
            layer.events.paint.connect(self._on_paint)
            layer.mouse_drag_callbacks.insert(0, self._on_press)
            self._earlier = {
                key: layer.bind_key(key, action, overwrite=True)
                for key, action in ((UNDO, self._on_undo), (REDO, self._on_redo))
            }
        return True

    def take_over(self) -> None:
        """Drop the layer's own history: what it would write back is no longer true."""
        if self._layer is not None:
            self._layer._reset_history()

    def _on_paint(self, event: Any) -> None:
        self.painted.emit(strokes_of(event))

    def _on_press(self, layer: Labels, event: Any) -> None:
        if str(layer.mode) not in _LOOKING:
            self._before(layer)

    def _on_undo(self, layer: Labels) -> None:
        if layer._undo_history:
            self._before(layer)
            layer.undo()
        else:
            self._undo()

    def _on_redo(self, layer: Labels) -> None:
        if layer._redo_history:
            self._before(layer)
            layer.redo()
        else:
            self._redo()


def strokes_of(event: Any) -> list[Stroke]:
    """Read what napari tells of what was painted."""
    return [_stroke(atom, event.source.ndim) for atom in event.value]


def touches_objects(geometry: StackGeometry, strokes: Sequence[Stroke], session: Session) -> bool:
    """Whether strokes change an object, or make one, in a stack."""
    known = {entry.object_id for entry in session.objects}
    return any(
        len(stroke.where) > 0
        and geometry.locate(stroke.where[0]) is not None
        and (stroke.label > 0 or bool(known.intersection(np.unique(stroke.before).tolist())))
        for stroke in strokes
    )


def stacks_of_image(geometry: StackGeometry, session: Session) -> list[StackGeometry]:
    """A stack, and the others of its image: along other axes, or at other indices."""
    ndim = len(geometry.shape)  # there may be some of when the image had other axes
    others = (s for s in session.stacks if s.image == geometry.key.image and s.fits(ndim))
    return [replace(geometry, key=stack) for stack in dict.fromkeys((geometry.key, *others))]


def painted_planes(
    geometry: StackGeometry, strokes: Sequence[Stroke], session: Session
) -> dict[tuple[StackKey, int, int], NDArray[np.bool_]]:
    """Say which masks strokes change, and to what.

    Objects may have masks of the same pixels in stacks along other axes: they lose them there.

    Parameters
    ----------
    geometry : StackGeometry
        The stack that was painted on.
    strokes : sequence of Stroke
        In the order of their painting.
    session : Session
        The masks before.

    Returns
    -------
    dict of (StackKey, int, int) to array of bool, shape (Y, X)
        By stack, object and frame. What was painted belongs to its object alone, in the stack that
        was painted on; what was erased, to none.
    """
    planes: dict[tuple[StackKey, int, int], NDArray[np.bool_]] = {}
    stacks = stacks_of_image(geometry, session)
    for stroke in strokes:
        for at in reversed(stacks):  # undone in reverse: masks come back where none is in the way
            in_view = at is stacks[0]
            for frame, here in _by_frame(at, stroke, None if in_view else session.frames(at.key)):
                rows, columns = stroke.where[here][:, list(at.key.plane_axes)].T
                masks = session.masks(at.key, frame)
                painted = {stroke.label} - {0}
                for object_id in masks.keys() | painted if in_view else masks.keys() - painted:
                    key = at.key, object_id, frame
                    before = planes.get(key)
                    if before is None and object_id in masks:
                        before = plane_mask(masks[object_id], at.plane_shape)
                    elif before is None:
                        before = _in_other_stacks(object_id, frame, stacks, session)
                    after = before.copy()
                    after[rows, columns] = object_id == stroke.label
                    if not np.array_equal(after, before):
                        planes[key] = after
    return planes


def painted_pixels(
    geometry: StackGeometry, strokes: Sequence[Stroke], session: Session
) -> dict[int, Pixels]:
    """Say where strokes lie in a stack, by frame, and which labels of no object they replaced.

    Where there was none of these, the label is 0.
    """
    objects = [entry.object_id for entry in session.objects]
    objects += [stroke.label for stroke in strokes]
    found: dict[int, Pixels] = {}
    for stroke in strokes:
        before = np.where(np.isin(stroke.before, objects), 0, stroke.before)
        for frame, here in _by_frame(geometry, stroke):
            pixels = Pixels(stroke.where[here], before[here])
            found[frame] = join_pixels(found.get(frame), pixels)
    return found


def join_pixels(earlier: Pixels | None, later: Pixels) -> Pixels:
    """Put pixels together; those that are in both keep the earlier label."""
    if earlier is None:
        return later
    where, labels = (np.concatenate(parts) for parts in zip(earlier, later, strict=True))
    where, first = np.unique(where, axis=0, return_index=True)
    return Pixels(where, labels[first])


def painted_key(layer: Labels, stack: StackKey, frame: int) -> tuple[Hashable, ...]:
    """Under what a session keeps the pixels that were painted on a frame of a layer."""
    return "painted", str(layer.unique_id), plane_key(stack, frame)


def _in_other_stacks(
    object_id: int, frame: int, stacks: Sequence[StackGeometry], session: Session
) -> NDArray[np.bool_]:
    """What an object has on a plane of the first stack by the masks of the others."""
    first, *others = stacks
    plane = plane_key(first.key, frame)
    found = np.zeros(first.plane_shape, dtype=bool)
    for other in others:
        axis = other.key.frame_axis
        at = 0 if axis is None else plane[axis]
        if at is not None and plane_key(other.key, at) == plane:
            found |= plane_mask(session.masks(other.key, at).get(object_id), first.plane_shape)
    return found


def _by_frame(
    geometry: StackGeometry, stroke: Stroke, wanted: Sequence[int] | None = None
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    stack = geometry.key
    axis = stack.frame_axis
    frames = np.zeros(len(stroke.where), int) if axis is None else stroke.where[:, axis]
    here = np.ones(len(stroke.where), dtype=bool)
    for fixed, index in stack.fixed:
        here &= stroke.where[:, fixed] == index
    touched = np.unique(frames[here])
    for frame in (touched if wanted is None else np.intersect1d(touched, wanted)).tolist():
        yield frame, here & (frames == frame)


def _stroke(atom: Any, ndim: int) -> Stroke:
    """Read an entry of the layer's history, of either kind that napari has."""
    if not hasattr(atom, "slice_key"):
        indices, before, label = atom
        where = np.stack(np.broadcast_arrays(*indices), axis=-1).reshape(-1, ndim)
        return Stroke(where, np.asarray(before).ravel(), int(np.ravel(label)[0]))
    starts = [part.start for part in atom.slice_key]
    shape = [part.stop - part.start for part in atom.slice_key]
    mask = np.ones(shape, dtype=bool) if atom.mask is None else atom.mask
    where = np.argwhere(mask) + starts
    return Stroke(where, np.asarray(atom.old_values).ravel(), int(atom.new_value))
