"""Segment one plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam2.inference.agreement import with_agreement
from napari_sam2.inference.encode import (
    encode_plane,
    mask_tensor,
    point_tensors,
    previous_logits,
)
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.prompts import check_prompts, expand_prompts
from napari_sam2.inference.results import Prediction
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.stray import freed_answer
from napari_sam2.inference.transforms import chosen_limits, to_plane_logits
from napari_sam2.inference.turns import mean_of_turns, turned_maps, turned_points, turns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import ModelPrompt, Prompt
    from napari_sam2.model.mask_decoder import Decoded
    from napari_sam2.model.neck import ImageFeatures


class ImagePredictor:
    """Segments objects on one plane from prompts.

    Parameters
    ----------
    model : Model
        From `load_model`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._features: ImageFeatures | None = None
        self._shape = (0, 0)

    def set_image(
        self, plane: NDArray[Any], contrast_limits: tuple[float, float] | None = None
    ) -> None:
        """Encode a plane; every later `predict` asks about it.

        Parameters
        ----------
        plane : array, shape (Y, X) or (Y, X, 3)
            Any real dtype. NaN and infinities are taken as the lower limit.
        contrast_limits : tuple of float, optional
            (low, high), mapped to black and white. By default 0 to 255 for uint8, else the 0.1
            and 99.9 percentiles.

        Raises
        ------
        TypeError, ValueError
            When the plane has another shape or no real numbers, or the limits show nothing.
        """
        plane = np.asarray(plane)
        source = FrameSource(plane[None])  # the same checks as for a stack
        plane = source.plane(0)
        limits = chosen_limits(contrast_limits, plane)
        self._features = encode_plane(self.model, plane, limits, turns_of(self.model))
        self._shape = source.plane_shape

    def predict(
        self,
        prompts: Sequence[Prompt],
        multimask: bool = False,
        previous: Prediction | None = None,
    ) -> Prediction:
        """Segment one object.

        Parameters
        ----------
        prompts : sequence of Prompt
            Any kinds together, at most one box; (row, column) in pixels of the plane.
        multimask : bool
            Return three candidates, which suits a single click; else one mask.
        previous : Prediction, optional
            An earlier answer to refine: its best logits are fed back. A mask or a polygon among
            the prompts takes its place.

        Returns
        -------
        Prediction
            One mask, or three.

        Raises
        ------
        RuntimeError
            When no image was set.
        ValueError
            When the prompts are empty, outside the plane or contradict each other; when `previous`
            is of a model of another size.
        """
        if self._features is None:
            raise RuntimeError("There is no image yet. Call set_image first.")
        expanded = expand_prompts(check_prompts(prompts, self._shape), self._shape)
        found = decode_prompts(
            self.model, self._features, expanded, self._shape, multimask, best_logits(previous)
        )
        plane_logits = to_plane_logits(found.logits, self.model.fit(self._shape))
        return Prediction(
            masks=(plane_logits[0] > 0).cpu().numpy(),
            scores=found.scores[0].float().cpu().numpy(),
            logits=found.logits[0].float().cpu().numpy(),
        )


def best_logits(previous: Prediction | None) -> Tensor | None:
    """Logits of the candidate with the highest score, (1, 1, h, w), to be fed back."""
    if previous is None:
        return None
    return torch.from_numpy(previous.logits[int(np.argmax(previous.scores))])[None, None]


def decode_prompts(
    model: Model,
    features: ImageFeatures,
    prompts: Sequence[ModelPrompt],
    shape: tuple[int, int],
    multimask: bool,
    previous: Tensor | None,
) -> Decoded:
    """Ask about one object on what was encoded.

    Parameters
    ----------
    model : Model
        That the features are of.
    features : ImageFeatures
        Of a plane, or a part of one, as it lies or in several turns.
    prompts : sequence of ModelPrompt
        Checked, in pixels of the plane.
    shape : tuple of int
        (Y, X) of the plane.
    multimask : bool
        Three candidates, or one mask.
    previous : Tensor or None
        Logits that are fed back, (1, 1, h, w), unless there is a mask among the prompts.

    Returns
    -------
    Decoded
        Of a batch of 1; the mean of what was found in each turn.
    """
    network, turns = model.network, len(features.embedding)
    points, labels = point_tensors(model, prompts, shape)
    if points is not None and labels is not None:
        points, labels = turned_points(points, labels, model.config.image_size, turns)
    with torch.inference_mode(), model.precision():
        mask = mask_tensor(model, prompts, shape)
        if mask is not None:
            previous = network.mask_logits(mask)
        elif previous is not None:
            previous = previous_logits(model, previous)
        fed_back = None if previous is None else turned_maps(previous, turns)
        embedding = network.without_memory(features)
        decoded = network.decode(embedding, features, points, labels, fed_back)
        decoded = freed_answer(model, mean_of_turns(decoded), prompts, shape, previous)
        newer = model.config.family == "sam2"  # SAM 1 knows no fallback
        if not multimask:
            return decoded.single(newer)
        found = decoded.candidates()
        return with_agreement(found) if is_small(model) else found
