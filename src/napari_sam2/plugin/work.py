"""The model's work on the image in use: one run at a time, and what waits for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from napari.utils.notifications import show_error, show_warning
from psygnal import Signal

from napari_sam2.plugin.candidates import describe
from napari_sam2.plugin.coordinates import StackGeometry, image_shape, part_in_view
from napari_sam2.plugin.layers.drawings import Drawing, as_they_were
from napari_sam2.plugin.layers.image_source import stack_source
from napari_sam2.plugin.layers.labels_layer import largest_label
from napari_sam2.session.log import Run
from napari_sam2.session.values import ModelChoice

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Points, Shapes

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
    drawn: dict[Points | Shapes, Drawing]  # what the prompt layers showed when it was asked for


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
        self._closed = False
        runs.ended.connect(self._go_on)

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._runs.is_busy

    def waiting(self) -> list[Callable[[Session], object]]:
        """The changes of the session that wait, in order, each to be called with a session."""
        return [each.change for each in self._waiting if each.change is not None]

    def waits_last(self, what: str) -> bool:
        """Whether prompts under a name wait, and nothing that was asked for after them."""
        return bool(self._waiting) and self._waiting[-1].name == what

    def when_idle(
        self,
        action: Callable[[], object],
        run: str = "",
        change: Callable[[Session], object] | None = None,
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
        """
        if run:
            self._drop_runs(run)
        if self._do_or_wait(action, run, is_run=bool(run), change=change) and change is not None:
            self.noted.emit()

    def take_when_idle(self, what: str, action: Callable[[], object]) -> None:
        """Take or answer prompts now, or when the run has ended.

        Parameters
        ----------
        what : str
            What it is: asked for twice, with nothing else in between, it is done once.
        action : callable
            What is to be done.
        """
        if self.waits_last(what):
            self._waiting.pop()
        if self._do_or_wait(action, what):
            self.noted.emit()

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
        image = self._workspace.image
        if image is None or stack.image != str(image.unique_id):
            return  # Deleted or left while the run was waiting.
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
        is_run: bool = False,
        change: Callable[[Session], object] | None = None,
    ) -> bool:
        """Act now, unless a run is under way; whether it waits."""
        if not self.is_busy:
            action()
            return False
        drawn = {layer: Drawing.of(layer) for _, _, layer in self._workspace.prompts.every()}
        self._waiting.append(_Waiting(action, name, is_run, change, drawn))
        return True

    def _go_on(self) -> None:
        while self._waiting and not self.is_busy:
            first, *later = self._waiting
            self._waiting = []
            layers = [layer for _, _, layer in self._workspace.prompts.every()]
            try:
                with as_they_were(layers, first.drawn, [each.drawn for each in later]):
                    first.action()
            finally:
                self._waiting += later  # after what the first has led to

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
