"""Prompts on a plane of a stack, answered as on a plane by itself."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from napari_sam2.inference.large.large_plane import LargePlane
from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.video.answers import FILLED_LOGIT, fill_holes
from napari_sam2.inference.video.memory_bank import FrameMemory, Look
from napari_sam2.model.promptable import MASK_BIAS, MASK_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_sam2.inference.feature_store import FeatureStore
    from napari_sam2.inference.large.large_prediction import LargePrediction
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.planes import ShownPlanes
    from napari_sam2.inference.prompts import Prompt

PLANES = 8  # that were clicked on last stay in memory; others are encoded, or come from the store


class Looks:
    """Looks at planes of a stack, in turns, and a second time at what is long.

    What a small model finds on the plane of a click is what most is lost by in the others: they
    are given that mask to remember, as one that a person has drawn.

    Parameters
    ----------
    model : Model
        From `load_model`.
    planes : ShownPlanes
        Of the stack.
    budget : int
        Bytes that encoded parts of a plane may take up.
    store : FeatureStore or None
        Where they go that do not fit.
    largest_hole : int
        Holes of a mask up to so many cells are filled.
    """

    def __init__(
        self,
        model: Model,
        planes: ShownPlanes,
        budget: int,
        store: FeatureStore | None,
        largest_hole: int = 0,
    ) -> None:
        self.model, self.planes = model, planes
        self.budget, self.store = budget, store
        self.largest_hole = largest_hole
        # of the last planes, by frame and contrast limits
        self._predictors: OrderedDict[tuple[int, Any], LargeImagePredictor] = OrderedDict()

    def answer(
        self, frame: int, prompts: Sequence[Prompt], before: Look | None = None
    ) -> FrameMemory:
        """The mask of an object's prompts on a frame, which may refine an earlier one."""
        predictor = self._predictor(frame)
        answer = predictor.predict(prompts, previous=before.shown if before else None)
        # closer takes another call of the encoder, for little (films 0.850 to 0.857)
        shown = predictor.look_again(prompts, answer, closer=False)
        return self._kept(predictor, answer, shown)

    def candidates(
        self, frame: int, prompts: Sequence[Prompt], look: Look
    ) -> tuple[FrameMemory, ...]:
        """The three masks that prompts may mean, as they were seen at first."""
        predictor = self._predictor(frame)
        found = predictor.candidates(prompts, look.answer)
        each = [found.only([index]) for index in range(len(found.scores))]
        return tuple(self._kept(predictor, one, one) for one in each)

    def forget(self) -> None:
        """Keep nothing of the last planes, as memory is short."""
        self._predictors.clear()

    def _kept(
        self, predictor: LargeImagePredictor, answer: LargePrediction, shown: LargePrediction
    ) -> FrameMemory:
        if self.largest_hole:
            filled = fill_holes(torch.from_numpy(shown.logits.copy()), self.largest_hole)
            shown = replace(shown, logits=filled.numpy())
        return FrameMemory(
            self._in_stack(predictor, shown).to(self.model.device),
            score=float(shown.scores.max()),
            present=shown.best.logits.size > 0,
            pointer=None,
            look=Look(answer, shown),
        )

    def _in_stack(self, predictor: LargeImagePredictor, shown: LargePrediction) -> Tensor:
        """The logits (1, h, w) of a mask as other planes are seen, which is coarser at times."""
        if shown.field == predictor.grid.whole:
            return torch.from_numpy(shown.logits)
        mask = torch.zeros(1, 1, *predictor.shape)
        mask[0, 0][shown.best.slices] = torch.from_numpy(shown.best.logits > 0).float()
        cells = self.model.config.image_size // 4
        covered = F.interpolate(mask, size=(cells, cells), mode="bilinear", antialias=True)[0]
        logits = covered * MASK_SCALE + MASK_BIAS
        if covered.any() and not (logits > 0).any():
            logits.view(-1)[covered.argmax()] = FILLED_LOGIT  # smaller than a cell, but there
        return logits

    def _predictor(self, frame: int) -> LargeImagePredictor:
        known = frame, self.planes.contrast_limits
        if known not in self._predictors:
            plane, limits = self.planes.shown(frame)
            known = frame, limits
            self._predictors[known] = LargeImagePredictor(
                self.model,
                LargePlane(plane, limits),
                memory_budget=self.budget // PLANES,
                store=self.store,
            )
        self._predictors.move_to_end(known)
        self._keep_within(self._predictors[known].nbytes)
        return self._predictors[known]

    def _keep_within(self, one: int) -> None:
        """Let go of what was asked longest ago; planes of a stack take up about as much each."""
        most = max(1, min(PLANES, self.budget // one))
        while len(self._predictors) > most:
            _, oldest = self._predictors.popitem(last=False)
            oldest.features.put_away()
