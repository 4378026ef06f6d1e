"""Several channels of an image as one image in colours, added up as a screen adds light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.frames import ArrayLike


@dataclass(frozen=True)
class Channel:
    """Which image a channel is, and how it is shown.

    Parameters
    ----------
    image : str
        What identifies the image.
    contrast_limits : tuple of float
        (low, high): the intensities that get the first and the last colour.
    gamma : float
        Exponent of the intensities, once they are 0 to 1 between the limits.
    colormap : tuple of (float, float, float)
        Red, green and blue, 0 to 1, evenly spaced from the lower limit to the upper one.
    """

    image: str
    contrast_limits: tuple[float, float]
    gamma: float
    colormap: tuple[tuple[float, float, float], ...]

    def colours(self, plane: NDArray[Any]) -> NDArray[np.float32]:
        """Colours of intensities.

        Parameters
        ----------
        plane : array
            Any shape, any real dtype. NaN and infinities count as the lower limit.

        Returns
        -------
        array of float32, shape (..., 3)
            Red, green and blue, 0 to 1.
        """
        # Imported late, as it imports torch, and opening a window must not wait for it.
        from napari_sam2.inference.transforms import rescale

        values = rescale(plane, self.contrast_limits) ** np.float32(self.gamma)
        steps = np.linspace(0, 1, len(self.colormap))
        found = np.zeros((*plane.shape, 3), np.float32)
        for place, colour in enumerate(np.transpose(self.colormap)):
            if colour.any():  # most maps go from black to a colour that lacks one or two of them
                found[..., place] = np.interp(values, steps, colour)
        return found


class ChannelBlend:
    """Channels of one shape as an array in colours, read and blended where it is indexed.

    Parameters
    ----------
    channels : sequence of Channel
        What is added up.
    data : sequence of array-like, each of shape (..., Y, X)
        The pixels of each channel: numpy, dask, zarr, anything with shape, dtype and indexing.

    Attributes
    ----------
    channels : tuple of Channel
        As given.
    data : tuple of array-like
        As given.
    shape : tuple of int
        (..., Y, X, 3)
    dtype : dtype
        float32; values are 0 to 1.

    Raises
    ------
    ValueError
        When the channels differ in shape, or there is none.
    """

    def __init__(self, channels: Sequence[Channel], data: Sequence[ArrayLike]) -> None:
        shapes = {tuple(each.shape) for each in data}
        if len(shapes) != 1 or len(channels) != len(data):
            raise ValueError(
                f"Channels of one shape are needed, but there are {len(channels)} of the shapes "
                f"{sorted(shapes)}. Give images of the same size."
            )
        self.channels, self.data = tuple(channels), tuple(data)
        self.shape: tuple[int, ...] = (*shapes.pop(), 3)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[np.float32]:
        index = index if isinstance(index, tuple) else (index,)
        axes = len(self.shape) - 1
        total: Any = np.float32(0)
        for channel, data in zip(self.channels, self.data, strict=True):
            total = total + channel.colours(np.asarray(data[index[:axes]]))
        shown: NDArray[np.float32] = np.minimum(total, np.float32(1))[(..., *index[axes:])]
        return shown

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[()].astype(dtype or self.dtype, copy=False)

    def same_pixels(self, other: object) -> bool:
        """Whether another array is a blend of the same pixels that are shown alike."""
        return (
            isinstance(other, ChannelBlend)
            and self.channels == other.channels
            and all(mine is theirs for mine, theirs in zip(self.data, other.data, strict=True))
        )
