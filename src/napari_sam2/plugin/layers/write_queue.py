"""Writes into Labels layers, in slices of time, so that the window answers in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.plugin.coordinates import plane_in_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import Dims
    from napari.layers import Labels

    from napari_sam2.session.labels import Plane

    Writes = dict[Plane, list[Callable[[], None]]]

_SLICE_S = 0.02  # the event loop runs between slices; one write may take longer


class WriteQueue:
    """Writes the plane in view at once, and the others when the event loop has time.

    Nothing is left out or joined, and the writes of a plane keep their order: in the end, a layer
    is as if each had been done at once.

    Parameters
    ----------
    dims : napari.components.Dims
        The viewer's axes.

    Attributes
    ----------
    failed : Signal(object, object)
        Emitted with a layer and the exception that a write ended with; what waited for the layer
        is dropped.
    """

    failed = Signal(object, object)

    def __init__(self, dims: Dims) -> None:
        self._dims = dims
        self._waiting: dict[Labels, Writes] = {}
        self._views: dict[Labels, tuple[object, Plane]] = {}
        self._timer = QTimer()
        self._timer.timeout.connect(self._write_some)
        for name in ("point", "order", "ndisplay"):
            # called before napari draws, as what was connected last is called first
            dims.events[name].connect(self._write_views)

    @property
    def is_waiting(self) -> bool:
        """Whether any layer is not complete yet."""
        return bool(self._waiting)

    @property
    def is_volume(self) -> bool:
        """Whether the viewer shows volumes."""
        return bool(self._dims.ndisplay == 3)

    def waits_for(self, layer: Labels) -> bool:
        """Whether a layer is not complete yet."""
        return layer in self._waiting

    def view(self, layer: Labels) -> Plane:
        """What the viewer shows of a layer; kept for a moment, as thousands of planes ask."""
        state = self._dims.point, self._dims.order, self._dims.ndisplay, layer.data.shape
        known = self._views.get(layer)
        if known is None or known[0] != state:
            known = self._views[layer] = state, plane_in_view(self._dims, layer)
            self._timer.start(0)
        return known[1]

    def add(self, layer: Labels, plane: Plane, write: Callable[[], None]) -> None:
        """Write to a plane of a layer, now or soon.

        Parameters
        ----------
        layer : napari.layers.Labels
            The layer.
        plane : tuple of int or None
            The index of the plane; None along the two axes that it fills.
        write : callable
            Does it.
        """
        waiting = self._waiting.get(layer)
        if waiting and _axes(next(iter(waiting))) != _axes(plane):
            self.flush(layer)  # planes that cross share pixels, so the order matters
        self._waiting.setdefault(layer, {}).setdefault(plane, []).append(write)
        if plane == self.view(layer):
            self._write(layer, plane)
        self._timer.start(0)

    def flush(self, layer: Labels | None = None) -> None:
        """Write everything that waits, for one layer or for all."""
        for each in [layer] if layer is not None else list(self._waiting):
            while each in self._waiting:
                self._write(each, next(iter(self._waiting[each])))

    def close(self) -> None:
        """Write everything, and let go of the viewer."""
        self.flush()
        self._timer.stop()
        for name in ("point", "order", "ndisplay"):
            self._dims.events[name].disconnect(self._write_views)

    def _write(self, layer: Labels, plane: Plane) -> None:
        waiting = self._waiting[layer]
        writes = waiting.pop(plane)
        if not waiting:
            del self._waiting[layer]
        try:
            for write in writes:
                write()
        except Exception as error:
            self._waiting.pop(layer, None)
            self.failed.emit(layer, error)

    def _write_some(self) -> None:
        self._views.clear()
        end = time.perf_counter() + _SLICE_S
        while self._waiting and time.perf_counter() < end:
            layer, waiting = next(iter(self._waiting.items()))
            self._write(layer, next(iter(waiting)))
        if not self._waiting:
            self._timer.stop()

    def _write_views(self) -> None:
        for layer in list(self._waiting):
            if (view := self.view(layer)) in self._waiting[layer]:
                self._write(layer, view)


def _axes(plane: Plane) -> list[int]:
    return [axis for axis, index in enumerate(plane) if index is None]
