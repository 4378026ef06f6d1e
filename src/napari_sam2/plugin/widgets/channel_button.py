"""A choice of several layers in one line of the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMenu, QPushButton, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image
    from qtpy.QtGui import QMouseEvent, QResizeEvent

_FRAME = 36  # pixels of the button that its arrow and its borders take


class ChannelButton(QPushButton):
    """Names the channels that are ticked, and opens a menu to tick others.

    Attributes
    ----------
    ticked : Signal(object, bool)
        Emitted with the layer that the user ticked, and whether it is now.
    """

    ticked = Signal(object, bool)

    def __init__(self) -> None:
        super().__init__()
        self._image: Image | None = None
        self._fitting: Sequence[Image] = ()
        self._chosen: Sequence[Image] = ()
        # Long layer names must not widen the dock.
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("QPushButton { text-align: left; padding-left: 8px; }")
        self.setMenu(_OpenMenu(self))
        self.menu().aboutToShow.connect(self._fill)

    def show_channels(
        self, image: Image | None, fitting: Sequence[Image], chosen: Sequence[Image]
    ) -> None:
        """Show the image, the layers that could be channels of it, and those that are."""
        self._image, self._fitting, self._chosen = image, fitting, chosen
        self._write()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the text into the new width."""
        super().resizeEvent(event)
        self._write()

    def _write(self) -> None:
        names = [layer.name for layer in (self._image, *self._chosen) if layer is not None]
        text = " + ".join(names) if self._chosen else "the image alone"
        room = max(self.width() - _FRAME, 0)
        shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
        self.setText(shown.replace("&", "&&"))

    def _fill(self) -> None:
        # while it is open, its actions stay
        menu = self.menu()
        menu.clear()
        for layer in (self._image, *self._fitting):
            action = menu.addAction(layer.name.replace("&", "&&"))
            action.setCheckable(True)
            action.setChecked(layer is self._image or layer in self._chosen)
            action.setEnabled(layer is not self._image)
            action.triggered.connect(lambda on, layer=layer: self.ticked.emit(layer, on))


class _OpenMenu(QMenu):
    """Stays open at a click, so that several can be ticked."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action = self.actionAt(event.pos())
        if action is None:
            super().mouseReleaseEvent(event)
        elif action.isEnabled():
            action.trigger()
