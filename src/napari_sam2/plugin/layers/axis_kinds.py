"""Whether frames lie along z or along time, in which objects come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.plugin.coordinates import axis_name

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image

_TIME = ("t", "time")


class AxisKinds:
    """Knows axes by their name, else by their unit, else by what the user said; else they are z.

    Attributes
    ----------
    changed : Signal()
        Emitted after the user has said what an axis is.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._times: set[tuple[str, int]] = set()  # image and axis

    def say(self, image: Image, axis: int, is_time: bool) -> None:
        """Take the user's word for an axis that has no name."""
        place = str(image.unique_id), axis
        if is_time != (place in self._times):
            self._times.symmetric_difference_update({place})
            self.changed.emit()

    @staticmethod
    def is_told(dims: Dims, image: Image, axis: int) -> bool:
        """Whether the name of an axis, or its unit, tells what it is."""
        named = axis_name(dims, image, axis) != f"axis {axis}"
        return named or str(image.units[axis]) != "pixel"

    def is_time(self, dims: Dims, image: Image, axis: int) -> bool:
        """Whether an axis is time."""
        name = axis_name(dims, image, axis)
        if name != f"axis {axis}":
            return name.lower() in _TIME
        if self.is_told(dims, image, axis):
            return str(image.units[axis].dimensionality) == "[time]"
        return (str(image.unique_id), axis) in self._times

    def letters(self, image_id: str, ndim: int) -> str:
        """A letter for each axis of a time-lapse that the user has called so; else empty."""
        times = [axis for known, axis in self._times if known == image_id]
        if ndim != 3 or len(times) != 1:
            return ""  # what the others are is not known
        (axis,) = times
        return "yx"[:axis] + "t" + "yx"[axis:]
