"""What is done to whole objects: deleted, merged, split, renamed, hidden, looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points, Shapes
from napari.utils.notifications import show_info, show_warning

from napari_sam2.plugin.coordinates import to_image
from napari_sam2.plugin.layers.drawings import (
    Drawing,
    add_entries,
    end_drawing,
    finished,
    is_being_drawn,
)
from napari_sam2.plugin.layers.own_layers import is_made_for, is_own
from napari_sam2.plugin.layers.prompt_features import SIGNS, object_ids, signs
from napari_sam2.session.log import MergeObjects, RemoveObject
from napari_sam2.session.overview import Overview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.edits import Edits
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.work import Work
    from napari_sam2.session.session import Session


class Objects:
    """Changes objects in the session together with what was drawn for them.

    Parameters
    ----------
    session : Session
        Has the objects.
    workspace : Workspace
        Has the prompt layers, and the plane in view.
    prompting : Prompting
        Knows the active object.
    work : Work
        Tells when the session can be changed.
    edits : Edits
        Takes what is drawn into the session.

    Attributes
    ----------
    overview : Overview
        The objects over the frames.
    """

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        prompting: Prompting,
        work: Work,
        edits: Edits,
    ) -> None:
        self.overview = Overview(session)
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        self._work = work
        self._edits = edits
        # objects that will be others', or gone, once what waits is done
        self._merged: list[Sequence[int]] = []
        self._deleted: list[Sequence[int]] = []
        self._looked_at = -1  # the frame that `go_to_least_certain` went to, in its order

    def rename(self, object_id: int, name: str) -> None:
        """Give an object another name."""
        self._change(lambda session: session.change_object(object_id, name=name))

    def show(self, object_id: int, visible: bool) -> None:
        """Show an object, or hide it."""
        self._change(lambda session: session.change_object(object_id, visible=visible))

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete objects with their prompts and masks in every stack."""

        def change(session: Session) -> None:
            with session.telling_once():
                for number in _there(session, numbers, 1):
                    session.apply(RemoveObject(number))

        def delete() -> None:
            self._deleted.remove(numbers)
            with self._session.step("" if len(numbers) == 1 else f"Delete {len(numbers)} objects"):
                for number in numbers:
                    self._prompting.ignore(number)
                change(self._session)
                self._redraw(lambda objects, _: np.isin(objects, numbers), None)

        self._deleted.append(numbers)
        self._when_idle(delete, change)

    def merge(self, numbers: Sequence[int]) -> None:
        """Make one object of several: the one with the lowest number."""
        left = sorted(set(numbers).difference(*self._deleted))
        first, *others = left if len(left) > 1 else sorted(numbers)

        def change(session: Session) -> None:
            into, *left = _there(session, sorted(numbers), 2)
            with session.telling_once():
                for other in left:
                    session.apply(MergeObjects(into, other))

        def merge() -> None:
            into, *there = _there(self._session, sorted(numbers), 2)
            self._refuse_foreign(there)
            title = "" if len(there) == 1 else f"Merge {len(there) + 1} objects"
            with self._session.step(title):
                try:
                    change(self._session)
                finally:
                    left = {entry.object_id for entry in self._session.objects}
                    merged = [other for other in there if other not in left]
                    for other in merged:
                        self._prompting.ignored.move(other, into)
                        self._prompting.replace_active(other, into)
                    self._redraw(lambda objects, _: np.isin(objects, merged), into)

        def merge_or_leave() -> None:
            try:
                merge()
            finally:
                self._merged.remove(others)
                # where it was refused, the active object is what it was
                left = {entry.object_id for entry in self._session.objects}
                if self._prompting.active == (first, positive) and active in left:
                    self._prompting.set_active(active, positive)

        self._merged.append(others)
        active, positive = self._prompting.active
        if active in others:  # at once: what is drawn from now on belongs to what it becomes
            self._prompting.set_active(first, positive)
        self._when_idle(merge_or_leave, change)

    def split(self, number: int) -> None:
        """Make another object of what an object is from the plane in view on."""
        geometry = self._workspace.geometry()
        if geometry is None:
            return
        cut = self._workspace.frame(geometry)
        # not that of what is drawn next, either
        free = max(self._prompting.free_number(), self._prompting.active[0] + 1)
        if self._work.is_busy:
            self._prompting.reserve(free)

        def change(session: Session) -> None:
            part = max([free, *(entry.object_id + 1 for entry in session.objects)])
            session.split_object(geometry.key, number, cut, part, geometry.plane_shape)

        def split() -> None:
            if self._workspace.find_image(geometry.key.image) is None:
                return  # Deleted while this was waiting.
            self._refuse_foreign([number])
            known = {entry.object_id for entry in self._session.objects}
            part = self._prompting.free_number() if free in known else free
            with self._session.step():
                self._session.split_object(geometry.key, number, cut, part, geometry.plane_shape)

                def goes(objects: NDArray[np.int_], layer: Points | Shapes) -> NDArray[np.bool_]:
                    later: NDArray[np.bool_] = self._frames(layer, geometry) >= cut
                    return np.where(objects == number, later, False)

                self._prompting.ignored.move(
                    number, part, lambda stack, frame: stack == geometry.key and frame >= cut
                )
                self._redraw(goes, part, geometry.key.image)

        self._when_idle(split, change)

    def one_each(self) -> None:
        """Make every point or shape of the selected layer an object of its own, with a mask.

        A layer of the user's own, or of another image, is copied into ours, and stays as it is;
        what is negative there is no object, and left out.
        """
        workspace = self._workspace
        layer, geometry = workspace.viewer.layers.selection.active, workspace.geometry()
        if isinstance(layer, Points | Shapes) and is_being_drawn(layer):
            end_drawing(layer)
        if not isinstance(layer, Points | Shapes) or len(layer.data) == 0 or geometry is None:
            show_warning(
                "Select a Points or a Shapes layer in which there is something for the image first."
            )
            return

        assert workspace.image is not None
        try:
            to_image((), layer, workspace.image)
            signs(layer)
            if is_made_for(layer, workspace.image):
                object_ids(layer)
        except ValueError as error:
            show_warning(str(error))
            return
        first, was_new = self._prompting.free_number(), self._prompting.is_active_new()
        # at once, as if each had been drawn so: what is drawn is saved while a run lasts
        instead = False  # of another layer of the user's
        if is_made_for(layer, workspace.image):
            self._number(layer, first)
        else:
            instead = self._copy(layer, first)
        if was_new and not self._prompting.is_active_new():  # what is drawn next is none of these
            self._prompting.new_object()

        def take() -> None:
            if workspace.find_image(geometry.key.image) is None:
                return  # Deleted while this was waiting.
            with self._session.step("One object each"):
                if instead:  # whose prompts are not the ones that are drawn again
                    self._edits.keep_masks(geometry)
                self._edits.take(geometry)
                prompts = self._session.prompts(geometry.key)
                new = [frame for number, frame in prompts if number >= first]
                if new:  # what kept its number is in the same range, or is as it was
                    self._work.run_frames(geometry.key, min(new), max(new))

        self._work.take_when_idle(f"one each from {first}", take)

    def go_to(self, frame: int) -> None:
        """Show another frame of the stack."""
        geometry = self._workspace.geometry()
        if geometry is not None:
            self._workspace.go_to(geometry, frame)

    def go_to_least_certain(self) -> None:
        """Show where a prompt for the active object pays most; again, the place after that."""
        geometry, number = self._workspace.geometry(), self._prompting.active[0]
        if geometry is None:
            return
        if geometry.frame_count == 1:
            show_info("This image has one plane, so there is no other one to go to.")
            return
        frames = self.overview.least_certain(geometry.key, number)
        if not frames:
            show_info(f"Object {number} has masks on planes with prompts only. Propagate it first.")
            return
        here = self._workspace.frame(geometry)
        place = frames.index(here) + 1 if here == self._looked_at and here in frames else 0
        self._looked_at = frames[place % len(frames)]
        self._workspace.go_to(geometry, self._looked_at)

    def _change(self, change: Callable[[Session], None]) -> None:
        self._when_idle(lambda: change(self._session), change, reads=False)

    def _when_idle(
        self,
        action: Callable[[], None],
        change: Callable[[Session], None],
        reads: bool = True,
    ) -> None:
        def act() -> None:
            try:
                action()
            except (KeyError, ValueError) as error:
                show_warning(str(error.args[0]))

        self._edits.when_taken(act, change, reads)

    def _number(self, layer: Points | Shapes, first: int) -> None:
        """Give what is positive in our own layer numbers from one on, but for one of each object.

        What is negative stays with the object that it was taken from.
        """
        named, positive = object_ids(layer), signs(layer)
        seen, gone = (set[int]().union(*each) for each in (self._merged, self._deleted))
        numbers = list(named)
        for index, (number, part) in enumerate(zip(named, positive, strict=True)):
            if part and number in seen and number not in gone:
                numbers[index] = first
                first += 1
            if part:
                seen.add(number)
        Drawing.of(layer).of_objects(numbers).show(layer)

    def _copy(self, layer: Points | Shapes, first: int) -> bool:
        """Draw what is in a layer of the user's in our own, each with a number of its own.

        Gives whether another layer of the user's was in use.
        """
        workspace = self._workspace
        assert workspace.image is not None
        name = "points" if isinstance(layer, Points) else "shapes"
        in_use = getattr(workspace.prompts, name)
        if not is_own(in_use):
            workspace.prompts.choose(name, None)
            workspace.prompts.make(name)
        kinds = ["point"] * len(layer.data) if isinstance(layer, Points) else layer.shape_type
        drawn = zip(layer.data, kinds, signs(layer), strict=True)
        parts = [
            (corners, kind)
            for corners, kind, positive in drawn
            if positive and np.isfinite(corners).all()
        ]
        entries = [
            (to_image(corners, layer, workspace.image), kind, number, SIGNS[0])
            for number, (corners, kind) in enumerate(parts, start=first)
        ]
        add_entries(getattr(workspace.prompts, name), entries)
        return in_use is not None and not is_own(in_use) and in_use is not layer

    def _refuse_foreign(self, numbers: Sequence[int]) -> None:
        for _, _, layer in self._workspace.prompts.every():
            if is_own(layer):
                continue
            if found := set(numbers).intersection(object_ids(layer)):
                raise ValueError(
                    f"Prompts of object {min(found)} are in your own layer “{layer.name}”, which "
                    "is left as it is. Change its feature “object” there."
                )

    def _redraw(
        self,
        chosen: Callable[[NDArray[np.int_], Points | Shapes], NDArray[np.bool_]],
        object_id: int | None,
        image: str | None = None,
    ) -> None:
        """Give what is drawn in our own layers to another object; to none, take it away.

        With an image, only in its own.
        """
        for owner, name, layer in self._workspace.prompts.every():
            if not is_own(layer) or len(layer.data) == 0 or image not in (None, owner):
                continue
            drawing, every = finished(layer), np.array(object_ids(layer))
            count = len(drawing.data)  # a shape that is being drawn is given up
            numbers, where = every[:count], chosen(every, layer)[:count]
            if not where.any():
                continue
            if object_id is None:
                drawn = drawing.without(where)
            else:
                drawn = drawing.of_objects(np.where(where, object_id, numbers))
            self._prompting.redraw(owner, name, layer, drawn)
        self._edits.take_without_run()

    def _frames(self, layer: Points | Shapes, geometry: StackGeometry) -> NDArray[np.int_]:
        """Frame of each point or shape; -1 for those in another stack."""
        image = self._workspace.find_image(geometry.key.image)
        assert image is not None
        starts = [np.atleast_2d(each)[0] for each in layer.data]
        places = map(geometry.locate, to_image(starts, layer, image))
        return np.array([-1 if place is None else place.frame for place in places])


def _there(session: Session, numbers: Sequence[int], least: int) -> Sequence[int]:
    """Those of the numbers whose objects were not deleted meanwhile; all where too few are left."""
    known = {entry.object_id for entry in session.objects}
    left = [number for number in numbers if number in known]
    return left if len(left) >= least else numbers
