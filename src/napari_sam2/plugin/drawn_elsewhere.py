"""What is drawn for an image that is not in use: the dock goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer

from napari_sam2.plugin.layers.drawings import DRAWING_MS, is_being_drawn, is_dragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Points, Shapes

    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting


class DrawnElsewhere:
    """Makes the image that is drawn for the one in use, with the tool left in hand.

    Parameters
    ----------
    workspace : Workspace
        Tells of what is drawn.
    prompting : Prompting
        Knows what was drawn before.
    choose_image : callable
        Makes another image the one in use, and takes what is drawn for it.
    """

    def __init__(
        self, workspace: Workspace, prompting: Prompting, choose_image: Callable[[Image], None]
    ) -> None:
        self._workspace = workspace
        self._prompting = prompting
        self._choose_image = choose_image
        self._drawn: tuple[str, Points | Shapes] | None = None  # the image, and the layer
        # A moment later: undo, too, draws, and says only then what it has drawn.
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._follow)
        workspace.prompts.edited_elsewhere.connect(self._on_edited)

    def close(self) -> None:
        """Follow nothing any longer."""
        self._workspace.prompts.edited_elsewhere.disconnect(self._on_edited)
        self._timer.stop()

    def _on_edited(self, image_id: str, layer: Points | Shapes) -> None:
        self._drawn = image_id, layer
        self._timer.start(0)

    def _follow(self) -> None:
        assert self._drawn is not None
        image_id, layer = self._drawn
        image, layers = self._workspace.find_image(image_id), self._workspace.viewer.layers
        # whoever goes on elsewhere, is left there
        if image is None or layers.selection.active is not layer:
            return
        if is_being_drawn(layer) or is_dragged(layer):
            self._timer.start(DRAWING_MS)
        elif self._prompting.has_changed(image_id):
            mode, selected = layer.mode, set(layer.selected_data)
            self._choose_image(image)
            layers.selection.active, layer.mode, layer.selected_data = layer, mode, selected
