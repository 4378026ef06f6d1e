"""A choice among layers that follows the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

_EVENTS = ("inserted", "removed", "reordered", "renamed")


class LayerCombo(QComboBox):
    """Lists the viewer's layers of one kind, topmost first.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    accepts : callable
        Tells whether a layer is listed.
    none_text : str
        Entry for no layer, which comes last.

    Attributes
    ----------
    chosen : Signal(object)
        Emitted with the layer, or None, that the user chose.
    """

    chosen = Signal(object)

    def __init__(
        self, viewer: napari.Viewer, accepts: Callable[[Layer], bool], none_text: str
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._accepts = accepts
        self._none_text = none_text
        self._shown: Layer | None = None
        # Long layer names must not widen the dock.
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(8)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.activated.connect(lambda index: self.chosen.emit(self.itemData(index)))
        for name in _EVENTS:
            viewer.layers.events[name].connect(self._rebuild)
        self._rebuild()

    def show_layer(self, layer: Layer | None) -> None:
        """Show which layer is in use."""
        self._shown = layer
        self._rebuild()

    def disconnect_viewer(self) -> None:
        """Follow the viewer no longer."""
        for name in _EVENTS:
            self._viewer.layers.events[name].disconnect(self._rebuild)

    def _rebuild(self) -> None:
        listed = [layer for layer in reversed(self._viewer.layers) if self._accepts(layer)]
        self.clear()
        for layer in listed:
            self.addItem(layer.name, layer)
        self.addItem(self._none_text, None)
        self.setCurrentIndex(listed.index(self._shown) if self._shown in listed else len(listed))
