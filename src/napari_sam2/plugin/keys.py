"""Keys of the plugin, none of which napari uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import napari

NEW_OBJECT = "N"
TOGGLE_SIGN = "Q"
RUN_PLANE = "G"
NEXT_CANDIDATE = "W"
PROPAGATE = "Shift-G"
CANCEL = "Shift-Q"
UNDO = "U"
REDO = "Shift-U"
LEAST_CERTAIN = "J"
ALL = (
    NEW_OBJECT,
    TOGGLE_SIGN,
    NEXT_CANDIDATE,
    RUN_PLANE,
    PROPAGATE,
    CANCEL,
    UNDO,
    REDO,
    LEAST_CERTAIN,
)


class KeyBindings:
    """Binds keys while the dock is open and gives them back afterwards.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    actions : mapping of str to callable
        What each key does.
    """

    def __init__(self, viewer: napari.Viewer, actions: Mapping[str, Callable[[], None]]) -> None:
        self._viewer = viewer
        self._earlier: dict[str, Any] = {}
        for key, action in actions.items():
            self._earlier[key] = viewer.bind_key(key, _ignoring_viewer(action), overwrite=True)

    def close(self) -> None:
        """Bind each key to what it was bound to before."""
        for key, action in self._earlier.items():
            self._viewer.bind_key(key, action, overwrite=True)
        self._earlier.clear()


def _ignoring_viewer(action: Callable[[], None]) -> Callable[[object], None]:
    def bound(_: object) -> None:
        action()

    return bound
