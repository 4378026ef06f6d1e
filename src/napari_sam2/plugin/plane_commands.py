"""What keys and buttons ask of the plane in view, and of the stack that it lies in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning

from napari_sam2.plugin.layers.label_prompts import read_label
from napari_sam2.plugin.prompt_commands import choose_next_candidate, give_mask, take_mask_back
from napari_sam2.session.pass_request import WHOLE_STACK, PassRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.edits import Edits
    from napari_sam2.plugin.layers.result_display import ResultDisplay
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.work import Work
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import StackKey


class PlaneCommands:
    """Acts on the plane that is in view when it is asked, though the model be at work still.

    Parameters
    ----------
    session : Session
        Has the prompts.
    workspace : Workspace
        Knows the plane in view.
    prompting : Prompting
        Knows the active object.
    work : Work
        Runs the model, and tells when the session can be changed.
    edits : Edits
        Takes what is drawn into the session.
    display : ResultDisplay
        Has labels to write still, which may be asked for as masks.
    """

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        prompting: Prompting,
        work: Work,
        edits: Edits,
        display: ResultDisplay,
    ) -> None:
        self._session, self._workspace, self._prompting = session, workspace, prompting
        self._work, self._edits, self._display = work, edits, display

    def run(self) -> None:
        """Show the masks of the prompts on the plane in view."""
        self._on_plane(self._run, "run")

    def next_candidate(self) -> None:
        """Show another mask that the active object's prompts on the plane in view may mean."""
        self._change_plane(choose_next_candidate)

    def use_label(self) -> None:
        """Give the active object the label that is picked in the selected Labels layer as mask."""
        plane = self._plane()
        if plane is None:
            return
        self._display.finish()
        try:
            mask = read_label(self._workspace.viewer.layers.selection.active, *plane)
        except ValueError as error:
            show_warning(str(error))
            return
        self._change_plane(partial(give_mask, mask))

    def remove_label(self) -> None:
        """Take back the label that the active object has as mask on the plane in view."""
        self._change_plane(take_mask_back)

    def propagate(self, request: PassRequest = WHOLE_STACK) -> None:
        """Carry every object from its prompts to other frames."""
        self._on_plane(lambda stack, _: self._propagate(stack, request), "propagate")

    def _plane(self) -> tuple[StackGeometry, int] | None:
        """The stack and the plane in view; without an image, that is told."""
        geometry = self._workspace.geometry()
        if geometry is None:
            show_warning(
                "There is no image layer. Open an image first: drag a file into the window."
            )
            return None
        return geometry, self._workspace.frame(geometry)

    def _on_plane(self, action: Callable[[StackGeometry, int], None], run: str) -> None:
        """Act on the plane that is in view now, with its prompts as they are then.

        For `run` see `Work.when_idle`.
        """
        plane = self._plane()
        if plane is None:
            return
        self._workspace.prompts.make()

        def act() -> None:
            self._edits.take(plane[0])
            action(*plane)

        self._work.when_idle(act, run)

    def _change_plane(self, change: Callable[[Session, StackKey, int, int], None]) -> None:
        """Change the prompts of the object that is active now, on the plane that is in view now.

        A ValueError says why that cannot be.
        """
        plane = self._plane()
        if plane is None:
            return
        geometry, frame = plane
        stack, object_id = geometry.key, self._prompting.active[0]
        self._workspace.prompts.make()
        if self._work.is_busy:
            self._prompting.reserve(object_id)

        def act() -> None:
            self._edits.take(geometry)
            with self._session.step():
                try:
                    change(self._session, stack, object_id, frame)
                except ValueError as error:
                    show_warning(str(error))
                    return
                if any(key[1] == frame for key in self._session.prompts(stack)):
                    self._work.run_frame(stack, frame)

        self._work.when_idle(act, change=lambda session: change(session, stack, object_id, frame))

    def _run(self, geometry: StackGeometry, frame: int) -> None:
        if not any(key[1] == frame for key in self._session.prompts(geometry.key)):
            show_warning(
                "There is no prompt on this plane. Click the object in the Points layer, "
                "or draw it in the Shapes layer."
            )
            return
        self._work.run_frame(geometry.key, frame)

    def _propagate(self, geometry: StackGeometry, request: PassRequest) -> None:
        try:
            frames = request.frames(geometry.frame_count, self._session.prompts(geometry.key))
        except ValueError as error:
            show_warning(str(error))
            return
        if geometry.frame_count == 1:
            show_warning(
                "This image has one plane, so there is nothing to propagate to. "
                "The masks of this plane are made."
            )
            self._work.run_frame(geometry.key, 0)
            return
        self._work.run_pass(geometry.key, frames, request.narrowed(geometry.frame_count))
