"""What is drawn for an image that is not in use: the dock goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Points, Shapes
from qtpy.QtCore import QTimer

from napari_sam2.plugin.layers.drawings import DRAWING_MS, is_being_drawn, is_dragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

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
        self._image_id = ""
        # A moment later: undo, too, draws, and says only then what it has drawn.
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._follow)
        workspace.prompts.edited_elsewhere.connect(self._on_edited)

    def close(self) -> None:
        """Follow nothing any longer."""
        self._workspace.prompts.edited_elsewhere.disconnect(self._on_edited)
        self._timer.stop()

    def _on_edited(self, image_id: str) -> None:
        self._image_id = image_id
        self._timer.start(0)

    def _follow(self) -> None:
        layers = self._workspace.viewer.layers
        image, layer = self._workspace.find_image(self._image_id), layers.selection.active
        if image is None or not self._prompting.has_changed(self._image_id):
            return
        drawn_in = layer if isinstance(layer, Points | Shapes) else None
        if drawn_in is not None and (is_being_drawn(drawn_in) or is_dragged(drawn_in)):
            self._timer.start(DRAWING_MS)
            return
        mode = None if drawn_in is None else drawn_in.mode
        self._choose_image(image)
        if drawn_in is not None:
            layers.selection.active, drawn_in.mode = drawn_in, mode
