"""What is painted over objects, until the session can take it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari_sam2.plugin.layers.labels_layer import largest_label
from napari_sam2.plugin.layers.painting import Painting, strokes_of, touches_objects
from napari_sam2.plugin.prompting import painted_edits

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Labels

    from napari_sam2.plugin.coordinates import StackGeometry
    from napari_sam2.plugin.edits import Edits
    from napari_sam2.plugin.layers.painting import Stroke
    from napari_sam2.plugin.layers.result_display import ResultDisplay
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.session.session import Session


class Strokes:
    """Shows strokes that touch objects at once, and gives them to the session in their order.

    Parameters
    ----------
    session : Session
        Has the objects.
    workspace : Workspace
        Has the layer that is painted in.
    prompting : Prompting
        Takes strokes, and knows the active object, which the brush paints.
    edits : Edits
        Tells when they can be taken.
    display : ResultDisplay
        Shows them meanwhile.
    choose_image : callable
        Makes another image the one in use.
    undo, redo : callable
        What the layer's own keys for that do.
    """

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        prompting: Prompting,
        edits: Edits,
        display: ResultDisplay,
        choose_image: Callable[[Image], None],
        undo: Callable[[], None],
        redo: Callable[[], None],
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        self._edits = edits
        self._display = display
        self._choose_image = choose_image
        self._waiting: list[tuple[StackGeometry, list[Stroke]]] = []
        self._painting = Painting(undo, redo, display.finish)
        self._painting.painted.connect(self._on_painted)
        self._targets: WeakSet[Labels] = WeakSet()  # that are listened to
        workspace.layers_changed.connect(self._on_layers_changed)
        prompting.active_changed.connect(self._load_brush)

    def close(self) -> None:
        """Let go of the layer."""
        self._painting.listen(None)
        for layer in self._targets:
            layer.events.paint.disconnect(self._on_painted_elsewhere)

    def _on_layers_changed(self) -> None:
        for image, layer in self._workspace.targets.every().items():
            if layer not in self._targets:
                layer.events.paint.connect(self._on_painted_elsewhere)
                self._targets.add(layer)
                if 0 < (number := self._prompting.active_in(image)) <= largest_label(layer):
                    layer.selected_label = number
        # in the same layer the brush may have a label that was picked, to be used as mask
        if self._painting.listen(self._workspace.target):
            self._load_brush()

    def _load_brush(self) -> None:
        """Let what is painted next belong to the active object."""
        target, number = self._workspace.target, self._prompting.active[0]
        if target is not None and number <= largest_label(target):
            target.selected_label = number

    def _on_painted(self, strokes: list[Stroke]) -> None:
        geometry = self._workspace.geometry()
        if geometry is not None and touches_objects(geometry, strokes, self._session):
            self._painting.take_over()
            self._waiting.append((geometry, strokes))
            self._display.show_painted(self._waiting)
            self._edits.when_taken(self._take, partial(_paint, geometry, strokes))
            if self._waiting:
                self._prompting.reserve(max(stroke.label for stroke in strokes))

    def _on_painted_elsewhere(self, event: Any) -> None:
        """Go to the image whose masks are painted in, and take the strokes."""
        layer = event.source
        if layer is self._workspace.target:
            return
        owners = (owner for owner, each in self._workspace.targets.every().items() if each is layer)
        image = self._workspace.find_image(next(owners, ""))
        if image is None:
            return
        strokes = strokes_of(event)
        if touches_objects(self._workspace.geometry_of(image), strokes, self._session):
            label = layer.selected_label
            self._choose_image(image)
            # the brush stays in hand, as it is
            self._workspace.viewer.layers.selection.active = layer
            layer.selected_label = label
            self._on_painted(strokes)

    def _take(self) -> None:
        geometry, strokes = self._waiting.pop(0)
        self._prompting.paint(geometry, strokes)
        self._display.show_painted(self._waiting)


def _paint(geometry: StackGeometry, strokes: list[Stroke], session: Session) -> None:
    for edit in painted_edits(geometry, strokes, session):
        session.apply(edit)
