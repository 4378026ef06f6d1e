"""Which layers each image's prompts are read from, and what the mouse draws in them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari.layers import Points, Shapes
from psygnal import Signal

from napari_sam2.plugin.layers.drawings import drop_given_up
from napari_sam2.plugin.layers.own_layers import (
    is_made_for,
    is_own,
    own_layer,
    restyle,
    use_object,
)
from napari_sam2.plugin.layers.prompt_features import next_object, numbers_in
from napari_sam2.plugin.layers.tools import TOOLS, tool_in_use

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import napari
    from napari.layers import Image, Layer

    Chosen = Mapping[tuple[str | None, str], Points | Shapes | None]  # by image and name

_DONE = ("added", "removed", "changed")
_NAMES = ("shapes", "points")  # as they are made, the one for clicks on top


class PromptLayers:
    """The Points and the Shapes layer of each image of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    image : napari.layers.Image or None
        The image in use; going back to an image finds its layers again.
    points, shapes : napari.layers.Points or None, napari.layers.Shapes or None
        Its layers.
    changed : Signal()
        Emitted after another layer was chosen or made.
    edited : Signal()
        Emitted after a point or a shape was added, moved, changed or deleted.
    edited_elsewhere : Signal(str, object)
        Emitted after that happened in the active layer, which is of an image not in use: with what
        identifies it, and the layer.
    next_object_changed : Signal(int, object)
        Emitted with object and sign (None where the layer lost it) that a selection made those of
        what is drawn next in the layer.
    tool_changed : Signal(str)
        Emitted with what the mouse draws now, one of `TOOLS`, or "".
    """

    changed = Signal()
    edited = Signal()
    edited_elsewhere = Signal(str, object)
    next_object_changed = Signal(int, object)
    tool_changed = Signal(str)

    def __init__(self, viewer: napari.Viewer) -> None:
        self.image: Image | None = None
        self.points: Points | None = None
        self.shapes: Shapes | None = None
        self._viewer = viewer
        self._held: dict[tuple[str | None, str], Points | Shapes | None] = {}  # by image and name
        self._active: Points | Shapes | None = None
        self._shows_earlier = False
        viewer.layers.selection.events.active.connect(self._on_active)

    def close(self) -> None:
        """Listen to nothing any longer."""
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._listen_active(None)
        for name in _NAMES:
            self._listen(name, None)

    @property
    def image_id(self) -> str | None:
        """What identifies the image in use; None without one."""
        return None if self.image is None else str(self.image.unique_id)

    def use_image(self, image: Image | None) -> list[str]:
        """Go on to another image; which of its layers were deleted meanwhile."""
        before = [layer for layer in (self.points, self.shapes) if is_own(layer)]
        self.image = image
        held = {name: self.of(self.image_id, name) for name in _NAMES}
        lost = [name for name, layer in held.items() if layer not in (None, *self._viewer.layers)]
        for name, layer in held.items():
            self._listen(name, None if name in lost else layer)
        self._remove_unused(before)
        return lost

    def of(self, image_id: str | None, name: str) -> Points | Shapes | None:
        """The layer that "points" or "shapes" of an image are read from; perhaps deleted."""
        return self._held.get((image_id, name))

    def every(self) -> list[tuple[str | None, str, Points | Shapes]]:
        """The layers of every image, each with the image and "points" or "shapes"."""
        layers = self._viewer.layers
        return [(*key, each) for key, each in self._held.items() if each in layers]

    def chosen(self) -> Chosen:
        """Which layers the prompts of each image are read from, for `as_chosen`."""
        return dict(self._held)

    @contextmanager
    def as_chosen(self, earlier: Chosen) -> Iterator[None]:
        """Read prompts from the layers that were chosen at a time, as long as they are there.

        What is changed in layers meanwhile is not drawn by the user.
        """
        held = dict(self._held)
        there = {key: each for key, each in earlier.items() if each in self._viewer.layers}
        self._held |= there
        self._shows_earlier = True
        try:
            yield
        finally:  # but for what was chosen meanwhile
            self._shows_earlier = False
            self._held |= {
                key: held.get(key) for key, each in there.items() if self._held[key] is each
            }

    def choose(self, name: str, layer: Points | Shapes | None) -> None:
        """Read "points" or "shapes" from another layer; None makes one when it is needed."""
        self._listen(name, layer)
        self.changed.emit()

    def forget(self, layer: Layer) -> str:
        """Read prompts no longer from a layer that was deleted; "points", "shapes" or ""."""
        for name in _NAMES:
            if layer is getattr(self, name):
                self._listen(name, None)
                return name
        return ""

    def restore(
        self, image_id: str, name: str, layer: Points | Shapes | None, needed: bool
    ) -> Points | Shapes | None:
        """Read an image's prompts from a layer as before, also one deleted since; gives the layer.

        None is our layer, which is made where it is missing and needed.
        """
        layers = self._viewer.layers
        selected = layers.selection.active
        if layer is None:
            images = [each for each in layers if str(each.unique_id) == image_id]
            layer = own_layer(self._viewer, name, images[0], needed) if images else None
        elif layer not in layers:
            layers.append(layer)
        layers.selection.active = selected
        if image_id == self.image_id:
            self.choose(name, layer)
        else:
            self._held[image_id, name] = layer
        return layer

    def make(self, *needed: str) -> None:
        """Make the image's layers that are missing; an earlier dock's serve again.

        A Shapes layer, for which napari loads a compiler first, is made once it is needed.

        Parameters
        ----------
        *needed : str
            "shapes" makes a Shapes layer, too.
        """
        if self.image is None:
            return
        selected = self._viewer.layers.selection.active
        for name in _NAMES:
            held = getattr(self, name)
            # The user's own layer was chosen on purpose; reading it says what does not fit.
            if held is None or (is_own(held) and not is_made_for(held, self.image)):
                held = own_layer(self._viewer, name, self.image, name in ("points", *needed))
                self._listen(name, held)
            if held is not None:
                self._raise_above_image(held)
        self._viewer.layers.selection.active = selected
        self.changed.emit()

    def take_clicks(self) -> None:
        """Make the Points layer the active one, so that a click adds a point.

        Who is drawing in the Shapes layer stays there; in the 3D view clicks turn it.
        """
        if self._viewer.dims.ndisplay == 3:
            self.rest()
            return
        layers = self._viewer.layers
        drawing = self.shapes is not None and layers.selection.active is self.shapes
        if not drawing and self.points is not None and self.points in layers:
            layers.selection.active = self.points
            self.points.mode = "add"

    def rest(self) -> None:
        """Let the mouse move and turn the view."""
        for _, _, layer in self.every():
            layer.mode = "pan_zoom"

    @property
    def tool(self) -> str:
        """What the mouse draws now, one of `TOOLS`; empty where it does something else."""
        return tool_in_use(self._viewer.layers.selection.active, self.points, self.shapes)

    def use_tool(self, tool: str) -> None:
        """Let the mouse draw one of `TOOLS`, in a layer that is made where there is none."""
        name, mode = TOOLS[tool]
        self.make(name)
        layer = getattr(self, name)
        if layer is not None:
            self._viewer.layers.selection.active = layer
            layer.mode = mode

    def use_object(self, object_id: int, positive: bool) -> None:
        """Make what is drawn next belong to an object."""
        for layer in (self.points, self.shapes):
            # Left alone where it says so already: the user may have selected something there.
            if layer is None or next_object(layer) in ((object_id, positive), (object_id, None)):
                continue
            with layer.events.feature_defaults.blocker(self._on_feature_defaults):
                use_object(layer, object_id, positive)

    def replace_object(self, object_id: int, other: int) -> None:
        """Where the next thing drawn in layers of our own is of an object, make it another's."""
        for _, _, layer in self.every():
            drawn_next = next_object(layer) if is_own(layer) else None
            if drawn_next is not None and drawn_next[0] == object_id:
                use_object(layer, other, drawn_next[1] is not False)

    def numbers(self) -> set[int]:
        """Numbers that objects have in the layers of every image."""
        return set().union(*(numbers_in(layer) for _, _, layer in self.every()))

    def _remove_unused(self, layers: Sequence[Points | Shapes]) -> None:
        """Remove those of our layers that are empty; they are made again when they are needed."""
        unused = {each for each in layers if not len(each.data)} - {self.points, self.shapes}
        held = self._held.items()
        self._held = {key: None if each in unused else each for key, each in held}
        for layer in unused.intersection(self._viewer.layers):
            self._viewer.layers.remove(layer)

    def _raise_above_image(self, layer: Layer) -> None:
        layers = self._viewer.layers
        if is_own(layer) and layers.index(layer) < layers.index(self.image):
            layers.move(layers.index(layer), len(layers))

    def _listen(self, name: str, layer: Any) -> None:
        held = getattr(self, name)
        if held is not None:
            held.events.data.disconnect(self._on_data)
            held.events.features.disconnect(self._on_features)
            held.events.feature_defaults.disconnect(self._on_feature_defaults)
            held.events.mode.disconnect(self._on_tool)
        setattr(self, name, layer)
        self._held[self.image_id, name] = layer
        if layer is not None:
            layer.events.data.connect(self._on_data)
            layer.events.features.connect(self._on_features)
            layer.events.feature_defaults.connect(self._on_feature_defaults)
            layer.events.mode.connect(self._on_tool)

    def _listen_active(self, layer: Layer | None) -> None:
        if self._active is not None:
            self._active.events.data.disconnect(self._on_active_data)
        self._active = layer if isinstance(layer, Points | Shapes) else None
        if self._active is not None:
            self._active.events.data.connect(self._on_active_data)

    def _on_active(self) -> None:
        self._listen_active(self._viewer.layers.selection.active)
        self._on_tool()

    def _on_active_data(self, event: Any) -> None:
        layer = event.source
        if not _is_done(event) or self._shows_earlier or layer in (self.points, self.shapes):
            return
        there = {str(each.unique_id) for each in self._viewer.layers}
        owners = {owner for (owner, _), each in self._held.items() if each is layer} & there
        if len(owners) == 1:  # a layer of the user's may be of several
            self.edited_elsewhere.emit(*owners, layer)

    def _on_tool(self) -> None:
        self.tool_changed.emit(self.tool)

    def _on_data(self, event: Any) -> None:
        if _is_done(event):
            if _action(event) == "added":
                drop_given_up(event.source)
            self.edited.emit()

    def _on_features(self, event: Any) -> None:
        if is_own(event.source):
            restyle(event.source)
        self.edited.emit()

    def _on_feature_defaults(self, event: Any) -> None:
        layer = event.source
        wanted = next_object(layer)
        if wanted is not None:
            self.next_object_changed.emit(*wanted)


def _is_done(event: Any) -> bool:
    """Whether something has happened: napari also announces what is about to."""
    return _action(event) in _DONE


def _action(event: Any) -> str:
    return str(event.action).rsplit(".", 1)[-1].lower()
