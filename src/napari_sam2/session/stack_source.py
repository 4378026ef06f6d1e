"""Where the pixels of a stack come from, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam2.inference.channels import ChannelBlend
from napari_sam2.inference.frames import UNNAMED, FixedAxes, FrameSource, OneFrame, fixed_levels

if TYPE_CHECKING:
    from napari_sam2.inference.channels import Channel
    from napari_sam2.session.values import StackKey


@dataclass(frozen=True, eq=False)
class StackSource:
    """The pixels behind a `StackKey`.

    Parameters
    ----------
    key : StackKey
        Which planes are meant.
    data : array-like
        The image: numpy, dask, zarr, a `ChannelBlend`, anything with shape, dtype and indexing.
    rgb : bool
        Whether the last axis of the data holds colours.
    contrast_limits : tuple of float or None
        The intensities shown as black and white; None leaves the choice to the predictor.
    name : str
        What messages call the image.
    coarser : tuple of array-like
        The data at lower resolutions, of a pyramid, the highest first.
    view : tuple of float or None
        (row_min, col_min, row_max, col_max) in pixels, the last ones included: the part of a
        single plane that the model is shown, where all prompts of an object lie in it. None leaves
        the choice to the predictor.
    """

    key: StackKey
    data: Any
    rgb: bool
    contrast_limits: tuple[float, float] | None
    name: str = UNNAMED
    coarser: tuple[Any, ...] = ()
    view: tuple[float, float, float, float] | None = None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels that are blended; none where the image is seen alone."""
        return self.data.channels if isinstance(self.data, ChannelBlend) else ()

    def same_pixels(self, other: StackSource | None) -> bool:
        """Whether a predictor made for the other would see the same."""
        if other is None or (self.key, self.contrast_limits) != (other.key, other.contrast_limits):
            return False
        if isinstance(self.data, ChannelBlend):
            return self.data.same_pixels(other.data)
        return self.data is other.data

    def plane_levels(self) -> list[FixedAxes]:
        """The plane of a stack of one frame, at full resolution and at those of `coarser`."""
        held = dict(self.key.fixed)
        if self.key.frame_axis is not None:
            held[self.key.frame_axis] = 0
        return list(fixed_levels((self.data, *self.coarser), held))

    def frames(self) -> FrameSource:
        """Read the planes one at a time."""
        key, data = self.key, self.data
        if key.frame_axis is None:
            return FrameSource(OneFrame(data), frame_axis=0, rgb=self.rgb, name=self.name)
        return FrameSource(
            data, frame_axis=key.frame_axis, fixed=dict(key.fixed), rgb=self.rgb, name=self.name
        )
