"""The dock: sections from top to bottom as the work goes, wired to the controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam2.checkpoints.errors import CheckpointError
from napari_sam2.checkpoints.registry import CHECKPOINTS
from napari_sam2.plugin import keys
from napari_sam2.plugin.controller import Controller
from napari_sam2.plugin.runs import PROPAGATING
from napari_sam2.plugin.widgets import hint
from napari_sam2.plugin.widgets.docked import Docked, unwrapped
from napari_sam2.plugin.widgets.footer import Footer
from napari_sam2.plugin.widgets.image_section import ImageSection
from napari_sam2.plugin.widgets.model_section import ModelSection
from napari_sam2.plugin.widgets.objects_section import ObjectsSection
from napari_sam2.plugin.widgets.prompt_section import PromptSection
from napari_sam2.plugin.widgets.propagate_section import PropagateSection
from napari_sam2.plugin.widgets.restore_offer import RestoreOffer
from napari_sam2.plugin.widgets.session_section import SessionSection
from napari_sam2.plugin.widgets.timeline import TimelineSection
from napari_sam2.plugin.widgets.vertical_scroll import VerticalScroll
from napari_sam2.session.pass_request import PassRequest

if TYPE_CHECKING:
    import napari.viewer

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.session.engine import Engine
    from napari_sam2.session.values import ModelChoice

_ABSENT_FRAMES = 3
_OF_PROMPTS = ("Prompt ", "Remove prompts ")  # names of steps
_REFRESH_MS = 60  # so that a fast pass does not keep the window busy with its table


class Sam2Widget(Docked):
    """Segment an image by clicks, and carry the masks through a stack.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer that the dock belongs to.
    engine : Engine, optional
        Runs the model; by default a new one.
    """

    def __init__(self, viewer: napari.viewer.Viewer, engine: Engine | None = None) -> None:
        super().__init__()
        viewer = unwrapped(viewer)
        self.controller = Controller(viewer, engine)
        workspace = self.controller.workspace
        self.offer = RestoreOffer()
        self.hint = hint.Hint()
        self.model = ModelSection()
        self.image = ImageSection(viewer, workspace.is_target_candidate)
        self.prompts = PromptSection(viewer)
        self.objects = ObjectsSection()
        self.propagate = PropagateSection()
        self.timeline = TimelineSection()
        self.history = SessionSection()
        self.footer = Footer()
        self._done_last = ""
        self._lay_out()
        self._keys = keys.KeyBindings(
            viewer,
            {
                keys.NEW_OBJECT: self.controller.new_object,
                keys.TOGGLE_SIGN: self.controller.toggle_sign,
                keys.NEXT_CANDIDATE: self.controller.plane.next_candidate,
                keys.RUN_PLANE: self.controller.plane.run,
                keys.PROPAGATE: self._propagate,
                keys.CANCEL: self.controller.cancel,
                keys.UNDO: self.controller.undo,
                keys.REDO: self.controller.redo,
                keys.LEAST_CERTAIN: self.controller.objects.go_to_least_certain,
            },
        )
        combos = (self.image.image, self.image.target, self.prompts.points, self.prompts.shapes)
        self._has_propagated = False
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(_REFRESH_MS)
        self._refresh.timeout.connect(self._show_objects)
        self.when_closed(self.controller.close, self._keys.close)
        self.when_closed(*(combo.disconnect_viewer for combo in combos))
        self._wire()
        self.controller.open()

    def _lay_out(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(14)
        sections = (
            self.offer,
            self.hint,
            self.model,
            self.image,
            self.prompts,
            self.objects,
            self.propagate,
            self.timeline,
            self.history,
        )
        for section in sections:
            layout.addWidget(section)
        layout.addStretch(1)
        area = VerticalScroll(inside)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.setSpacing(0)
        outside.addWidget(area)
        outside.addWidget(self.footer)

    def _wire(self) -> None:
        controller, workspace = self.controller, self.controller.workspace
        self.model.model_chosen.connect(controller.set_model)
        self.model.download_asked.connect(
            lambda name: controller.downloads.start(CHECKPOINTS[name])
        )
        self.model.cancel_asked.connect(controller.downloads.cancel)
        controller.downloads.progressed.connect(self.model.show_download)
        controller.downloads.ended.connect(self.model.end_download)
        self.image.image.chosen.connect(controller.choose_image)
        self.image.channels.ticked.connect(
            lambda layer, on: workspace.channels.tick(workspace.image, layer, on)
        )
        workspace.channels.changed.connect(self._show_channels)
        self.image.axis_chosen.connect(workspace.choose_frame_axis)
        self.image.time_chosen.connect(workspace.say_time)
        self.image.target.chosen.connect(controller.choose_target)
        self.image.protect_changed.connect(controller.set_protect)
        self.prompts.points.chosen.connect(controller.choose_points)
        self.prompts.shapes.chosen.connect(controller.choose_shapes)
        self.prompts.tool_chosen.connect(controller.use_tool)
        workspace.prompts.tool_changed.connect(self.prompts.show_tool)
        self.prompts.active_chosen.connect(controller.prompting.set_active)
        self.prompts.new_object_asked.connect(controller.new_object)
        self.prompts.run_asked.connect(controller.plane.run)
        self.prompts.candidate_asked.connect(controller.plane.next_candidate)
        self.prompts.label_given.connect(controller.plane.use_label)
        self.prompts.label_taken_back.connect(controller.plane.remove_label)
        self.prompts.auto_run_changed.connect(controller.set_auto_run)
        self.prompts.in_view_changed.connect(controller.set_in_view)
        self.propagate.run_asked.connect(self._propagate)
        self.footer.cancel_asked.connect(controller.cancel)
        self.propagate.memory_chosen.connect(controller.runs.set_memory)
        self.history.undo_asked.connect(controller.undo)
        self.history.redo_asked.connect(controller.redo)
        self.history.save_asked.connect(controller.files.save_as)
        self.history.open_asked.connect(controller.files.open)
        self.history.export_asked.connect(controller.files.export)
        self.offer.answered.connect(controller.files.answer)
        controller.files.offered.connect(self.offer.ask)
        controller.files.model_found.connect(self._take_up_model)
        controller.session.history_changed.connect(self._show_history)
        self._wire_objects()
        workspace.layers_changed.connect(self._show_layers)
        workspace.stack_changed.connect(self._show_stack)
        controller.prompting.active_changed.connect(self.prompts.show_active)
        controller.runs.progressed.connect(self.footer.show_progress)
        controller.runs.status_changed.connect(self.footer.show_status)
        controller.runs.noted.connect(self.model.show_note)
        controller.runs.failed.connect(self._on_run_failed)
        controller.stepped.connect(self.footer.show_step)
        controller.runs.running_changed.connect(self._show_running)
        self.hint.sample_asked.connect(controller.samples.open)
        self._show_stack()
        self._show_objects()

    def _wire_objects(self) -> None:
        objects, workspace = self.controller.objects, self.controller.workspace
        prompting = self.controller.prompting
        self.objects.active_chosen.connect(
            lambda number: prompting.set_active(number, prompting.active[1])
        )
        self.prompts.one_each_asked.connect(objects.one_each)
        self.objects.model.renamed.connect(objects.rename)
        self.objects.model.shown.connect(objects.show)
        self.objects.delete_asked.connect(objects.delete)
        self.objects.merge_asked.connect(objects.merge)
        self.objects.split_asked.connect(objects.split)
        self.objects.frame_asked.connect(objects.go_to)
        self.timeline.frame_asked.connect(objects.go_to)
        self.timeline.least_certain_asked.connect(objects.go_to_least_certain)
        for signal in (
            objects.overview.changed,
            prompting.active_changed,
            workspace.stack_changed,
            workspace.slider_moved,
        ):
            signal.connect(self._show_objects_soon)

    def _show_objects_soon(self) -> None:
        if not self._refresh.isActive():
            self._refresh.start()

    def _show_objects(self) -> None:
        controller, overview = self.controller, self.controller.objects.overview
        geometry, active = controller.workspace.geometry(), controller.prompting.active[0]
        stack = None if geometry is None else geometry.key
        self.objects.show_objects(overview.summaries(stack))
        self.objects.show_active(active)
        self._show_hint(geometry)
        if stack is None or geometry is None:
            self.timeline.show_track(active, 1, {}, frozenset())
            return
        self.timeline.show_track(
            active,
            geometry.frame_count,
            overview.scores(stack, active),
            overview.prompted(stack, active),
        )
        self.timeline.show_frame(controller.workspace.frame(geometry))

    def _show_hint(self, geometry: StackGeometry | None) -> None:
        if geometry is None:
            self.hint.show_hint(hint.NO_IMAGE)
        elif not self.controller.session.objects:
            self.hint.show_hint(hint.CLICK)
        elif geometry.frame_count > 1 and not self._has_propagated:
            self.hint.show_hint(hint.PROPAGATE)
        else:
            self.hint.show_hint(hint.NOTHING)

    def _take_up_model(self, choice: ModelChoice) -> None:
        if not self.model.take_up(choice):
            show_warning(
                f"This session was made with {Path(choice.name).name}, which is not on this "
                "computer, so what you do next is done with another model. To go on as before, "
                "choose it under model."
            )

    def _propagate(self) -> None:
        section = self.propagate
        absent = _ABSENT_FRAMES if section.stop_when_absent.isChecked() else None
        objects = tuple(self.objects.selected) if section.selected_only.isChecked() else None
        self.controller.plane.propagate(
            PassRequest(section.direction.currentData(), section.limits, absent, objects)
        )

    def _show_layers(self) -> None:
        workspace = self.controller.workspace
        self.image.image.show_layer(workspace.image)
        self.image.target.show_layer(workspace.target)
        self.prompts.points.show_layer(workspace.prompts.points)
        self.prompts.shapes.show_layer(workspace.prompts.shapes)
        self._show_channels()

    def _show_channels(self) -> None:
        image, channels = self.controller.workspace.image, self.controller.workspace.channels
        self.image.show_channels(image, channels.fitting(image), channels.of(image))

    def _show_stack(self) -> None:
        workspace = self.controller.workspace
        geometry = workspace.geometry()
        axis = None if geometry is None else geometry.key.frame_axis
        self.image.show_axes(workspace.frame_axis_names(), axis)
        self.image.show_kind(workspace.is_time, workspace.is_axis_told)
        frame_count = 1 if geometry is None else geometry.frame_count
        self.propagate.show_stack(frame_count, workspace.is_time)

    def _show_history(self) -> None:
        session = self.controller.session
        self.history.show_history(session.undo_name, session.redo_name)
        done = session.undo_name
        # of prompts the run says more that they lead to, or that their change has stopped
        if done and done != self._done_last and not done.startswith(_OF_PROMPTS):
            self.footer.show_step(done)
        self._done_last = done

    def _on_run_failed(self, error: Exception) -> None:
        if isinstance(error, CheckpointError):
            self.model.refuse(str(error))

    def _show_running(self, name: str) -> None:
        self._has_propagated |= name == PROPAGATING
        self.footer.cancel.setEnabled(bool(name))
        self.propagate.run.setEnabled(name != PROPAGATING)
