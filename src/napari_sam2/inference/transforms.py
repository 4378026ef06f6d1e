"""Intensities and coordinates between the plane and the model.

One of the two places that convert coordinates: a plane's (row, column), pixel centres at
integers, to the model's (x, y). The model sees the plane stretched to a square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

# Mean and standard deviation of ImageNet's channels, which the published models were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

PERCENTILES = (0.1, 99.9)


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
    plane: NDArray[Any], contrast_limits: tuple[float, float], size: int, device: torch.device
) -> Tensor:
    """The model's input for one plane.

    Parameters
    ----------
    plane : array, shape (Y, X) or (Y, X, 3)
        Any real dtype.
    contrast_limits : tuple of float
        (low, high), mapped to black and white.
    size : int
        Side of the model's input in pixels.
    device : torch.device
        Where the tensor goes.

    Returns
    -------
    Tensor of float32, shape (1, 3, size, size)
        Resized with antialiasing, normalised.
    """
    image = torch.from_numpy(rescale(plane, contrast_limits)).to(device)
    image = image.permute(2, 0, 1) if image.ndim == 3 else image[None]
    image = F.interpolate(
        image[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return normalise(image)


def normalise(image: Tensor) -> Tensor:
    """Subtract ImageNet's mean and divide by its deviation: (B, 1 or 3, H, W) to (B, 3, H, W)."""
    mean = image.new_tensor(MEAN)[:, None, None]
    std = image.new_tensor(STD)[:, None, None]
    return (image - mean) / std


def to_model_points(
    points_yx: ArrayLike, shape: Sequence[int], size: int, device: torch.device
) -> Tensor:
    """Points of a plane in the model's input.

    Parameters
    ----------
    points_yx : array-like, shape (P, 2)
        (row, column) in pixels of the plane.
    shape : sequence of int
        (Y, X) of the plane.
    size : int
        Side of the model's input in pixels.
    device : torch.device
        Where the tensor goes.

    Returns
    -------
    Tensor of float32, shape (P, 2)
        x / width x size + 0.5 and the same for y, as in the ``sam2`` package.
    """
    points = np.asarray(points_yx, dtype=np.float64).reshape(-1, 2)
    points_xy_model = (points / np.asarray(shape[:2]) * size + 0.5)[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(points_xy_model, dtype=np.float32)).to(device)


def to_plane_logits(logits: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mask logits (B, M, h, w) stretched to the plane, (B, M, Y, X) float32."""
    return F.interpolate(logits.float(), size=shape, mode="bilinear", align_corners=False)
