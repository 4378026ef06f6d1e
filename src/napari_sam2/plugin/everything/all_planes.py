"""Everything on all planes of a stack: labels that go through it, and tracks over time."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, cast

from psygnal import Signal

from napari_sam2.plugin.coordinates import (
    axis_name,
    frame_axes,
    is_shown,
    stack_geometry,
)
from napari_sam2.plugin.everything.result_layers import (
    add_stack_layer,
    stack_layer,
    stack_view,
    tracks_layer,
)
from napari_sam2.plugin.job_runner import Failure, JobRunner
from napari_sam2.plugin.layers.axis_kinds import AxisKinds
from napari_sam2.plugin.layers.image_source import stack_source
from napari_sam2.plugin.layers.labels_layer import insert_above

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Image, Labels

    from napari_sam2.inference.automatic.everything import EverythingSettings
    from napari_sam2.inference.automatic.found_masks import Thresholds
    from napari_sam2.inference.automatic.stack_segmenter import StackObjects
    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.everything.loaded_model import LoadedModel

_EVENTS = ("order", "ndim", "range", "axis_labels")
_UNJOINED = "What was found stays, but is not joined: an object has another number on each plane."
_IMAGE_GONE = "Stopped, as the image was deleted,"
_LABELS_GONE = "Stopped, as the labels were deleted."
_IN_PARTS = " Planes were looked at in parts, as they are much larger than the model's input."


@dataclass(frozen=True)
class Offer:
    """Which stack of an image can be segmented.

    Attributes
    ----------
    axes : dict of int to str
        The axes that its planes may lie along, with their names.
    axis : int or None
        The one that they do; None for no stack.
    is_time : bool
        Whether that one is time, by its name or its unit.
    refusal : str
        Why there is no stack; else empty.
    """

    axes: dict[int, str]
    axis: int | None
    is_time: bool
    refusal: str


@dataclass(frozen=True)
class _Ready:
    """The model is loaded."""

    usual: Thresholds
    in_parts: bool


@dataclass(eq=False)
class _Run:
    """What is being worked on, and how far it is."""

    image: Image
    geometry: StackGeometry
    kind: Literal["z", "t"]
    layer: Labels
    began: float = 0.0
    in_parts: bool = False
    done: int = 0
    explained: float | None = None  # once objects are carried
    objects: StackObjects | None = None  # once they are linked
    outcome: str = "Cancelled"


class AllPlanes:
    """Segments all planes of a stack in a thread, and shows each as it comes.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    model : LoadedModel
        What is asked.

    Attributes
    ----------
    offered : Signal(object)
        Emitted with an `Offer` after anything that changes which stack is meant.
    progressed : Signal(int, int)
        Emitted with the planes done and to do.
    carried : Signal(float)
        Emitted while objects are carried with memory, with the part that is explained by now.
    status_changed : Signal(str)
        Emitted with a sentence on what is being done.
    running_changed : Signal(bool)
        Emitted when a run begins and ends.
    begun : Signal(float, float)
        Emitted with the usual score and stability of the model, once it is loaded.
    failed : Signal(object)
        Emitted with the exception that ended a run, or did not let it begin.
    """

    offered = Signal(object)
    progressed = Signal(int, int)
    carried = Signal(float)
    status_changed = Signal(str)
    running_changed = Signal(bool)
    begun = Signal(float, float)
    failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, model: LoadedModel) -> None:
        self._viewer, self._model = viewer, model
        self._image: Image | None = None
        self._axis: int | None = None
        self._run: _Run | None = None
        self._runner = JobRunner()
        self._runner.yielded.connect(self._on_step)
        self._runner.finished.connect(self._on_finished)
        for name in _EVENTS:
            viewer.dims.events[name].connect(self._offer)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._runner.is_busy

    @property
    def offer(self) -> Offer:
        """Which stack can be segmented."""
        image, dims = self._image, self._viewer.dims
        if image is None:
            return Offer({}, None, False, "There is no image.")
        axes = {axis: axis_name(dims, image, axis) for axis in frame_axes(dims, image)}
        if not axes:
            return Offer({}, None, False, "The image is one plane: Segment all above does it.")
        geometry = stack_geometry(dims, image, self._axis)
        axis = geometry.key.frame_axis
        assert axis is not None
        refusal = ""
        if geometry.frame_count == 1:
            refusal = (
                f"There is one plane along {axes[axis]}. Choose another axis, if there is any."
            )
        return Offer(axes, axis, AxisKinds().is_time(dims, image, axis), refusal)

    def choose_image(self, image: Image | None) -> None:
        """Segment another image."""
        if image is not self._image:
            self._image, self._axis = image, None
            self._offer()

    def choose_axis(self, axis: int) -> None:
        """Take the planes along another axis of the image."""
        self._axis = axis
        self._offer()

    def start(self, kind: Literal["z", "t"], settings: EverythingSettings) -> None:
        """Segment the stack that is offered; does nothing while a run is under way.

        Parameters
        ----------
        kind : {"z", "t"}
            Whether objects go on through depth, or move over time and divide.
        settings : EverythingSettings
            Points, crops and thresholds. The model is that of this dock.
        """
        image = self._image
        if self._runner.is_busy or image is None or self.offer.refusal:
            return
        geometry = stack_geometry(self._viewer.dims, image, self._axis)
        source = stack_source(image, geometry.key, None)
        try:
            layer = stack_layer(self._viewer.layers, image, geometry)
        except MemoryError as error:
            self.failed.emit(error)
            return
        labels = stack_view(layer.data, geometry.key)

        def job() -> Iterator[object]:
            link = settings.linker(kind)
            generator = settings.generator(self._model.get())
            in_parts = settings.in_parts(geometry.plane_shape, generator.model)
            yield _Ready(generator.usual, in_parts)
            yield from settings.frame_steps(
                generator, source.frames(), link, labels, source.contrast_limits
            )

        self._run = _Run(image, geometry, kind, layer)
        self.running_changed.emit(True)
        self.progressed.emit(0, geometry.frame_count)
        self.status_changed.emit("Loading the model…")
        self._runner.start(job)

    def cancel(self) -> None:
        """Stop after the plane that is being searched; what was found stays."""
        if self.is_busy:
            self.status_changed.emit("Stopping after this plane…")
            self._runner.cancel()

    def close(self) -> None:
        """Stop everything."""
        self._runner.close()
        for name in _EVENTS:
            self._viewer.dims.events[name].disconnect(self._offer)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        if self._run is not None:
            self._run.layer.editable = True

    def _offer(self) -> None:
        self.offered.emit(self.offer)

    def _on_removed(self, event: Any) -> None:
        run = self._run
        if run is None or event.value not in (run.image, run.layer):
            return
        if run.outcome != _LABELS_GONE:
            run.outcome = _IMAGE_GONE if event.value is run.image else _LABELS_GONE
        self.cancel()

    def _on_step(self, step: object) -> None:
        run = self._run
        assert run is not None
        if isinstance(step, Failure):
            run.outcome = "Stopped by an error"
            self.failed.emit(step.error)
        elif isinstance(step, _Ready):
            run.began, run.in_parts = monotonic(), step.in_parts
            self.begun.emit(step.usual.score, step.usual.stability)
            self._tell("Searching the first plane…")
        else:
            objects = cast("StackObjects", step)
            if objects.is_linked:
                self._show_joined(run, objects)
            elif run.outcome not in (_IMAGE_GONE, _LABELS_GONE):
                show = self._show_plane if objects.explained is None else self._show_carried
                show(run, objects)

    def _show_plane(self, run: _Run, objects: StackObjects) -> None:
        layers, layer = self._viewer.layers, run.layer
        if not run.done:
            add_stack_layer(layers, layer, run.image, run.geometry.key)
            layer.editable = False  # what is painted now would be given another number
        run.done = objects.done
        self.progressed.emit(objects.done, objects.frames)
        if is_shown(self._viewer.dims, layer, run.geometry, objects.done - 1):
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        left = objects.frames - objects.done
        seconds = (monotonic() - run.began) / objects.done * left
        self._tell(f"{_duration(seconds)} left" if left else "Joining what was found…")

    def _show_carried(self, run: _Run, objects: StackObjects) -> None:
        assert objects.explained is not None
        if objects.explained != run.explained:  # objects were added; there is nothing new else
            run.explained = objects.explained
            run.layer.refresh(thumbnail=False, highlight=False, extent=False)
            self.carried.emit(objects.explained)
            self._tell("Carrying what was found through the stack…")

    def _show_joined(self, run: _Run, objects: StackObjects) -> None:
        run.objects = objects
        run.layer.refresh()
        layers = self._viewer.layers
        if run.kind == "t" and run.layer in layers:
            tracks = tracks_layer(objects, run.image, run.geometry.key)
            if tracks is not None:
                insert_above(layers, (run.layer,), tracks)

    def _tell(self, text: str) -> None:
        if not self._runner.is_cancelled:  # which has been told
            self.status_changed.emit(text)

    def _on_finished(self) -> None:
        run, self._run = self._run, None
        assert run is not None
        run.layer.editable = True
        self.running_changed.emit(False)
        self.status_changed.emit(_summary(run))


def _summary(run: _Run) -> str:
    """How a run has ended."""
    objects, frames = run.objects, run.geometry.frame_count
    if objects is None:
        if run.outcome == _LABELS_GONE:
            return run.outcome
        if not run.done:
            return f"{run.outcome} before the first plane was done."
        if run.explained is not None:
            return (
                f"{run.outcome} while objects were carried. What was found stays, but is not "
                "complete."
            )
        return f"{run.outcome} after {run.done} of {frames} planes. {_UNJOINED}"
    count = len(set(objects.tracks[:, 0]))
    text = f"{_counted(count, 'object')} on {frames} planes."
    if run.kind == "t":
        divisions = len(set(objects.parents.values()))
        text = f"{_counted(count, 'track')}, {_counted(divisions, 'division')}."
    return text + _IN_PARTS * run.in_parts


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "Less than a minute"
    if seconds < 5400:
        return f"About {round(seconds / 60)} min"
    return f"About {seconds / 3600:.1f} hours"
