"""Edited prompts into the session: when they are taken, and that they run by themselves."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer

from napari_sam2.plugin.layers.painting import stacks_of_image
from napari_sam2.plugin.prompt_commands import apply_drawn, drawn_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompt_commands import Drawn, DrawnChange
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.work import Work
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import StackKey

SETTLE_MS = 150


class Edits:
    """Takes what is drawn at once, and what follows within a moment together.

    Parameters
    ----------
    session : Session
        Takes the prompts.
    workspace : Workspace
        Tells of edits.
    prompting : Prompting
        Reads the layers.
    work : Work
        Runs the model.

    Attributes
    ----------
    auto_run : bool
        Whether edited prompts run by themselves.
    """

    def __init__(
        self, session: Session, workspace: Workspace, prompting: Prompting, work: Work
    ) -> None:
        self.auto_run = True
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        self._work = work
        self._last = -float("inf")
        # frames in view while prompts changed, of the last time that they are to be taken
        self._edited: dict[StackGeometry, set[int]] = {}
        # what was drawn when they were last to be taken, and the time before that
        self._read: dict[StackGeometry, Drawn] = {}
        self._before: dict[StackGeometry, Drawn] = {}
        self._other_layers: set[str] = set()  # images whose prompts are read from others now
        # The first change is taken at once; one within this time of another replaces it.
        self._settle = QTimer()
        self._settle.setSingleShot(True)
        self._settle.timeout.connect(self._take_changed)
        workspace.prompts.edited.connect(self._on_prompts_edited)

    @property
    def is_waiting(self) -> bool:
        """Whether something was drawn that is not taken yet."""
        return bool(self._settle.isActive())

    def has_unread(self) -> bool:
        """Whether something was drawn, or a layer went, that is not taken yet."""
        return self.is_waiting or self._workspace.image_id in self._other_layers

    def take_unsettled(self) -> None:
        """Take what was drawn just now, and would be taken in a moment."""
        if self.is_waiting:
            self._take_changed()

    def keep_masks(self, geometry: StackGeometry | None) -> None:
        """Let an image's masks stay when its prompts are taken next, as other layers are read.

        That a layer is gone says nothing about the masks.
        """
        if geometry is not None:
            self._other_layers.add(geometry.key.image)

    def take_layers(self, geometry: StackGeometry, frame: int | None = None) -> None:
        """Take an image's prompts from other layers than before, as soon as no run is under way.

        Its masks stay. Those of a frame are found anew, where one is given.
        """
        what = f"{'removed from' if frame is None else 'layers of'} {geometry.key.image}"
        changes = self._changes(what, stacks_of_image(geometry, self._session))

        def take() -> None:
            self.keep_masks(geometry)
            with self._session.step():
                self._take_or_change([geometry], changes, keep_masks=True)
                if frame is not None:
                    self.run(geometry.key, frame)

        self._work.take_when_idle(what, take, _as_change(changes, keep_masks=True))

    def take(self, geometry: StackGeometry | None) -> dict[StackGeometry, frozenset[int]]:
        """Take the prompts of a stack, and what others of its image have lost.

        Gives the frames that have changed.
        """
        self._settle.stop()
        if geometry is None:
            return {}
        image = geometry.key.image
        other_layers, lost = image in self._other_layers, self._prompting.has_lost(image)
        self._other_layers.discard(image)
        changed = {}
        for at in stacks_of_image(geometry, self._session):
            in_view = at.key == geometry.key
            if in_view or other_layers or lost:
                lost_alone = not (in_view or other_layers)
                taken = self._prompting.take(at, other_layers, lost_alone)
                changed[at] = taken.frames
                for problem in taken.problems if in_view else ():
                    show_warning(problem)
        return changed

    def take_now(self) -> None:
        """Take what was drawn, as soon as no run is under way, and run it."""
        self._settle.stop()
        geometry = self._workspace.geometry()
        if not self._work.waits_last("prompts"):
            self._edited = {}
        if geometry is not None:
            self._edited.setdefault(geometry, set()).add(self._workspace.frame(geometry))
        changes = self._changes("prompts", self._edited)
        self._work.take_when_idle(
            "prompts", partial(self._take_edited, self._edited, changes), _as_change(changes)
        )

    def take_without_run(self) -> None:
        """Take what was drawn, and do not run it."""
        self.take(self._workspace.geometry())

    def when_taken(
        self,
        action: Callable[[], None],
        change: Callable[[Session], object] | None = None,
        reads: bool = True,
    ) -> None:
        """Act as soon as the session can be changed, with all that was drawn taken and run.

        For `change` and `reads` see `Work.when_idle`.
        """
        self.take_unsettled()
        self._work.when_idle(action, change=change, reads=reads)

    def run(self, stack: StackKey, frame: int) -> None:
        """Run the prompts of a frame, if they are to run by themselves."""
        if self.auto_run and any(at == frame for _, at in self._session.prompts(stack)):
            self._work.run_frame(stack, frame)

    def _take_or_change(
        self,
        stacks: Collection[StackGeometry],
        changes: Sequence[DrawnChange],
        keep_masks: bool = False,
    ) -> dict[StackGeometry, set[int]]:
        """Take stacks; as it was when that was asked for, where the image has gone since."""
        gone = {at.key.image for at in stacks if not self._workspace.can_read(at)}
        left = [each for each in changes if each.stack.image in gone]
        apply_drawn(left, self._session, keep_masks)
        changed: dict[StackGeometry, set[int]] = {}
        for geometry in stacks:
            for at, frames in self.take(geometry).items():
                changed.setdefault(at, set()).update(frames)
        return changed

    def _changes(self, what: str, stacks: Collection[StackGeometry]) -> list[DrawnChange]:
        """What taking what is drawn now will change, once it is its turn."""
        if not self._work.has_waiting:
            self._before, self._read = {}, {}
        if not self._work.waits_last(what):  # else it takes the place of that
            self._before = dict(self._read)
        changes: list[DrawnChange] = []
        if self._work.is_busy:
            lost = [s for s in stacks if self._prompting.has_lost(s.key.image)]
            others = (at for each in lost for at in stacks_of_image(each, self._session))
            for each in dict.fromkeys((*stacks, *others)):
                drawn = self._prompting.drawn(each)
                if drawn is not None:
                    self._read[each] = drawn
                    before = self._before.setdefault(each, self._prompting.held(each.key))
                    found = drawn_changes(each.key, before, drawn)
                    # as `take` does it
                    changes += [c for c in found if each in stacks or not c.gained]
        return changes

    def _take_edited(
        self, edited: dict[StackGeometry, set[int]], changes: Sequence[DrawnChange]
    ) -> None:
        if self._edited is edited:
            self._edited = {}
        with self._session.step():
            # of every stack before the first run, during which nothing can be taken
            for at, frames in self._take_or_change(edited, changes).items():
                # of a stack that was in view, the planes that were; others have lost prompts
                for frame in sorted(frames & edited.get(at, frames)):
                    self.run(at.key, frame)

    def _take_changed(self) -> None:
        """Take what was drawn, unless it is as when it was taken last: undo draws, too."""
        self._settle.stop()
        image = self._workspace.image_id
        # what was taken during a run still waits
        changed = image is None or self._prompting.has_changed(image)
        if changed or self._work.is_busy:
            self.take_now()

    def _on_prompts_edited(self) -> None:
        now, earlier = time.monotonic(), self._last
        self._last = now
        # Not within napari's own event, which is one of several for the same change.
        if not self._settle.isActive() or self._settle.interval():
            self._settle.start(SETTLE_MS if now - earlier < SETTLE_MS / 1000 else 0)


def _as_change(
    changes: Sequence[DrawnChange], keep_masks: bool = False
) -> Callable[[Session], None] | None:
    return partial(apply_drawn, changes, keep_masks=keep_masks) if changes else None
