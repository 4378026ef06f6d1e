"""A widget in a dock of the viewer, which it lets go of once it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


def unwrapped(viewer: napari.Viewer) -> napari.Viewer:
    """The viewer itself, of the proxy that napari gives to plugins.

    What is reached through the proxy is a proxy, too: no layer is the one that it stands for.
    """
    return getattr(viewer, "__wrapped__", viewer)


class Docked(QWidget):
    """Ends what it has begun in the viewer when its dock is closed, however that happens."""

    def __init__(self) -> None:
        super().__init__()
        self._is_docked = False
        self.let_go = _LetGo()
        # With its window the widget is destroyed without being closed.
        self.destroyed.connect(self.let_go)

    def when_closed(self, *closes: Callable[[], object]) -> None:
        """Call these once the dock is closed, the last one first."""
        self.let_go.closes += closes

    def event(self, event: QEvent) -> bool:
        """Let go of the viewer when the dock is closed."""
        # napari neither closes nor deletes the widget of a closed dock: it takes its parent away.
        if event.type() == QEvent.Type.ParentChange:
            if self._is_docked and self.parent() is None:
                self.let_go()
            self._is_docked = self.parent() is not None
        return super().event(event)

    def closeEvent(self, event: QEvent) -> None:
        """Let go of the viewer when the widget is closed by itself."""
        self.let_go()
        super().closeEvent(event)


class _LetGo:
    """Knows nothing of the dock, which may be gone by then."""

    def __init__(self) -> None:
        self.closes: list[Callable[[], object]] = []

    def __call__(self) -> None:
        """Let go; does nothing the second time."""
        while self.closes:
            self.closes.pop()()
