"""Intensities and coordinates between the plane and the model.

One of the two places that convert coordinates: a plane's (row, column), pixel centres at
integers, to the model's (x, y). SAM 2 sees the plane stretched to a square; SAM 1 sees its
longest side resized to the square's, with zeros below or to the right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from napari_sam2.inference.device import to_device

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_sam2.model.config import Sam1Config, Sam2Config

# Mean and standard deviation of ImageNet's channels, which the published models were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

PERCENTILES = (0.1, 99.9)
CUDA_SHRINKS = 8  # times, at most: the kernel's weights have to fit into a block's memory


@dataclass(frozen=True)
class Fit:
    """How a plane lies in the model's square input.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    extent : tuple of int
        (height, width) that it takes up in the input, from the top left, in model pixels.
    size : int
        Side of the input.
    padded : bool
        Whether the rest of the input is zeros, as in SAM 1; else the plane is stretched.
    """

    shape: tuple[int, int]
    extent: tuple[int, int]
    size: int
    padded: bool

    @classmethod
    def of(cls, config: Sam1Config | Sam2Config, shape: tuple[int, int]) -> Fit:
        """Fit a plane of a shape (Y, X) into the input of a model."""
        size = config.image_size
        if config.family == "sam2":
            return cls(shape, (size, size), size, padded=False)
        scale = size / max(shape)
        height, width = (max(1, int(side * scale + 0.5)) for side in shape)
        return cls(shape, (height, width), size, padded=True)

    def pad(self, image: Tensor) -> Tensor:
        """Add zeros below and to the right, to the whole input."""
        height, width = self.extent
        return F.pad(image, (0, self.size - width, 0, self.size - height))


def contrast_limits_of(plane: NDArray[Any]) -> tuple[float, float]:
    """Contrast limits of a plane that came without any.

    Parameters
    ----------
    plane : array
        Any shape, any real dtype. NaN and infinities are left out.

    Returns
    -------
    tuple of float
        0 and 255 for uint8, 0 and 1 for bool, else the 0.1 and 99.9 percentiles.
    """
    if plane.dtype == np.uint8:
        return 0.0, 255.0
    if plane.dtype == bool:
        return 0.0, 1.0
    finite = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, PERCENTILES)
    if low == high:
        # a sparse plane: hardly anything differs from the background
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def checked_limits(contrast_limits: Sequence[float]) -> tuple[float, float]:
    """The contrast limits that somebody gave; ValueError where nothing can be shown with them."""
    try:
        low, high = (float(limit) for limit in contrast_limits)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"contrast_limits are {contrast_limits!r}. Give two numbers, for black and for white."
        ) from error
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"contrast_limits are {low} and {high}. Give two finite numbers, the lower one first."
        )
    return low, high


def chosen_limits(
    contrast_limits: Sequence[float] | None, plane: NDArray[Any]
) -> tuple[float, float]:
    """The contrast limits that somebody gave, checked, or else those of a plane."""
    return contrast_limits_of(plane) if contrast_limits is None else checked_limits(contrast_limits)


def limits_of_parts(sample: NDArray[Any], parts: Iterable[NDArray[Any]]) -> tuple[float, float]:
    """Contrast limits of what is too large to be held: those of a sample of it.

    Parameters
    ----------
    sample : array
        As `contrast_limits_of` takes it.
    parts : iterable of array
        All of it, which is gone through where the sample is empty, the objects lying elsewhere:
        then the limits are its extremes.
    """
    low, high = contrast_limits_of(sample)
    if low < high and not (sample.dtype.kind == "f" and np.isnan(sample).all()):
        return low, high
    extremes = [
        (float(finite.min()), float(finite.max()))
        for part in parts
        for finite in [part[np.isfinite(part)]]
        if finite.size
    ]
    lows, highs = zip(*extremes or [(low, high)], strict=True)
    return min(lows), max(highs)


def rescale(plane: NDArray[Any], contrast_limits: tuple[float, float]) -> NDArray[np.float32]:
    """Intensities as 0 to 1 between the limits; NaN and infinities become the lower limit.

    Parameters
    ----------
    plane : array
        Any shape, any real dtype.
    contrast_limits : tuple of float
        (low, high); equal limits give zeros.

    Returns
    -------
    array of float32, same shape
        Values outside the limits are clipped.
    """
    low, high = contrast_limits
    if high <= low:
        return np.zeros(plane.shape, dtype=np.float32)
    # float64 first: a uint32 or float64 plane may differ from its limits by less than float32 sees
    wide: type[np.floating[Any]] = np.float64 if plane.dtype.itemsize > 2 else np.float32
    values = plane.astype(wide)
    values -= low
    values /= high - low
    if plane.dtype.kind == "f":
        values[~np.isfinite(plane)] = 0
    clipped: NDArray[np.float32] = values.clip(0, 1).astype(np.float32)
    return clipped


def to_model_image(
    plane: NDArray[Any], contrast_limits: tuple[float, float], fit: Fit, device: torch.device
) -> Tensor:
    """The model's input for one plane.

    Parameters
    ----------
    plane : array, shape (Y, X) or (Y, X, 3)
        Any real dtype.
    contrast_limits : tuple of float
        (low, high), mapped to black and white.
    fit : Fit
        How the plane lies in the input.
    device : torch.device
        Where the tensor goes.

    Returns
    -------
    Tensor of float32, shape (1, 3, size, size)
        Resized with antialiasing, normalised, padded.
    """
    image = torch.from_numpy(rescale(plane, contrast_limits))
    image = image.permute(2, 0, 1) if image.ndim == 3 else image[None]
    # else on the CPU, as not every device has the antialiased kernel, nor CUDA for every size
    if device.type == "cuda" and max(fit.shape) <= CUDA_SHRINKS * fit.size:
        image = to_device(image, device)
    image = F.interpolate(
        image[None], size=fit.extent, mode="bilinear", antialias=True, align_corners=False
    )
    return fit.pad(normalise(to_device(image, device)))


def normalise(image: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its deviation: (B, 1 or 3, H, W) to (B, 3, H, W)."""
    mean, std = _imagenet(image.device, image.dtype)
    return (image - mean) / std


