"""A widget in a dock of the viewer, which it lets go of once it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


def unwrapped(viewer: napari.Viewer) -> napari.Viewer:
    """The viewer itself, of the proxy that napari gives to plugins.

    What is reached through the proxy is a proxy, too: no layer is the one that it stands for.
    """
    return getattr(viewer, "__wrapped__", viewer)


class Docked(QWidget):
    """Ends what it has begun in the viewer when its dock is closed, however that happens.

    Beside another one it becomes a tab, as half of a window's height shows too little of either.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_docked = False
        self._docked_soon = QTimer(self)
        self._docked_soon.setSingleShot(True)
        self._docked_soon.timeout.connect(self._become_tab)
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
            if self._is_docked:  # its dock is not in the window yet
                self._docked_soon.start(0)
        return super().event(event)

    def closeEvent(self, event: QEvent) -> None:
        """Let go of the viewer when the widget is closed by itself."""
        self.let_go()
        super().closeEvent(event)

    def _become_tab(self) -> None:
        window, own = self.window(), _dock_of(self)
        if not isinstance(window, QMainWindow) or own is None or window.tabifiedDockWidgets(own):
            return
        area = window.dockWidgetArea(own)
        for other in map(_dock_of, window.findChildren(Docked)):
            if other not in (None, own) and window.dockWidgetArea(other) == area:
                window.tabifyDockWidget(other, own)
                own.raise_()
                return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that a widget is in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


class _LetGo:
    """Knows nothing of the dock, which may be gone by then."""

    def __init__(self) -> None:
        self.closes: list[Callable[[], object]] = []

    def __call__(self) -> None:
        """Let go; does nothing the second time."""
        while self.closes:
            self.closes.pop()()
