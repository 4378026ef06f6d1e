"""The model's work on the image in use: one run at a time, and what waits for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from napari.utils.notifications import show_error, show_warning
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.plugin.candidates import describe
from napari_sam2.plugin.coordinates import StackGeometry, image_shape, part_in_view
from napari_sam2.plugin.layers.drawings import (
    DRAWING_MS,
    Drawing,
    as_they_were,
    end_drawing,
    is_being_drawn,
    is_dragged,
)
from napari_sam2.plugin.layers.image_source import stack_source
from napari_sam2.plugin.layers.labels_layer import largest_label
from napari_sam2.plugin.notify import tell_error
from napari_sam2.session.log import Run
from napari_sam2.session.values import ModelChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Points, Shapes

    from napari_sam2.plugin.layers.prompt_layers import Chosen
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.runs import Runs
    from napari_sam2.session.pass_request import PassRequest
    from napari_sam2.session.session import Session
    from napari_sam2.session.stack_source import StackSource
    from napari_sam2.session.values import StackKey


class _Waiting(NamedTuple):
    """What waits for the end of a run: see `Work.when_idle`."""

    action: Callable[[], object]
    name: str
    is_run: bool
    change: Callable[[Session], object] | None
    drawn: dict[Points | Shapes, Drawing] | None  # what the prompt layers showed then
    chosen: Chosen  # which they were


class Work:
    """Starts runs, and lets everything else that changes the session wait for their end.

    A run does not know of what is changed while it lasts; the session's log could not say what
    came of it. Everything is done in the order in which it was asked for, each as if nothing had
    been drawn since.

    Parameters
    ----------
    runs : Runs
        Does the runs.
    session : Session
        Has the prompts.
    workspace : Workspace
        Has the image and the layer for the results.
    prompting : Prompting
        Knows the active object.

    Attributes
    ----------
    model : ModelChoice
        The model of the next run.
    in_view : bool
        Whether the model is shown the part of a large plane that the canvas shows.
    noted : Signal()
        Emitted when a change of the session waits.
    """

    noted = Signal()

    def __init__(
        self, runs: Runs, session: Session, workspace: Workspace, prompting: Prompting
    ) -> None:
        self.model = ModelChoice()
        self.in_view = False
        self._runs = runs
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        # of each image, as it was shown to the model last
        self._sources: WeakKeyDictionary[Image, StackSource] = WeakKeyDictionary()
        self._waiting: list[_Waiting] = []  # in order
        self._is_acting = False  # what is asked for by what waited is done with it
        self._closed = False
        runs.ended.connect(self._go_on)

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way, or something waits still."""
        return self._runs.is_busy or (bool(self._waiting) and not self._is_acting)

    def waiting(self) -> list[Callable[[Session], object]]:
        """The changes of the session that wait, in order, each to be called with a session."""
        return [each.change for each in self._waiting if each.change is not None]

    @property
    def has_waiting(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def waits_last(self, what: str) -> bool:
        """Whether prompts under a name wait, and nothing that was asked for after them."""
        return bool(self._waiting) and self._waiting[-1].name == what

    def when_idle(
        self,
        action: Callable[[], object],
        run: str = "",
        change: Callable[[Session], object] | None = None,
        reads: bool = True,
    ) -> None:
        """Act now, or when the run has ended and what was asked for before is done.

        Parameters
        ----------
        action : callable
            What is to be done.
        run : str
            The name of the run that is asked for, where it is one: it takes the place of one that
            waits under the same name, and is dropped by `stop`.
        change : callable, optional
            Does to any session, in any thread, what the action does to this one: it is saved while
            it waits.
        reads : bool
            Whether what is drawn matters: it is then, meanwhile, what it is now.
        """
        if run:
            self._drop_runs(run)
        self._do_or_wait(action, run, is_run=bool(run), change=change, reads=reads)

    def take_when_idle(
        self,
        what: str,
        action: Callable[[], object],
        change: Callable[[Session], object] | None = None,
        reads: bool = True,
    ) -> None:
        """Take or answer prompts now, or when the run has ended.

        For `change` and `reads` see `when_idle`.

        Parameters
        ----------
        what : str
            What it is: asked for twice, with nothing else in between, it is done once.
        action : callable
            What is to be done.
        """
        if self.waits_last(what):
            self._waiting.pop()
        self._do_or_wait(action, what, is_run=False, change=change, reads=reads)

    def stop(self, outcome: str) -> None:
        """Stop the run, as `Runs.stop` does, and drop runs that wait; all else is still done."""
        self._drop_runs()
        self._runs.stop(outcome)

    def close(self) -> None:
        """End the run, carry out what waits, and start no run any longer."""
        self._closed = True
        self._drop_runs()
        self._runs.close()
        self._go_on()

    def run_frame(self, stack: StackKey, frame: int) -> None:
        """Show the masks of the prompts on a frame, as soon as that can be."""
        self.take_when_idle(
            f"frame {frame} of {stack}",
            lambda: self._start(stack, (frame, frame), None, lambda: self._summary(stack, frame)),
            reads=False,
        )

    def run_frames(self, stack: StackKey, first: int, last: int) -> None:
        """Show the masks of the prompts on several frames; no run may be under way."""
        self._start(stack, (first, last), None)

    def run_pass(self, stack: StackKey, frames: tuple[int, int], request: PassRequest) -> None:
        """Carry the objects of a stack to other frames; no run may be under way.

        Parameters
        ----------
        stack : StackKey
            The stack.
        frames : tuple of int
            First and last frame that the pass comes by.
        request : PassRequest
            Where to go.
        """
        self._start(stack, frames, request)

    def _start(
        self,
        stack: StackKey,
        frames: tuple[int, int],
        request: PassRequest | None,
        summary: Callable[[], str] = str,
    ) -> None:
        if self._closed:
            return
        image = self._workspace.find_image(stack.image)
        if image is None:  # deleted while this was waiting
            return
        channels = self._workspace.channels
        target = self._workspace.targets.make(image, channels.of(image))
        largest = max((object_id for object_id, _ in self._session.prompts(stack)), default=0)
        if largest > largest_label(target):
            show_error(
                f"Object {largest} is more than the layer “{target.name}” can hold, which ends at "
                f"{largest_label(target)}. Choose another Labels layer for the results."
            )
            return
        for told in channels.drop_lost(image):
            show_warning(told)
        earlier = self._sources.get(image)
        source = self._sources[image] = stack_source(image, stack, earlier, channels.of(image))
        source = replace(source, view=self._view(image, stack))
        limits, seen = source.contrast_limits, source.channels
        run = Run(stack, self.model, limits, frames, request, channels=seen, view=source.view)
        self._runs.start(run, source, summary)

    def _view(self, image: Image, stack: StackKey) -> tuple[float, float, float, float] | None:
        geometry = StackGeometry(stack, image_shape(image))
        if self.in_view and geometry.frame_count == 1:
            with suppress(ValueError):  # nothing is in view
                rows, columns = part_in_view(self._workspace.viewer.dims, image, geometry)
                if rows.start is not None:  # as in a 3D view
                    return rows.start, columns.start, rows.stop - 1, columns.stop - 1
        return None

    def _do_or_wait(
        self,
        action: Callable[[], object],
        name: str,
        *,
        is_run: bool,
        change: Callable[[Session], object] | None,
        reads: bool,
    ) -> None:
        if not self.is_busy:
            action()
            return
        drawn = {layer: Drawing.of(layer) for layer in self._drawn_in()} if reads else None
        chosen = self._workspace.prompts.chosen()
        self._waiting.append(_Waiting(action, name, is_run, change, drawn, chosen))
        if change is not None:
            self.noted.emit()

    def _drawn_in(self) -> list[Points | Shapes]:
        return [layer for _, _, layer in self._workspace.prompts.every()]

    def _go_on(self) -> None:
        """Do what waits, one after the other, the window being drawn in between."""
        if not self._waiting or self._runs.is_busy:
            return
        if not self._closed and self._is_mouse_busy():
            QTimer.singleShot(DRAWING_MS, self._go_on)
            return
        first, *later = self._waiting
        there = self._drawn_in()
        self._waiting, self._is_acting = [], True
        drawn = [each.drawn for each in later if each.drawn is not None]
        try:
            if first.drawn is None:
                first.action()
            else:
                chosen = self._workspace.prompts.as_chosen(first.chosen)
                with chosen, as_they_were(there, first.drawn, drawn):
                    first.action()
                for layer in set(self._drawn_in()).difference(there):  # made by it, as by undo
                    for each in drawn:
                        each.setdefault(layer, Drawing.of(layer))
        except Exception as error:  # what else waits must not wait forever
            tell_error(error)
        finally:
            self._waiting += later  # after what the first has led to
            self._is_acting = False
        if self._closed:
            self._go_on()
        elif self._waiting:
            QTimer.singleShot(0, self._go_on)

    def _is_mouse_busy(self) -> bool:
        """Whether a shape is being drawn, or something dragged; a shape that was left is ended."""
        active = self._workspace.viewer.layers.selection.active
        for layer in self._drawn_in():
            if is_being_drawn(layer) and layer is not active:
                end_drawing(layer)
        return active in self._drawn_in() and (is_being_drawn(active) or is_dragged(active))

    def _drop_runs(self, name: str = "") -> None:
        """Drop the runs that wait: those of a name, or else all."""
        self._waiting = [w for w in self._waiting if not w.is_run or name not in ("", w.name)]

    def _summary(self, stack: StackKey, frame: int) -> str:
        object_id = self._prompting.active[0]
        prompts = self._session.prompts(stack).get((object_id, frame))
        mask = self._session.masks(stack, frame).get(object_id)
        if prompts is None or mask is None:
            return ""
        return describe(
            object_id, prompts, self._session.choices(stack).get((object_id, frame)), mask
        )
