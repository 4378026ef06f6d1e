"""The layers that the user works with, and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_sam2.plugin.coordinates import (
    StackGeometry,
    axis_name,
    current_frame,
    equally_placed,
    frame_axes,
    placement,
    slider_index,
    stack_geometry,
    unit_factors,
)
from napari_sam2.plugin.layers.axis_kinds import AxisKinds
from napari_sam2.plugin.layers.channels import Channels
from napari_sam2.plugin.layers.own_layers import is_made_for
from napari_sam2.plugin.layers.prompt_layers import PromptLayers
from napari_sam2.plugin.layers.prompt_reading import PromptReading, read_prompts
from napari_sam2.plugin.layers.targets import Targets

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer, Points, Shapes

_PLACED = ("scale", "translate", "rotate", "shear", "affine", "units")  # what places a layer


class Workspace:
    """Which layers of a viewer are the image, the prompts and the results.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    prompts : PromptLayers
        The layers with the prompts.
    channels : Channels
        The layers that the model sees together with the image.
    targets : Targets
        The Labels layers with the results.
    kinds : AxisKinds
        Whether frames lie along z or time.
    layers_changed : Signal()
        Emitted after another layer was chosen, by the user or because one was deleted.
    stack_changed : Signal()
        Emitted after anything that changes which planes are meant or how they are named.
    slider_moved : Signal()
        Emitted after the viewer shows another plane.
    image_added : Signal()
        Emitted after an image was added to a viewer without one in use.
    layer_removed : Signal(str)
        Emitted after a chosen layer was deleted: "image", "points", "shapes" or "labels".
    """

    layers_changed = Signal()
    stack_changed = Signal()
    slider_moved = Signal()
    image_added = Signal()
    layer_removed = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self._frame_axes: dict[str | None, int | None] = {}  # as chosen, by image
        self.prompts = PromptLayers(viewer)
        self.channels = Channels(viewer)
        self.targets = Targets(viewer)
        self.kinds = AxisKinds()
        self.kinds.changed.connect(self._on_stack_changed)
        self.prompts.changed.connect(self.layers_changed.emit)
        self.targets.changed.connect(self.layers_changed.emit)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for name in ("order", "ndim", "axis_labels"):
            viewer.dims.events[name].connect(self._on_stack_changed)
        viewer.dims.events.current_step.connect(self._on_slider_moved)

    def close(self) -> None:
        """Listen to nothing any longer."""
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        for name in ("order", "ndim", "axis_labels"):
            self.viewer.dims.events[name].disconnect(self._on_stack_changed)
        self.viewer.dims.events.current_step.disconnect(self._on_slider_moved)
        self.channels.close()
        self.prompts.close()
        self._listen_image(None)

    @property
    def image(self) -> Image | None:
        """The image in use."""
        return self.prompts.image

    @property
    def frame_axis(self) -> int | None:
        """Axis of the image that frames lie along, as it was chosen; None chooses."""
        return self._frame_axes.get(self.image_id)

    def likely_image(self) -> Image | None:
        """Image that the user probably means: the active layer, or else the topmost image."""
        layers = self.viewer.layers
        for layer in (layers.selection.active, *reversed(layers)):
            if isinstance(layer, Image):
                return layer
        return None

    def choose_image(self, image: Image | None) -> None:
        """Work on another image; None for no image."""
        if image is self.image:
            return
        self._listen_image(image)
        lost = self.prompts.use_image(image)
        self.layers_changed.emit()
        self.stack_changed.emit()
        for name in lost:  # deleted while another image was in use
            self.layer_removed.emit(name)

    def find_image(self, image_id: str) -> Image | None:
        """An image by what identifies it; None where it was deleted."""
        found = (each for each in self.viewer.layers if str(each.unique_id) == image_id)
        return next(found, None)

    def frame_axis_names(self) -> dict[int, str]:
        """Axes of the image that frames can lie along, with their names."""
        if self.image is None:
            return {}
        dims = self.viewer.dims
        return {axis: axis_name(dims, self.image, axis) for axis in frame_axes(dims, self.image)}

    def choose_frame_axis(self, axis: int | None) -> None:
        """Lay the frames along another axis of the image; None chooses."""
        if axis != self.frame_axis:
            self._frame_axes[self.image_id] = axis
            self.stack_changed.emit()

    @property
    def is_time(self) -> bool:
        """Whether frames lie along time."""
        axis = self._frame_axis
        return axis is not None and self.kinds.is_time(self.viewer.dims, self.image, axis)

    @property
    def is_axis_told(self) -> bool:
        """Whether the image tells what its frames lie along, or has none."""
        axis = self._frame_axis
        return axis is None or self.kinds.is_told(self.viewer.dims, self.image, axis)

    def say_time(self, is_time: bool) -> None:
        """Take the user's word for what frames lie along."""
        axis = self._frame_axis
        if axis is not None:
            self.kinds.say(self.image, axis, is_time)

    def axis_letters(self, image_id: str) -> str:
        """Letters for the axes of an image, as `AxisKinds.letters`."""
        return self.kinds.letters(self.viewer.dims, image_id, self.find_image(image_id))

    @property
    def _frame_axis(self) -> int | None:
        geometry = self.geometry()
        return None if geometry is None else geometry.key.frame_axis

    @property
    def image_id(self) -> str | None:
        """What identifies the image; None without one."""
        return self.prompts.image_id

    @property
    def target(self) -> Labels | None:
        """Layer that the results of the chosen image are written to."""
        return None if self.image_id is None else self.targets.of(self.image_id)

    def is_target_candidate(self, layer: Layer) -> bool:
        """Whether results of the chosen image could be written to a layer."""
        return self.targets.is_candidate(layer, self.image)

    def geometry(self) -> StackGeometry | None:
        """Stack that the viewer shows; None without an image."""
        return None if self.image is None else self.geometry_of(self.image)

    def geometry_of(self, image: Image) -> StackGeometry:
        """Stack that the viewer shows of an image, perhaps one that is not in use."""
        frame_axis = self._frame_axes.get(str(image.unique_id))
        return stack_geometry(self.viewer.dims, image, frame_axis)

    def frame(self, geometry: StackGeometry) -> int:
        """Frame that the slider stands at."""
        assert self.image is not None
        return current_frame(self.viewer.dims, self.image, geometry)

    def go_to(self, geometry: StackGeometry, frame: int) -> None:
        """Move the sliders to a frame of a stack."""
        if self.image is None:
            return
        dims = self.viewer.dims
        here = slider_index(dims, self.image, geometry.shape)
        held = {a: index for a, index in geometry.held_axes(frame) if index != here[a]}
        world = self.image.data_to_world([held.get(a, index) for a, index in enumerate(here)])
        world = np.asarray(world) / unit_factors(dims.units, self.image)
        offset = dims.ndim - self.image.ndim
        for axis in held:
            dims.set_point(axis + offset, world[axis])

    def read(self, geometry: StackGeometry) -> PromptReading | None:
        """Read the prompts of a stack, also of an image that was left; None where they are gone."""
        image = self.find_image(geometry.key.image)
        if image is None or not self.can_read(geometry):
            return None
        points, shapes = self._read_from(geometry)
        return read_prompts(points, shapes, image, geometry)

    def can_read(self, geometry: StackGeometry) -> bool:
        """Whether the image of a stack is there still, and what its prompts are read from."""
        there = all(each in (None, *self.viewer.layers) for each in self._read_from(geometry))
        return there and self.find_image(geometry.key.image) is not None

    def _read_from(self, geometry: StackGeometry) -> list[Points | Shapes | None]:
        return [self.prompts.of(geometry.key.image, name) for name in ("points", "shapes")]

    def _listen_image(self, image: Image | None) -> None:
        if self.image is not None:
            self.image.events.data.disconnect(self._on_stack_changed)
            for name in _PLACED:
                self.image.events[name].disconnect(self._on_placed)
        self.prompts.image = image
        if image is not None:
            image.events.data.connect(self._on_stack_changed)
            for name in _PLACED:
                image.events[name].connect(self._on_placed)
            self._on_placed()  # it may have been moved while another one was in use

    def _on_placed(self) -> None:
        """Lay our own layers where the image lies now: prompts and masks stay on its pixels."""
        assert self.image is not None
        placed = placement(self.image)
        for layer in self.viewer.layers:
            if is_made_for(layer, self.image) and not equally_placed(layer, self.image):
                for name in _PLACED:
                    setattr(layer, name, placed[name])

    # Axes go before their image is told to be gone: until then it has more than the viewer.

    def _on_stack_changed(self) -> None:
        if self.image is None or self.image in self.viewer.layers:
            self.stack_changed.emit()

    def _on_slider_moved(self) -> None:
        if self.image is None or self.image in self.viewer.layers:
            self.slider_moved.emit()

    def _on_inserted(self, event: Any) -> None:
        if self.image is None and isinstance(event.value, Image):
            self.image_added.emit()

    def _on_removed(self, event: Any) -> None:
        removed = event.value
        if removed is self.image:
            self._listen_image(None)
            self._tell_removed("image")
        if name := self.prompts.forget(removed):
            self._tell_removed(name)
        if self.targets.forget_layer(removed):
            self._tell_removed("labels")

    def _tell_removed(self, name: str) -> None:
        self.layer_removed.emit(name)
        self.layers_changed.emit()
        if name == "image":
            self.stack_changed.emit()