@cache  # making them anew would wait for the device each time
@torch.inference_mode(False)  # training uses them, too
def _imagenet(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(
        torch.tensor(values, device=device, dtype=dtype)[:, None, None] for values in (MEAN, STD)
    )


def to_model_points(points_yx: ArrayLike, fit: Fit, device: torch.device) -> Tensor:
    """Points of a plane in the model's input.

    Parameters
    ----------
    points_yx : array-like, shape (P, 2)
        (row, column) in pixels of the plane.
    fit : Fit
        How the plane lies in the input.
    device : torch.device
        Where the tensor goes.

    Returns
    -------
    Tensor of float32, shape (P, 2)
        x / width x extent + 0.5 and the same for y, as in the published packages.
    """
    points = np.asarray(points_yx, dtype=np.float64).reshape(-1, 2)
    scale = np.asarray(fit.extent) / np.asarray(fit.shape)
    points_xy_model = (points * scale + 0.5)[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(points_xy_model, dtype=np.float32)).to(device)


def to_model_mask(mask: NDArray[Any], fit: Fit, device: torch.device) -> Tensor:
    """A mask of a plane, (Y, X), in the model's input: (1, 1, size, size) of 0 and 1."""
    given = torch.from_numpy(mask.astype(np.float32))[None, None]
    resized = F.interpolate(given, size=fit.extent, mode="bilinear", antialias=True)
    return fit.pad((resized >= 0.5).float()).to(device)


def to_plane_logits(logits: Tensor, fit: Fit) -> Tensor:
    """Mask logits (B, M, h, w) stretched to the plane, (B, M, Y, X) float32."""
    logits = logits.float()
    height, width = fit.extent
    if fit.padded:  # first to the input, where the padding is cut off, as SAM 1 does
        logits = _stretched(logits, (fit.size, fit.size))[..., :height, :width]
    return _stretched(logits, fit.shape)


def plane_weights(fit: Fit, grid: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """What `to_plane_logits` does to rows and to columns, for parts of large planes.

    Parameters
    ----------
    fit : Fit
        How the plane lies in the input.
    grid : tuple of int
        (h, w) of the mask logits.
    device : torch.device
        Where the tensors go.

    Returns
    -------
    tuple of Tensor of float32, shapes (Y, h) and (X, w)
        ``rows @ logits @ columns.T`` are the logits of the plane.
    """
    weights = []
    for axis, length in enumerate(grid):
        one_each = torch.eye(length)[None]
        if fit.padded:
            one_each = F.interpolate(one_each, size=fit.size, mode="linear")
            one_each = one_each[..., : fit.extent[axis]]
        stretched = F.interpolate(one_each, size=fit.shape[axis], mode="linear")
        weights.append(stretched[0].T.contiguous().to(device))
    return weights[0], weights[1]


def _stretched(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
