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
        self._letters: dict[str, str] = {}  # by image

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

    def letters(self, dims: Dims, image_id: str, image: Image | None) -> str:
        """A letter for each axis of an image of which one is time; else empty.

        Of an image that is gone, None, they are what they were.
        """
        if image is not None:
            times = [axis for axis in range(image.ndim) if self.is_time(dims, image, axis)]
            others = "czyx"[max(5 - image.ndim, 0) :]  # the usual ones, in the usual order
            one = len(times) == 1 and len(others) == image.ndim - 1
            self._letters[image_id] = others[: times[0]] + "t" + others[times[0] :] if one else ""
        return self._letters.get(image_id, "")
