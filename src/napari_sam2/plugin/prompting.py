"""Prompts into the session, from the prompt layers; which object is next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari.layers import Points, Shapes
from psygnal import Signal

from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.plugin.ignored import Ignored
from napari_sam2.plugin.layers.drawings import NOTHING, Drawing, draw, finished
from napari_sam2.plugin.layers.own_layers import is_own
from napari_sam2.plugin.layers.painting import (
    join_pixels,
    painted_key,
    painted_pixels,
    painted_planes,
)
from napari_sam2.plugin.prompt_commands import masks_among, prompt_edits, without_masks
from napari_sam2.session.log import Paint, RemoveMask, SetPrompts

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.layers.painting import Stroke
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompt_commands import Drawn
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import StackKey

TakenEdit = SetPrompts | RemoveMask | Paint
_Key = tuple[str | None, str]  # an image, and "points" or "shapes"


@dataclass(frozen=True)
class Taken:
    """What reading the prompt layers brought.

    Parameters
    ----------
    frames : frozenset of int
        Frames whose prompts have changed.
    problems : tuple of str
        What cannot be used and was not told before.
    """

    frames: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()


class Prompting:
    """Keeps the session's prompts equal to the layers', and knows the active object.

    Parameters
    ----------
    session : Session
        Takes the prompts.
    workspace : Workspace
        Has the layers.

    Attributes
    ----------
    ignored : Ignored
        What is drawn and counts for nothing.
    active_changed : Signal(int, bool)
        Emitted with the active object and the sign of the next point.
    """

    active_changed = Signal(int, bool)

    def __init__(self, session: Session, workspace: Workspace) -> None:
        self._session = session
        self._workspace = workspace
        self.ignored = Ignored(session)
        self._active = (1, True)
        self._reserved = 0
        self._active_in: dict[str, tuple[int, bool]] = {}  # in each image that was left
        self._told: frozenset[str] = frozenset()
        # what an image's layers of ours showed when they were seen first
        self._first: dict[_Key, Drawing] = {}
        # what each layer showed when it was last read or drawn
        self._seen: dict[Points | Shapes, Drawing] = {}
        workspace.prompts.next_object_changed.connect(self._on_next_object)
        workspace.layers_changed.connect(self._on_layers_changed)
        session.kept_changed.connect(self._on_kept_changed)

    @property
    def active(self) -> tuple[int, bool]:
        """Object that new prompts belong to, and whether the next point is part of it."""
        return self._active

    def set_active(self, object_id: int, positive: bool) -> None:
        """Make new prompts belong to an object, and new points be part of it or not."""
        if (object_id, positive) != self._active:
            self._active = (object_id, positive)
            self._workspace.prompts.use_object(object_id, positive)
            self.active_changed.emit(object_id, positive)

    def toggle_sign(self) -> None:
        """Switch the next point between "belongs to the object" and "does not"."""
        object_id, positive = self._active
        self.set_active(object_id, not positive)

    def new_object(self) -> None:
        """Make new prompts belong to an object that has none yet."""
        self.set_active(self.free_number(), True)

    def free_number(self) -> int:
        """A number that no object has, and under which a deleted one has left nothing."""
        found = self._workspace.targets.largest_found
        return max(found, self._largest_left(), self._reserved, *self._taken()) + 1

    def reserve(self, object_id: int) -> None:
        """Keep a number for an object that something waits to be done to."""
        self._reserved = max(self._reserved, object_id)

    def is_active_new(self) -> bool:
        """Whether the active object has never had a prompt, in any image."""
        return self._active[0] not in self._taken() and self._active[0] > self._reserved

    def leave_image(self) -> None:
        """Keep the active object of the image in use for when it is in use again."""
        image = self._workspace.image_id
        layers = [layer for _, layer in self._layers(image) if layer is not None]
        # without these no layer is left that says what is drawn next
        left = any(len(layer.data) or not is_own(layer) for layer in layers)
        if image is not None and (left or not self.is_active_new()):
            self._active_in[image] = self._active

    def enter_image(self) -> None:
        """Go on with the object of the image in use that was active in it; else with a new one."""
        active = self._active_in.pop(str(self._workspace.image_id), None)
        if active is not None:
            self.set_active(*active)
        elif not self.is_active_new():
            self.new_object()

    def active_in(self, image: str) -> int:
        """The object that was active in an image when it was left; 0 where it was not in use."""
        return self._active_in.get(image, (0, True))[0]

    def replace_active(self, object_id: int, other: int) -> None:
        """Where an object is active, in whatever image, make another one that."""
        self._workspace.prompts.replace_object(object_id, other)
        self._active_in = {
            image: (other if number == object_id else number, positive)
            for image, (number, positive) in self._active_in.items()
        }
        if self._active[0] == object_id:
            self.set_active(other, self._active[1])

    def give_way(self, numbers: set[int]) -> None:
        """Give images that were left other numbers for what is drawn next than these."""
        for number in {next_ for next_, _ in self._active_in.values()} & numbers:
            self.replace_active(number, self.free_number())

    def has_changed(self, image: str) -> bool:
        """Whether an image's layers show something else than when they were taken last."""
        return any(
            layer is not None and not self._kept(key).equals(Drawing.of(layer))
            for key, layer in self._layers(image)
        )

    def has_lost(self, image: str) -> bool:
        """Whether something that was drawn for an image, on whatever plane, is gone."""
        return any(
            layer is not None and Drawing.of(layer).lacks(self._kept(key))
            for key, layer in self._layers(image)
        )

    def take(
        self, geometry: StackGeometry | None, keep_masks: bool = False, lost_alone: bool = False
    ) -> Taken:
        """Bring the session's prompts up to the layers'.

        Masks are in no layer: they stay until they are removed.

        Parameters
        ----------
        geometry : StackGeometry or None
            The stack, perhaps of an image that was left meanwhile; None where there is no image.
        keep_masks : bool
            Whether the mask of a plane stays when an object's last prompt there is gone. It does
            when a whole layer went, which says nothing about the masks.
        lost_alone : bool
            Whether only prompts that are gone count: in a stack that is not in view.
        """
        reading = None if geometry is None else self._workspace.read(geometry)
        if geometry is None or reading is None:
            return Taken()
        problems = tuple(problem for problem in reading.problems if problem not in self._told)
        self._told = frozenset(reading.problems)
        changed = self._changed(geometry, reading.prompts)
        if lost_alone:
            held = self._session.prompts(geometry.key)
            changed = {
                key: prompts
                for key, prompts in changed.items()
                if all(prompt in held.get(key, ()) for prompt in prompts)
            }
        with self._session.step():
            for key, prompts in changed.items():
                self._set_prompts(geometry.key, *key, prompts, keep_mask=keep_masks)
            self.record_drawings(geometry.key.image)
        return Taken(frozenset(frame for _, frame in changed), problems)

    def drawn(self, geometry: StackGeometry) -> Drawn | None:
        """What is drawn for a stack's objects now; None where nothing can be read."""
        reading = self._workspace.read(geometry)
        return None if reading is None else self._counted(geometry.key, reading.prompts)

    def held(self, stack: StackKey) -> Drawn:
        """What was drawn for a stack's objects when it was taken last."""
        return {key: without_masks(held) for key, held in self._session.prompts(stack).items()}

    def record_drawings(self, image: str | None) -> None:
        """Keep what an image's prompt layers show now, so that undo and redo bring it back."""
        for key, layer in self._layers(image):
            shown = NOTHING if layer is None else finished(layer)
            if layer is not None:
                self._seen[layer] = shown
            if not shown.equals(self._kept(key)):
                self._session.keep(key, shown)

    def redraw(
        self, image: str | None, name: str, layer: Points | Shapes, drawing: Drawing
    ) -> None:
        """Show something else in a prompt layer of any image, and keep it as `record_drawings`."""
        drawing.show(layer)
        self._seen[layer] = Drawing.of(layer)
        self._session.keep((image, name), self._seen[layer])

    def draw(self, image: str) -> None:
        """Show the session's prompts of an image in our own layers, and nothing else there."""
        prompts = {
            stack: self._session.prompts(stack)
            for stack in self._session.stacks
            if stack.image == image
        }
        points, shapes = (
            self._workspace.prompts.restore(image, name, None, needed=True)
            for name in ("points", "shapes")
        )
        self._workspace.prompts.use_object(*self._active)
        if isinstance(points, Points) and isinstance(shapes, Shapes):
            for name, layer in (("points", points), ("shapes", shapes)):
                NOTHING.show(layer)  # what an earlier dock has left
                self._first[image, name] = NOTHING  # which undo does not bring back, either
            draw(points, shapes, prompts)

    def paint(self, geometry: StackGeometry, strokes: Sequence[Stroke]) -> None:
        """Make what was painted the masks of the objects that it belongs to, as one step.

        Parameters
        ----------
        geometry : StackGeometry
            The stack that was painted on.
        strokes : sequence of Stroke
            In the order of their painting.
        """
        planes = painted_planes(geometry, strokes, self._session)
        with self._session.step("Paint"):
            for stack in {stack for stack, _, _ in planes}:
                frames = {frame for at, _, frame in planes if at == stack}
                self._keep_painted(replace(geometry, key=stack), strokes, frames)
            for place, mask in planes.items():
                self._set_painted(*place, mask)
            # nobody paints what stays hidden; and undo brings back only what is shown
            drawn = {stroke.label for stroke in strokes}
            for entry in self._session.objects:
                if entry.object_id in drawn and not entry.visible:
                    self._session.change_object(entry.object_id, visible=True)

    def ignore(self, object_id: int) -> None:
        """Take what layers of the user's say of an object now for nothing, as it stays there."""
        if all(is_own(layer) for _, _, layer in self._workspace.prompts.every()):
            return
        for stack in self._session.stacks:
            for (held, frame), prompts in self._session.prompts(stack).items():
                if held == object_id:
                    self.ignored.add((stack, object_id, frame), prompts)

    def _taken(self) -> set[int]:
        """Numbers of objects that are known, drawn, or the next to be drawn in another image."""
        known = {entry.object_id for entry in self._session.objects}
        elsewhere = {number for number, _ in self._active_in.values()}
        return known | elsewhere | self._workspace.prompts.numbers()

    def _largest_left(self) -> int:
        """Largest number whose earlier prompts, as long as they are the same, give no mask."""
        return max(self.ignored.numbers() | self._session.remembered, default=0)

    def _keep_painted(
        self, geometry: StackGeometry, strokes: Sequence[Stroke], frames: set[int]
    ) -> None:
        # kept, as undo of the stroke must bring back what it was painted over
        target = self._workspace.targets.of(geometry.key.image)
        for frame, pixels in painted_pixels(geometry, strokes, self._session).items():
            if target is not None and frame in frames:
                key = painted_key(target, geometry.key, frame)
                self._session.keep(key, join_pixels(self._session.kept(key), pixels))

    def _set_painted(
        self, stack: StackKey, object_id: int, frame: int, mask: NDArray[np.bool_]
    ) -> None:
        session, place = self._session, (stack, object_id, frame)
        self.ignored.add(place, session.prompts(stack).get((object_id, frame), ()))
        for edit in _painted_edits(stack, object_id, frame, mask):
            session.apply(edit)

    def _changed(
        self, geometry: StackGeometry, drawn: Drawn
    ) -> dict[tuple[int, int], tuple[Prompt, ...]]:
        """Prompts by object and frame where what is drawn is not what the session has."""
        held, counted = self._session.prompts(geometry.key), self._counted(geometry.key, drawn)
        changed = {}
        for key in sorted({*held, *drawn}):
            earlier = held.get(key, ())
            # Those of another shape were made for pixels that the image no longer has.
            masks = [p for p in masks_among(earlier) if p.shape == geometry.plane_shape]
            prompts = (*counted.get(key, ()), *masks)
            if prompts != earlier:
                changed[key] = prompts
        return changed

    def _counted(self, stack: StackKey, drawn: Drawn) -> Drawn:
        """What is drawn, but for what was painted over.

        That stays in its layer, which may be the user's; what is drawn after painting refines.
        """
        over = {key: self.ignored.of((stack, *key)) for key in drawn}
        return {
            key: tuple(prompt for prompt in prompts if prompt not in over[key])
            for key, prompts in drawn.items()
        }

    def _layers(self, image: str | None) -> Iterator[tuple[_Key, Points | Shapes | None]]:
        """The prompt layers of an image, with what the session keeps them under."""
        for name in ("points", "shapes"):
            yield (image, name), self._workspace.prompts.of(image, name)

    def _kept(self, key: _Key) -> Drawing:
        return self._session.kept(key) or self._first.get(key, NOTHING)

    def _on_layers_changed(self) -> None:
        for key, layer in self._layers(self._workspace.image_id):
            # what undo goes back to before the first prompt
            if is_own(layer) and key not in self._first:
                self._first[key] = Drawing.of(layer)

    def _on_kept_changed(self, key: Hashable) -> None:
        match key:
            case (str() as image, "points" | "shapes" as name):
                drawing = self._kept((image, name))
                needed = len(drawing.data) > 0
                layer = self._workspace.prompts.restore(image, name, drawing.layer, needed)
                if layer is None:
                    return
                self._workspace.prompts.use_object(*self._active)
                # what was changed in it while it was not in use stays
                if layer not in self._seen or self._seen[layer].equals(Drawing.of(layer)):
                    drawing.show(layer)
                    self._seen[layer] = Drawing.of(layer)

    def _set_prompts(
        self,
        stack: StackKey,
        object_id: int,
        frame: int,
        prompts: tuple[Prompt, ...],
        keep_mask: bool = False,
    ) -> None:
        for edit in prompt_edits(stack, object_id, frame, prompts, keep_mask):
            self._session.apply(edit)

    def _on_next_object(self, object_id: int, positive: bool | None) -> None:
        self.set_active(object_id, self._active[1] if positive is None else positive)


def painted_edits(
    geometry: StackGeometry, strokes: Sequence[Stroke], session: Session
) -> list[TakenEdit]:
    """What `Prompting.paint` would do to a session."""
    planes = painted_planes(geometry, strokes, session)
    return [edit for place, mask in planes.items() for edit in _painted_edits(*place, mask)]


def _painted_edits(
    stack: StackKey, object_id: int, frame: int, mask: NDArray[np.bool_]
) -> list[TakenEdit]:
    if mask.any():
        return [Paint(stack, object_id, frame, MaskPrompt(mask))]
    return [*prompt_edits(stack, object_id, frame, ())]
