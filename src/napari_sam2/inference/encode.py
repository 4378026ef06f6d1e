"""Planes and prompts to the tensors the network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.inference.transforms import to_model_image, to_model_mask, to_model_points
from napari_sam2.inference.turns import turned_maps
from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN, NEGATIVE, POSITIVE

ENCODING = 1  # to be raised when planes come to be encoded otherwise: stored features outlive that
LOGIT_LIMIT = 32.0  # logits fed back are clamped to this, as in the sam2 package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import ModelPrompt


def encode_plane(
    model: Model, plane: NDArray[Any], contrast_limits: tuple[float, float], turns: int = 1
) -> ImageFeatures:
    """Encode one plane of shape (Y, X) or (Y, X, 3) in each of its turns, a batch of them."""
    height, width = plane.shape[:2]
    image = to_model_image(plane, contrast_limits, model.fit((height, width)), model.device)
    return encode_images(model, turned_maps(image, turns))


def encode_images(model: Model, images: Tensor) -> ImageFeatures:
    """Encode a batch as the model takes it, (B, 3, S, S)."""

    def encode(image: Tensor) -> tuple[Tensor, ...]:
        found = model.network.encode_image(image)
        # as they come back from disk: in another layout, other kernels would round otherwise
        return tuple(each.contiguous() for each in vars(found).values())

    with torch.inference_mode(), model.precision():
        return ImageFeatures(*model.graphs("encode", encode, images))


def point_tensors(
    model: Model, prompts: Sequence[ModelPrompt], shape: tuple[int, int]
) -> tuple[Tensor | None, Tensor | None]:
    """Points and box of one object: (1, P, 2) in model pixels and (1, P) labels, or None.

    A box is its two corners, and comes first.
    """
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    for prompt in prompts:
        if isinstance(prompt, BoxPrompt):
            points = [prompt.box[:2], prompt.box[2:], *points]
            labels = [BOX_MIN, BOX_MAX, *labels]
        elif isinstance(prompt, PointPrompt):
            points.append(prompt.position)
            labels.append(POSITIVE if prompt.positive else NEGATIVE)
    if not points:
        return None, None
    points_xy_model = to_model_points(points, model.fit(shape), model.device)
    return points_xy_model[None], torch.tensor([labels], device=model.device)


def mask_tensor(
    model: Model, prompts: Sequence[ModelPrompt], shape: tuple[int, int]
) -> Tensor | None:
    """The mask prompt in the model's input, (1, 1, S, S) of 0 and 1; None without one.

    Raises
    ------
    ValueError
        When nothing is left of the mask in the model's input.
    """
    masks = [prompt.mask for prompt in prompts if isinstance(prompt, MaskPrompt)]
    if not masks:
        return None
    fitted = to_model_mask(masks[0], model.fit(shape), model.device)
    if not fitted.any():
        raise ValueError(
            f"The given mask of {np.count_nonzero(masks[0])} pixels is too thin or too small for "
            f"the model, which sees the plane of {shape[0]} x {shape[1]} pixels as "
            f"{model.config.image_size} x {model.config.image_size}. Give a larger mask, or click."
        )
    return fitted


def previous_logits(model: Model, logits: Tensor) -> Tensor:
    """Logits of a mask so far, (1, 1, S / 4, S / 4), as they are fed back.

    Raises
    ------
    ValueError
        When they have another size.
    """
    size = model.config.image_size // 4
    if logits.shape[-2:] != (size, size):
        raise ValueError(
            f"The previous logits are {logits.shape[-2]} x {logits.shape[-1]}, and this model "
            f"takes {size} x {size}. Give an answer of the same model at the same image_size."
        )
    logits = logits.float().to(model.device)
    # SAM 1's predictor feeds them back as they are
    return logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT) if model.config.family == "sam2" else logits
