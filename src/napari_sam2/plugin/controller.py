"""Ties a viewer, a session and a worker together.

Widgets call methods here and listen to the signals; the model works in a `JobRunner`. This is the
only place where an error becomes a notification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import notification_manager, show_error, show_info, show_warning
from qtpy.QtCore import QTimer

from napari_sam2.plugin.candidates import describe
from napari_sam2.plugin.downloads import Downloads
from napari_sam2.plugin.image_source import stack_source
from napari_sam2.plugin.label_prompts import read_label
from napari_sam2.plugin.labels_layer import largest_label
from napari_sam2.plugin.pass_request import WHOLE_STACK, PassRequest
from napari_sam2.plugin.prompting import Prompting
from napari_sam2.plugin.result_display import ResultDisplay
from napari_sam2.plugin.runs import Run, Runs
from napari_sam2.plugin.workspace import Workspace
from napari_sam2.session.engine import Engine, ModelChoice, StackSource
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Image, Labels, Points, Shapes

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.session.session import FrameChange, StackKey

SETTLE_MS = 150
SEGMENTING, PROPAGATING = "Segmenting", "Propagating"
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
    downloads : Downloads
        The download of a model.
    """

    def __init__(self, viewer: napari.Viewer, engine: Engine | None = None) -> None:
        self.session = Session()
        self.workspace = Workspace(viewer)
        self.prompting = Prompting(self.session, self.workspace)
        self.runs = Runs(engine or Engine(), self.session)
        self.downloads = Downloads()
        self._display = ResultDisplay(self.session, self.workspace.targets, viewer.dims)
        self._model = ModelChoice()
        self._source: StackSource | None = None
        self._auto_run = True
        self._closed = False
        self._waiting_pass: PassRequest | None = None
        self._waiting_frames: dict[StackKey, frozenset[int]] = {}
        # A change within this time of another replaces it.
        self._settle = QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._on_settled)
        self.runs.noted.connect(show_info)
        self.runs.failed.connect(_tell_error)
        self.downloads.failed.connect(_tell_error)
        self.runs.ended.connect(self._on_ended)
        self.session.masks_changed.connect(self._on_masks_changed)
        self.workspace.prompts_edited.connect(self._on_prompts_edited)
        self.workspace.image_added.connect(self._adopt_image_soon)
        self.workspace.layer_removed.connect(self._on_layer_removed)

    def open(self) -> None:
        """Be ready for a first click on the image in the viewer, if there is one."""
        self.choose_image(self.workspace.likely_image())

    def close(self) -> None:
        """Stop the worker and let go of the viewer."""
        self._closed = True
        self._settle.stop()
        self.runs.close()
        self.downloads.close()
        self._display.close()
        self.workspace.close()

    def set_model(self, choice: ModelChoice) -> None:
        """Use another model from the next run on."""
        self._model = choice

    def set_auto_run(self, auto_run: bool) -> None:
        """Let edited prompts run by themselves, or not."""
        self._auto_run = auto_run

    def toggle_sign(self) -> None:
        """Switch the next point between "belongs to the object" and "does not"."""
        self.prompting.toggle_sign()
        self.prepare_layers()

    def new_object(self) -> None:
        """Make new prompts belong to an object that has none yet."""
        self._on_settled()
        self.prompting.new_object()
        self.prepare_layers()

    def prepare_layers(self) -> None:
        """Make missing prompt layers, and let a click add a point."""
        self.workspace.make_prompt_layers()
        self.workspace.use_object(*self.prompting.active)
        self.workspace.take_clicks()

    def choose_image(self, image: Image | None) -> None:
        """Work on another image."""
        self.workspace.choose_image(image)
        if image is not None:
            self.prepare_layers()

    def choose_points(self, layer: Points | None) -> None:
        """Read points from another layer; None makes one."""
        self.workspace.choose_points(layer)
        self._take_other_layers()

    def choose_shapes(self, layer: Shapes | None) -> None:
        """Read shapes from another layer; None makes one."""
        self.workspace.choose_shapes(layer)
        self._take_other_layers()

    def choose_target(self, layer: Labels | None) -> None:
        """Write results to another layer, with numbers that are free there; None makes one."""
        image = self.workspace.image
        if image is not None:
            self.workspace.targets.choose(image, layer)
            self._display.refresh(str(image.unique_id))
            if self.prompting.is_active_new():
                self.new_object()

    def run_plane(self) -> None:
        """Show the masks of the prompts on the plane in view."""
        geometry = self._require_stack()
        if geometry is None:
            return
        frame = self.workspace.frame(geometry)
        if not any(key[1] == frame for key in self.session.prompts(geometry.key)):
            show_warning(
                "There is no prompt on this plane. Click the object in the Points layer, "
                "or draw it in the Shapes layer."
            )
            return
        self._run_frames(geometry.key, frozenset({frame}))

    def next_candidate(self) -> None:
        """Show another mask that the active object's prompts on the plane in view may mean."""
        self._change_plane(
            lambda stack, frame: self.prompting.choose_next_candidate(stack.key, frame)
        )

    def use_label(self) -> None:
        """Give the active object the label that is picked in the selected Labels layer as mask."""
        selected = self.workspace.viewer.layers.selection.active
        self._change_plane(
            lambda stack, frame: self.prompting.set_mask(
                stack.key, frame, read_label(selected, stack, frame)
            )
        )

    def remove_label(self) -> None:
        """Take back the label that the active object has as mask on the plane in view."""
        self._change_plane(lambda stack, frame: self.prompting.remove_mask(stack.key, frame))

    def propagate(self, request: PassRequest = WHOLE_STACK) -> None:
        """Carry every object from its prompts to other frames."""
        geometry = self._require_stack()
        if geometry is None:
            return
        if self.runs.is_busy:
            self._waiting_pass = request
            return
        prompts, choices = self.session.prompts(geometry.key), self.session.choices(geometry.key)
        try:
            frames = request.frames(geometry.frame_count, [frame for _, frame in prompts])
        except ValueError as error:
            show_warning(str(error))
            return
        if geometry.frame_count == 1:
            show_warning(
                "This image has one plane, so there is nothing to propagate to. "
                "The masks of this plane are made."
            )
            self._run_frames(geometry.key, frozenset({0}))
            return
        self._start(
            Run(
                geometry.key,
                frames,
                PROPAGATING,
                lambda engine, model, source: engine.propagate(
                    model,
                    source,
                    prompts,
                    request.direction,
                    request.narrowing(geometry.frame_count),
                    request.stop_when_absent,
                    choices,
                ),
            )
        )

    def cancel(self) -> None:
        """Stop after the frame that is being worked on; what was found stays."""
        self._stop("Cancelled")

    def _stop(self, outcome: str) -> None:
        self._waiting_pass = None
        self._waiting_frames.clear()
        self.runs.stop(outcome)

    def _require_stack(self) -> StackGeometry | None:
        geometry = self.workspace.geometry()
        if geometry is None:
            show_warning(
                "There is no image layer. Open an image first: drag a file into the window."
            )
            return None
        self.workspace.make_prompt_layers()
        self._take_prompts()
        return geometry

    def _change_plane(self, change: Callable[[StackGeometry, int], None]) -> None:
        """Change prompts on the plane in view; a ValueError says why that cannot be."""
        geometry = self._require_stack()
        if geometry is None:
            return
        frame = self.workspace.frame(geometry)
        try:
            change(geometry, frame)
        except ValueError as error:
            show_warning(str(error))
            return
        if any(key[1] == frame for key in self.session.prompts(geometry.key)):
            self._run_frames(geometry.key, frozenset({frame}))

    def _take_prompts(self, keep_masks: bool = False) -> frozenset[int]:
        self._settle.stop()
        taken = self.prompting.take(keep_masks)
        for problem in taken.problems:
            show_warning(problem)
        return taken.frames

    def _take_other_layers(self) -> None:
        self.prepare_layers()
        self._take_prompts(keep_masks=True)
        self._run_plane_if_automatic(None)

    def _on_prompts_edited(self) -> None:
        self._settle.start()

    def _on_settled(self) -> None:
        self._run_plane_if_automatic(self._take_prompts())

    def _run_plane_if_automatic(self, changed: frozenset[int] | None) -> None:
        geometry = self.workspace.geometry()
        if not self._auto_run or geometry is None:
            return
        frame = self.workspace.frame(geometry)
        prompted = {key[1] for key in self.session.prompts(geometry.key)}
        if frame in prompted and (changed is None or frame in changed):
            self._run_frames(geometry.key, frozenset({frame}))

    def _run_frames(self, stack: StackKey, frames: frozenset[int]) -> None:
        if self.runs.is_busy:
            self._waiting_frames[stack] = self._waiting_frames.get(stack, frozenset()) | frames
            return
        prompts, choices = self.session.prompts(stack), self.session.choices(stack)
        self._start(
            Run(
                stack,
                frames,
                SEGMENTING,
                lambda engine, model, source: engine.run_frames(
                    model, source, prompts, frames, choices
                ),
                lambda: self._summary(stack, frames),
            )
        )

    def _summary(self, stack: StackKey, frames: frozenset[int]) -> str:
        object_id, frame = self.prompting.active[0], min(frames)
        prompts = self.session.prompts(stack).get((object_id, frame))
        mask = self.session.masks(stack, frame).get(object_id)
        if len(frames) > 1 or prompts is None or mask is None:
            return ""
        return describe(
            object_id, prompts, self.session.choices(stack).get((object_id, frame)), mask
        )

    def _start(self, run: Run) -> None:
        image = self.workspace.image
        if image is None or run.stack.image != str(image.unique_id):
            return  # Deleted or left while the run was waiting.
        target = self.workspace.targets.make(image)
        largest = max((object_id for object_id, _ in self.session.prompts(run.stack)), default=0)
        if largest > largest_label(target):
            show_error(
                f"Object {largest} is more than the layer “{target.name}” can hold, which ends at "
                f"{largest_label(target)}. Choose another Labels layer for the results."
            )
            return
        self._source = stack_source(image, run.stack, self._source)
        self.runs.start(run, self._model, self._source)

    def _on_ended(self, run: Run) -> None:
        self._display.refresh(run.stack.image)
        if self._waiting_pass is not None:
            # It takes all prompts along, so that no frame has to wait any longer.
            waiting, self._waiting_pass = self._waiting_pass, None
            self._waiting_frames.clear()
            self.propagate(waiting)
        while self._waiting_frames and not self.runs.is_busy:
            self._run_frames(*self._waiting_frames.popitem())

    def _on_masks_changed(self, change: FrameChange) -> None:
        try:
            self._display.write(change)
        except Exception as error:
            target = self.workspace.targets.of(change.stack.image)
            self.workspace.targets.forget(change.stack.image)
            show_error(
                f"The layer “{target}” does not take the results ({error}), so the run stops. "
                "What was found is kept; the next run writes it to a new layer."
            )
            self._stop("Stopped")

    def _adopt_image_soon(self) -> None:
        # napari makes a new layer the active one only after it has told of it.
        QTimer.singleShot(0, self._adopt_image)

    def _adopt_image(self) -> None:
        if self.workspace.image is None and not self._closed:
            self.open()

    def _on_layer_removed(self, name: str) -> None:
        if name in ("points", "shapes"):
            self._take_prompts(keep_masks=True)
        if self.runs.is_busy:
            show_warning(f"{_REMOVED[name]}, so the run stops. What was found is kept.")
            self._stop("Stopped")
        if name == "image":
            self._adopt_image_soon()


def _tell_error(error: Exception) -> None:
    if isinstance(error, ValueError | TypeError | OSError | MemoryError):
        show_error(str(error) or type(error).__name__)
    else:
        # Not foreseen: this kind of notification also shows where it happened.
        notification_manager.receive_error(type(error), error, error.__traceback__)
