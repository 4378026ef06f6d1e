"""The objects on a large plane, asked for as those of a stack are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.large.placed import PlacedPrompts
from napari_sam2.inference.prompts import (
    are_given,
    check_object_id,
    check_prompts,
    refines,
)
from napari_sam2.inference.results import FrameResult
from napari_sam2.model.promptable import MASK_BIAS, MASK_SCALE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from napari_sam2.inference.large.fields import Bounds
    from napari_sam2.inference.large.large_prediction import LargePrediction
    from napari_sam2.inference.large.tiling import LargeImagePredictor
    from napari_sam2.inference.prompts import Prompt


@dataclass(frozen=True, eq=False)
class PlaneObject:
    """What is known of an object.

    Attributes
    ----------
    prompts : tuple of Prompt
        All of its prompts.
    answer : LargePrediction or None
        What the model answered; None where the mask was given.
    shown : LargePrediction or None
        That, or the candidate that was chosen in its place, looked at again where it is small.
    crop : MaskCrop
        The mask that is shown.
    candidates : LargePrediction or None
        What the prompts may mean; None until another mask was asked for.
    """

    prompts: tuple[Prompt, ...]
    answer: LargePrediction | None
    shown: LargePrediction | None
    crop: MaskCrop
    candidates: LargePrediction | None = None

    @property
    def score(self) -> float:
        """The model's own estimate of the mask's IoU; 1 where it was given."""
        return 1.0 if self.shown is None else float(self.shown.scores.max())


class LargePlaneObjects:
    """Objects on a plane that the model is shown in parts.

    It is asked as a `VideoPredictor` is, for a stack of one frame; masks are looked for by a
    `LargeImagePredictor`.

    Parameters
    ----------
    predictor : LargeImagePredictor
        Of the plane.

    Attributes
    ----------
    view : tuple of float or None
        What the model is shown from the next prompts on, where they lie in it, as
        `LargeImagePredictor.predict` takes it.
    """

    def __init__(self, predictor: LargeImagePredictor) -> None:
        self.predictor = predictor
        self.view: Bounds | None = None
        self._known: dict[int, PlaneObject] = {}

    def add_prompts(self, object_id: int, frame: int, prompts: Sequence[Prompt]) -> FrameResult:
        """Segment an object; takes, returns and raises what `VideoPredictor.add_prompts` does."""
        check_object_id(object_id)
        _check_frame(frame)
        checked = check_prompts(prompts, self.predictor.shape)
        if are_given(checked):
            crop = _given(PlacedPrompts.of(checked, self.predictor.shape))
            self._known[object_id] = PlaneObject(checked, None, None, crop)
        else:
            answer = self.predictor.predict(
                checked, previous=self._refined(object_id, checked), view=self._seen(checked)
            )
            shown = self.predictor.look_again(checked, answer)
            self._known[object_id] = PlaneObject(checked, answer, shown, shown.best)
        return self.result(frame)

    def choose_candidate(self, object_id: int, frame: int, index: int | None) -> FrameResult:
        """Take another mask; takes, returns and raises what the `VideoPredictor`'s does."""
        known = self._prompted(object_id, frame)
        if known.answer is None:
            raise ValueError(
                "The mask was given, so there is no candidate beside it. Add a point or a box to "
                "it first."
            )
        found = known.candidates
        if index is None:
            shown = self.predictor.look_again(known.prompts, known.answer)
        else:
            found = found or self.predictor.candidates(known.prompts, known.answer)
            if not 0 <= index < len(found.scores):
                raise IndexError(
                    f"There is no candidate {index}: there are {len(found.scores)}, from 0."
                )
            # not again, which may find what another candidate shows
            chosen = found.only([index])
            shown = self.predictor.look_closer(known.prompts, chosen)
        self._known[object_id] = replace(known, shown=shown, crop=shown.best, candidates=found)
        return self.result(frame)

    def remove_prompts(self, object_id: int, frame: int, keep_mask: bool = True) -> None:
        """Forget an object; raises `KeyError` where it has no prompts."""
        self._prompted(object_id, frame)
        del self._known[object_id]

    def remove_object(self, object_id: int) -> None:
        """Forget an object; raises `KeyError` where there is no such one."""
        self.remove_prompts(object_id, 0)

    def propagate(
        self,
        direction: str = "both",
        start: int | None = None,
        stop: int | None = None,
        stop_when_absent: int | None = None,
        object_ids: Collection[int] | None = None,
    ) -> Iterator[FrameResult]:
        """What is known: there is no other frame to carry anything to.

        Raises
        ------
        ValueError
            When nothing was prompted.
        """
        if not self._known:
            raise ValueError("There is no prompt yet. Add a point, a box or a mask first.")
        yield self.result(0)

    def snapshot(self) -> Mapping[int, PlaneObject]:
        """Keep what is known now, to go back to it."""
        return dict(self._known)

    def restore(self, snapshot: Mapping[int, PlaneObject]) -> None:
        """Go back to what was known when a snapshot was taken."""
        self._known = dict(snapshot)

    def result(self, frame: int) -> FrameResult:
        """What is known, without computing anything new."""
        _check_frame(frame)
        known = self._known.values()
        return FrameResult(
            frame=frame,
            shape=self.predictor.shape,
            object_ids=tuple(self._known),
            crops=tuple(each.crop for each in known),
            scores=np.array([each.score for each in known], dtype=np.float32),
            present=np.array([each.crop.logits.size > 0 for each in known], dtype=bool),
        )

    def _seen(self, prompts: tuple[Prompt, ...]) -> Bounds | None:
        """The view, where it has all prompts in it."""
        if self.view is None:
            return None
        bounds = PlacedPrompts.of(prompts, self.predictor.shape).bounds
        return self.view if self.predictor.grid.view(self.view).holds(bounds) else None

    def _refined(self, object_id: int, prompts: tuple[Prompt, ...]) -> LargePrediction | None:
        known = self._known.get(object_id)
        return known.shown if known and refines(prompts, known.prompts) else None

    def _prompted(self, object_id: int, frame: int) -> PlaneObject:
        _check_frame(frame)
        if object_id not in self._known:
            raise KeyError(f"Object {object_id} has no prompts on frame {frame}.")
        return self._known[object_id]


def _check_frame(frame: int) -> None:
    if frame:
        raise IndexError(f"There is no frame {frame}: a plane is frame 0.")


def _given(placed: PlacedPrompts) -> MaskCrop:
    """Masks as logits, all that they cover being the object."""
    top, left, bottom, right = (int(each) for each in placed.bounds)
    covered = np.zeros((bottom - top + 1, right - left + 1), dtype=bool)
    for row, column, patch in placed.patches:
        height, width = patch.shape
        covered[row - top : row - top + height, column - left : column - left + width] |= patch
    return MaskCrop((covered * MASK_SCALE + MASK_BIAS).astype(np.float16), (top, left))
