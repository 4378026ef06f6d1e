"""The planes of a stack as a model sees them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam2.inference.encode import ENCODING, encode_plane
from napari_sam2.inference.frames import PlaneReader
from napari_sam2.inference.transforms import checked_limits, contrast_limits_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.inference.frames import FrameSource
    from napari_sam2.inference.load import Model
    from napari_sam2.model.neck import ImageFeatures


class ShownPlanes:
    """Encodes the planes of a stack, all shown alike.

    It knows nothing of the predictor that it works for, which so goes with its last user, and the
    model with it: a cycle would keep both until Python looks for cycles.

    Parameters
    ----------
    model : Model
        From `load_model`.
    source : FrameSource
        The stack.
    contrast_limits : tuple of float or None
        (low, high), mapped to black and white; None takes those of the first plane asked for.

    Attributes
    ----------
    reader : PlaneReader
        Of the stack.
    """

    def __init__(
        self, model: Model, source: FrameSource, contrast_limits: tuple[float, float] | None
    ) -> None:
        self.model = model
        self.contrast_limits = None if contrast_limits is None else checked_limits(contrast_limits)
        self.reader = PlaneReader(source)

    def encode(self, frame: int) -> ImageFeatures:
        """Read a plane and encode it."""
        return encode_plane(self.model, *self.shown(frame))

    def key(self, frame: int) -> str:
        """What identifies the features of a plane, wherever it comes from."""
        return content_key(self.model, *self.shown(frame))

    def shown(self, frame: int) -> tuple[NDArray[Any], tuple[float, float]]:
        """Read a plane, with what is black and white on it."""
        plane = self.reader.plane(frame)
        if self.contrast_limits is None:
            self.contrast_limits = contrast_limits_of(plane)
        return plane, self.contrast_limits


def content_key(
    model: Model, plane: NDArray[Any], contrast_limits: tuple[float, float], turns: int = 1
) -> str:
    """What identifies the features of a plane in its turns by what they are made from."""
    digest = hashlib.blake2b(model.encoder_digest.encode(), digest_size=16)
    how = ENCODING, model.device.type, torch.get_num_threads(), contrast_limits, turns
    digest.update(f"{how} {plane.shape} {plane.dtype}".encode())
    digest.update(np.ascontiguousarray(plane).tobytes())
    return digest.hexdigest()
