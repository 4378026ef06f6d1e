"""The layers that the user works with, and what happens to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Points, Shapes
from psygnal import Signal

from napari_sam2.plugin.coordinates import (
    StackGeometry,
    axis_name,
    current_frame,
    frame_axes,
    slider_index,
    stack_geometry,
)
from napari_sam2.plugin.layers.axis_kinds import AxisKinds
from napari_sam2.plugin.layers.channels import Channels
from napari_sam2.plugin.layers.prompt_features import largest_object, next_object
from napari_sam2.plugin.layers.prompt_layers import (
    is_made_for,
    is_own,
    own_layer,
    restyle,
    use_object,
)
from napari_sam2.plugin.layers.prompt_reading import PromptReading, read_prompts
from napari_sam2.plugin.layers.targets import Targets
from napari_sam2.plugin.layers.tools import TOOLS, tool_in_use

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Layer

_DONE = ("added", "removed", "changed")
_PROMPT_LAYERS = ("shapes", "points")  # as they are made, the one for clicks on top


class Workspace:
    """Which layers of a viewer are the image, the prompts and the results.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    image : napari.layers.Image or None
        The image.
    points, shapes : napari.layers.Points or None, napari.layers.Shapes or None
        The prompts of the image; going back to an image finds them again.
    channels : Channels
        The layers that the model sees together with the image.
    targets : Targets
        The Labels layers with the results.
    kinds : AxisKinds
        Whether frames lie along z or time.
    frame_axis : int or None
        Axis of the image that frames lie along; None chooses.
    layers_changed : Signal()
        Emitted after another layer was chosen, by the user or because one was deleted.
    stack_changed : Signal()
        Emitted after anything that changes which planes are meant or how they are named.
    slider_moved : Signal()
        Emitted after the viewer shows another plane.
    tool_changed : Signal(str)
        Emitted with what the mouse draws now, one of `TOOLS`, or "".
    prompts_edited : Signal()
        Emitted after a point or a shape was added, moved, changed or deleted.
    next_object_changed : Signal(int, object)
        Emitted with object and sign (None where the layer lost it) that a selection made those of
        what is drawn next in a layer of our own.
    image_added : Signal()
        Emitted after an image was added to a viewer without one in use.
    layer_removed : Signal(str)
        Emitted after a chosen layer was deleted: "image", "points", "shapes" or "labels".
    """

    layers_changed = Signal()
    stack_changed = Signal()
    slider_moved = Signal()
    tool_changed = Signal(str)
    prompts_edited = Signal()
    next_object_changed = Signal(int, object)
    image_added = Signal()
    layer_removed = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.image: Image | None = None
        self.points: Points | None = None
        self.shapes: Shapes | None = None
        self.frame_axis: int | None = None
        self._prompt_layers: dict[tuple[str | None, str], Points | Shapes | None] = {}  # by image
        self.channels = Channels(viewer)
        self.targets = Targets(viewer)
        self.kinds = AxisKinds()
        self.kinds.changed.connect(self._on_stack_changed)
        self.targets.changed.connect(self.layers_changed.emit)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for name in ("order", "ndim", "axis_labels"):
            viewer.dims.events[name].connect(self._on_stack_changed)
        viewer.dims.events.current_step.connect(self._on_slider_moved)
        viewer.layers.selection.events.active.connect(self._on_tool)

    def close(self) -> None:
        """Listen to nothing any longer."""
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        for name in ("order", "ndim", "axis_labels"):
            self.viewer.dims.events[name].disconnect(self._on_stack_changed)
        self.viewer.dims.events.current_step.disconnect(self._on_slider_moved)
        self.viewer.layers.selection.events.active.disconnect(self._on_tool)
        self.channels.close()
        self._listen_image(None)
        self._listen("points", None)
        self._listen("shapes", None)

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
        before = [layer for layer in (self.points, self.shapes) if is_own(layer)]
        self._listen_image(image)
        known = (None, *self.viewer.layers)
        held = {name: self.prompt_layer(self.image_id, name) for name in _PROMPT_LAYERS}
        lost = [name for name, layer in held.items() if layer not in known]
        for name, layer in held.items():
            self._listen(name, None if name in lost else layer)
        self.frame_axis = None
        self._remove_unused(before)
        self.layers_changed.emit()
        self.stack_changed.emit()
        for name in lost:  # deleted while another image was in use
            self.layer_removed.emit(name)

    def frame_axis_names(self) -> dict[int, str]:
        """Axes of the image that frames can lie along, with their names."""
        if self.image is None:
            return {}
        dims = self.viewer.dims
        return {axis: axis_name(dims, self.image, axis) for axis in frame_axes(dims, self.image)}

    def choose_frame_axis(self, axis: int | None) -> None:
        """Lay the frames along another axis of the image; None chooses."""
        if axis != self.frame_axis:
            self.frame_axis = axis
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

    @property
    def _frame_axis(self) -> int | None:
        geometry = self.geometry()
        return None if geometry is None else geometry.key.frame_axis

    def choose_prompts(self, name: str, layer: Points | Shapes | None) -> None:
        """Read "points" or "shapes" from another layer; None makes one when it is needed."""
        self._listen(name, layer)
        self.layers_changed.emit()

    def prompt_layers(self) -> list[tuple[str | None, str, Points | Shapes]]:
        """The prompt layers of every image, each with the image and "points" or "shapes"."""
        layers = self.viewer.layers
        return [(*key, each) for key, each in self._prompt_layers.items() if each in layers]

    def restore_prompts(
        self, image_id: str, name: str, layer: Points | Shapes | None, needed: bool
    ) -> Points | Shapes | None:
        """Read an image's prompts from a layer as before, also one deleted since; gives the layer.

        None is our layer, which is made where it is missing and needed.
        """
        layers = self.viewer.layers
        selected = layers.selection.active
        if layer is None:
            images = [each for each in layers if str(each.unique_id) == image_id]
            layer = own_layer(self.viewer, name, images[0], needed) if images else None
        elif layer not in layers:
            layers.append(layer)
        layers.selection.active = selected
        if image_id == self.image_id:
            self.choose_prompts(name, layer)
        else:
            self._prompt_layers[image_id, name] = layer
        return layer

    @property
    def image_id(self) -> str | None:
        """What identifies the image; None without one."""
        return None if self.image is None else str(self.image.unique_id)

    @property
    def target(self) -> Labels | None:
        """Layer that the results of the chosen image are written to."""
        return None if self.image_id is None else self.targets.of(self.image_id)

    def is_target_candidate(self, layer: Layer) -> bool:
        """Whether results of the chosen image could be written to a layer."""
        return self.targets.is_candidate(layer, self.image)

    def geometry(self) -> StackGeometry | None:
        """Stack that the viewer shows; None without an image."""
        if self.image is None:
            return None
        return stack_geometry(self.viewer.dims, self.image, self.frame_axis)

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
        offset = dims.ndim - self.image.ndim
        for axis in held:
            dims.set_point(axis + offset, world[axis])

    def read(self, geometry: StackGeometry) -> PromptReading | None:
        """Read the prompts of a stack, also of an image that was left; None where they are gone."""
        image_id, layers = geometry.key.image, self.viewer.layers
        images = [each for each in layers if str(each.unique_id) == image_id]
        points, shapes = (self.prompt_layer(image_id, name) for name in ("points", "shapes"))
        if not images or any(each not in (None, *layers) for each in (points, shapes)):
            return None
        return read_prompts(points, shapes, images[0], geometry)

    def prompt_layer(self, image_id: str | None, name: str) -> Points | Shapes | None:
        """The layer that "points" or "shapes" of an image are read from; perhaps deleted."""
        return self._prompt_layers.get((image_id, name))

    def make_prompt_layers(self, *needed: str) -> None:
        """Make the image's prompt layers that are missing; an earlier dock's serve again.

        A Shapes layer, for which napari loads a compiler first, is made once it is needed.

        Parameters
        ----------
        *needed : str
            "shapes" makes a Shapes layer, too.
        """
        if self.image is None:
            return
        selected = self.viewer.layers.selection.active
        for name in _PROMPT_LAYERS:
            held = getattr(self, name)
            # The user's own layer was chosen on purpose; reading it says what does not fit.
            if held is None or (is_own(held) and not is_made_for(held, self.image)):
                held = own_layer(self.viewer, name, self.image, name in ("points", *needed))
                self._listen(name, held)
            if held is not None:
                self._raise_above_image(held)
        self.viewer.layers.selection.active = selected
        self.layers_changed.emit()

    def take_clicks(self) -> None:
        """Make the Points layer the active one, so that a click adds a point.

        Who is drawing in the Shapes layer stays there.
        """
        drawing = self.shapes is not None and self.viewer.layers.selection.active is self.shapes
        if not drawing and self.points is not None and self.points in self.viewer.layers:
            self.viewer.layers.selection.active = self.points
            self.points.mode = "add"

    @property
    def tool(self) -> str:
        """What the mouse draws now, one of `TOOLS`; empty where it does something else."""
        return tool_in_use(self.viewer.layers.selection.active, self.points, self.shapes)

    def use_tool(self, tool: str) -> None:
        """Let the mouse draw one of `TOOLS`, in a layer that is made where there is none."""
        name, mode = TOOLS[tool]
        self.make_prompt_layers(name)
        layer = getattr(self, name)
        if layer is not None:
            self.viewer.layers.selection.active = layer
            layer.mode = mode

    def use_object(self, object_id: int, positive: bool) -> None:
        """Make what is drawn next in layers of our own belong to an object."""
        for layer in (self.points, self.shapes):
            # Left alone where it says so already: the user may have selected something there.
            if is_own(layer) and next_object(layer) != (object_id, positive):
                with layer.events.feature_defaults.blocker(self._on_feature_defaults):
                    use_object(layer, object_id, positive)

    def largest_number(self) -> int:
        """Largest number taken by an object in our prompt layers, or by a label found there."""
        layers = [layer for layer in (self.points, self.shapes) if is_own(layer)]
        return max([self.targets.largest_found, *map(largest_object, layers)])

    def _remove_unused(self, layers: Sequence[Points | Shapes]) -> None:
        """Remove those of our layers that are empty; they are made again when they are needed."""
        unused = {each for each in layers if not len(each.data)} - {self.points, self.shapes}
        held = self._prompt_layers.items()
        self._prompt_layers = {key: None if each in unused else each for key, each in held}
        for layer in unused.intersection(self.viewer.layers):
            self.viewer.layers.remove(layer)

    def _raise_above_image(self, layer: Layer) -> None:
        layers = self.viewer.layers
        if is_own(layer) and layers.index(layer) < layers.index(self.image):
            layers.move(layers.index(layer), len(layers))

    def _listen_image(self, image: Image | None) -> None:
        if self.image is not None:
            self.image.events.data.disconnect(self._on_stack_changed)
        self.image = image
        if image is not None:
            image.events.data.connect(self._on_stack_changed)

    def _listen(self, name: str, layer: Any) -> None:
        held = getattr(self, name)
        if held is not None:
            held.events.data.disconnect(self._on_data)
            held.events.features.disconnect(self._on_features)
            held.events.feature_defaults.disconnect(self._on_feature_defaults)
            held.events.mode.disconnect(self._on_tool)
        setattr(self, name, layer)
        self._prompt_layers[self.image_id, name] = layer
        if layer is not None:
            layer.events.data.connect(self._on_data)
            layer.events.features.connect(self._on_features)
            layer.events.feature_defaults.connect(self._on_feature_defaults)
            layer.events.mode.connect(self._on_tool)

    def _on_stack_changed(self) -> None:
        self.stack_changed.emit()

    def _on_tool(self) -> None:
        self.tool_changed.emit(self.tool)

    def _on_slider_moved(self) -> None:
        self.slider_moved.emit()

    def _on_data(self, event: Any) -> None:
        # napari also announces what is about to happen.
        if str(event.action).rsplit(".", 1)[-1].lower() in _DONE:
            self.prompts_edited.emit()

    def _on_features(self, event: Any) -> None:
        if is_own(event.source):
            restyle(event.source)
        self.prompts_edited.emit()

    def _on_feature_defaults(self, event: Any) -> None:
        layer = event.source
        wanted = next_object(layer) if is_own(layer) else None
        if wanted is not None:
            self.next_object_changed.emit(*wanted)

    def _on_inserted(self, event: Any) -> None:
        if self.image is None and isinstance(event.value, Image):
            self.image_added.emit()

    def _on_removed(self, event: Any) -> None:
        removed = event.value
        if removed is self.image:
            self._listen_image(None)
            self._tell_removed("image")
        for name in ("points", "shapes"):
            if removed is getattr(self, name):
                self._listen(name, None)
                self._tell_removed(name)
        if self.targets.forget_layer(removed):
            self._tell_removed("labels")

    def _tell_removed(self, name: str) -> None:
        self.layer_removed.emit(name)
        self.layers_changed.emit()
        if name == "image":
            self.stack_changed.emit()
