"""Ties a viewer, a session and a worker together.

Widgets call methods here and listen to the signals; the model works in a `JobRunner`. Errors become
notifications here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.plugin.downloads import Downloads
from napari_sam2.plugin.drawn_elsewhere import DrawnElsewhere
from napari_sam2.plugin.edits import Edits
from napari_sam2.plugin.job_runner import Jobs
from napari_sam2.plugin.layers.drawings import end_drawing, is_being_drawn
from napari_sam2.plugin.layers.image_identity import Identities
from napari_sam2.plugin.layers.own_layers import is_own, name_objects
from napari_sam2.plugin.layers.result_display import ResultDisplay
from napari_sam2.plugin.layers.workspace import Workspace
from napari_sam2.plugin.notify import tell_error
from napari_sam2.plugin.objects import Objects
from napari_sam2.plugin.plane_commands import PlaneCommands
from napari_sam2.plugin.prompting import Prompting
from napari_sam2.plugin.runs import Runs
from napari_sam2.plugin.samples import Samples
from napari_sam2.plugin.saving import Saving
from napari_sam2.plugin.session_files import SessionFiles
from napari_sam2.plugin.strokes import Strokes
from napari_sam2.plugin.target_choice import TargetChoice
from napari_sam2.plugin.work import Work
from napari_sam2.session.engine import Engine
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    import napari
    from napari.layers import Image, Labels, Points, Shapes

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.session.values import ModelChoice

_SHOWN_MS = 200  # within which a window that was opened is drawn
_REMOVED = {
    "image": "The image layer was deleted",
    "points": "The Points layer with the prompts was deleted",
    "shapes": "The Shapes layer with the prompts was deleted",
    "labels": "The Labels layer with the results was deleted",
}


class Controller:
    """Everything that the dock does.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    engine : Engine, optional
        Runs the model; used by the worker alone. By default a new one.

    Attributes
    ----------
    session : Session
        What the user has done.
    workspace : Workspace
        The layers in use.
    prompting : Prompting
        The active object, and the way of the prompts into the session.
    runs : Runs
        The work of the model, with its progress.
    objects : Objects
        What is done to whole objects.
    plane : PlaneCommands
        What is done to the plane in view, and from it.
    saving : Saving
        Saves the session all the time.
    files : SessionFiles
        What the user saves, exports, opens and restores.
    downloads : Downloads
        The download of a model.
    samples : Samples
        Opens an image to try things on.
    stepped : Signal(str)
        Emitted with what was undone or redone, in words.
    """

    stepped = Signal(str)

    def __init__(self, viewer: napari.Viewer, engine: Engine | None = None) -> None:
        self.session = Session()
        self.workspace = Workspace(viewer)
        self.prompting = Prompting(self.session, self.workspace)
        self.runs = Runs(engine or Engine(), self.session)
        self._work = Work(self.runs, self.session, self.workspace, self.prompting)
        self._edits = Edits(self.session, self.workspace, self.prompting, self._work)
        self.objects = Objects(
            self.session, self.workspace, self.prompting, self._work, self._edits
        )
        self._display = ResultDisplay(self.session, self.workspace.targets, viewer.dims)
        self.plane = PlaneCommands(
            self.session, self.workspace, self.prompting, self._work, self._edits, self._display
        )
        self._strokes = Strokes(
            self.session,
            self.workspace,
            self.prompting,
            self._edits,
            self._display,
            self.choose_image,
            self.undo,
            self.redo,
        )
        self._elsewhere = DrawnElsewhere(self.workspace, self.prompting, self.choose_image)
        self._jobs = Jobs()
        self._identities = Identities(self.workspace, self._jobs)
        self.saving = Saving(
            self.session, self.workspace, self._identities, self._jobs, self._work.waiting
        )
        self.files = SessionFiles(
            self.session,
            self.workspace,
            self.prompting,
            self._work,
            self.saving,
            self._identities,
            self._jobs,
        )
        self._work.noted.connect(self.saving.save_soon)
        self.downloads = Downloads()
        self.samples = Samples(viewer)
        self._target_choice = TargetChoice(
            self.session, self.workspace, self._display, self._on_target_chosen
        )
        self._closed = False
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        self.runs.noted.connect(show_info)
        self.runs.failed.connect(tell_error)
        self.downloads.failed.connect(tell_error)
        self.saving.failed.connect(tell_error)
        self._jobs.failed.connect(tell_error)
        self.runs.ended.connect(lambda run: self._display.refresh(run.stack.image))
        self.session.masks_changed.connect(self._display.write)
        self._display.failed.connect(self._on_display_failed)
        self.workspace.image_added.connect(self._adopt_image_soon)
        self.workspace.layer_removed.connect(self._on_layer_removed)

    @property
    def is_busy(self) -> bool:
        """Whether the model runs, or will at once."""
        return self._work.is_busy or self._edits.is_waiting

    @property
    def is_display_behind(self) -> bool:
        """Whether Labels layers lack something still: see `finish_display`."""
        return self._display.is_behind

    def finish_display(self) -> None:
        """Complete the Labels layers at once, before something else reads or writes them.

        By themselves they are complete a moment after a change; the planes in view, at once.
        """
        self._display.finish()

    def open(self) -> None:
        """Be ready for a first click on the image in the viewer, if there is one.

        The window is shown first: napari's first Points layer takes it half a second.
        """
        self.workspace.choose_image(self.workspace.likely_image())
        QTimer.singleShot(_SHOWN_MS, self._prepare_opened)

    def close(self) -> None:
        """Stop the worker, save what was done and let go of the viewer."""
        self._closed = True
        self.workspace.viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        try:
            self._work.close()
            self._edits.take_unsettled()
        finally:  # whatever fails in a window that is half gone
            self.saving.close()
        self._identities.close()
        self._jobs.close()
        self._target_choice.close()
        self.downloads.close()
        self.samples.close()
        self._display.close()
        self._strokes.close()
        self._elsewhere.close()
        self.workspace.close()

    def set_model(self, choice: ModelChoice) -> None:
        """Use another model from the next run on."""
        self._work.model = choice

    def set_in_view(self, in_view: bool) -> None:
        """Show the model the part of a large plane that is in view, from the next prompt on."""
        self._work.in_view = in_view

    def set_auto_run(self, auto_run: bool) -> None:
        """Let edited prompts run by themselves, or not."""
        self._edits.auto_run = auto_run

    def toggle_sign(self) -> None:
        """Switch the next point between "belongs to the object" and "does not"."""
        self.prompting.toggle_sign()
        self.prepare_layers()

    def new_object(self) -> None:
        """Make new prompts belong to an object that has none yet."""
        self._edits.take_now()
        self.prompting.new_object()
        self.prepare_layers()

    def prepare_layers(self) -> None:
        """Make missing prompt layers, and let a click add a point."""
        self.workspace.prompts.make()
        self.workspace.prompts.use_object(*self.prompting.active)
        self.workspace.prompts.take_clicks()

    def use_tool(self, tool: str) -> None:
        """Let the mouse draw a point, a box, an outline or a scribble."""
        if self.workspace.viewer.dims.ndisplay == 3:
            show_warning(
                "Prompts are drawn in the 2D view: in 3D a click has no depth. Press the button "
                "“Toggle 2D/3D view” below the list of layers first."
            )
            return
        self.workspace.prompts.use_tool(tool)
        self.workspace.prompts.use_object(*self.prompting.active)

    def choose_image(self, image: Image | None) -> None:
        """Work on another image."""
        self._edits.take_unsettled()  # it is for the image before
        self.prompting.leave_image()
        self.workspace.choose_image(image)
        if image is None:
            return
        self.prompting.enter_image()
        self.prepare_layers()
        if not self._edits.has_unread() and self.prompting.has_changed(str(image.unique_id)):
            self._edits.take_now()  # what was drawn while another one was in use

    def choose_points(self, layer: Points | None) -> None:
        """Read points from another layer; None makes one."""
        self._choose_prompts("points", layer)

    def choose_shapes(self, layer: Shapes | None) -> None:
        """Read shapes from another layer; None makes one."""
        self._choose_prompts("shapes", layer)

    def choose_target(self, layer: Labels | None) -> None:
        """Write results to another layer, with numbers that are free there; None makes one."""
        if self.workspace.image is not None:
            self._target_choice.choose(self.workspace.image, layer)

    def set_protect(self, protect: bool) -> None:
        """Let masks fill the background of a Labels layer only, or cover other labels, too."""
        self._display.set_protect(protect)

    def undo(self) -> None:
        """Take back what was done last; a run that is under way is stopped and taken back.

        While the mouse draws a shape, that is what was done last.
        """
        for _, _, layer in self.workspace.prompts.every():
            if is_being_drawn(layer) and not end_drawing(layer):
                return
        self._stop("Cancelled")
        self._work.when_idle(partial(self._undo, self._edits.has_unread()))

    def redo(self) -> None:
        """Do again what was taken back last; a shape that the mouse draws is ended."""
        for _, _, layer in self.workspace.prompts.every():
            if is_being_drawn(layer):
                end_drawing(layer)
        self._edits.when_taken(self._redo)

    def cancel(self) -> None:
        """Stop after the frame that is being worked on; what was found stays.

        Runs that wait are dropped, and what else was done meanwhile is carried out.
        """
        self._stop("Cancelled")

    def _stop(self, outcome: str) -> None:
        if self._work.is_busy:
            self._work.stop(outcome)

    def _undo(self, unread: bool) -> None:
        if unread:  # else a point would be taken for a prompt in a stack that is merely in view
            self._edits.take_without_run()
        if name := self.session.undo_name:
            self.session.undo()
            self.stepped.emit(f"Undone: {name}")

    def _redo(self) -> None:
        if name := self.session.redo_name:
            self.session.redo()
            self.stepped.emit(f"Done again: {name}")

    def _choose_prompts(self, name: str, layer: Points | Shapes | None) -> None:
        self._edits.take_unsettled()
        if layer is not None and not is_own(layer) and not name_objects(layer):
            show_info(
                f"All in “{layer.name}” belongs to object 1, as the layer has no feature “object”. "
                "One object each makes an object of every point or shape in it."
            )
        self.workspace.prompts.choose(name, layer)
        self.prepare_layers()
        geometry = self.workspace.geometry()
        if geometry is not None:
            self._edits.take_layers(geometry, self.workspace.frame(geometry))

    def _on_ndisplay(self) -> None:
        # in 3D a click has no depth
        if self.workspace.viewer.dims.ndisplay == 3:
            self.workspace.prompts.rest()
        elif self.workspace.image is not None:
            self.prepare_layers()

    def _on_target_chosen(self) -> None:
        if self.prompting.is_active_new():
            self.new_object()

    def _on_display_failed(self, layer: Labels, error: Exception) -> None:
        if self.workspace.targets.forget_layer(layer):
            show_error(
                f"The layer “{layer}” does not take the results ({error}), so the run stops. "
                "What was found is kept; the next run writes it to a new layer."
            )
            self._stop("Stopped")

    def _adopt_image_soon(self) -> None:
        # napari makes a new layer the active one only after it has told of it.
        QTimer.singleShot(0, self._adopt_image)

    def _prepare_opened(self) -> None:
        if self.workspace.image is not None and not self._closed:
            self.prepare_layers()
            if self.workspace.prompts.numbers():  # an earlier dock has left prompts
                self.prompting.new_object()

    def _adopt_image(self) -> None:
        if self.workspace.image is None and not self._closed:
            self.choose_image(self.workspace.likely_image())

    def _on_layer_removed(self, name: str) -> None:
        if self.runs.is_busy and not self.runs.is_stopping:
            self._stop("Stopped")
            QTimer.singleShot(0, partial(self._tell_removed, name))
        if name in ("points", "shapes"):
            geometry = self.workspace.geometry()
            self._edits.keep_masks(geometry)
            QTimer.singleShot(0, partial(self._take_removed, geometry))
        if name == "image":
            self._adopt_image_soon()

    # Both a moment later: before napari closes it takes all layers away.

    def _tell_removed(self, name: str) -> None:
        if not self._closed:
            show_warning(f"{_REMOVED[name]}, so the run stops. What was found is kept.")

    def _take_removed(self, geometry: StackGeometry | None) -> None:
        if geometry is None or self._closed:
            return
        if self.workspace.find_image(geometry.key.image) is not None:
            self._edits.take_layers(geometry)
