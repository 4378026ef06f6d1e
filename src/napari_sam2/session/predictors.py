"""Loads models, and makes the predictors that an engine works with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam2.inference.large.large_plane_objects import LargePlaneObjects
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.video.spill import MemoryBudget
    from napari_sam2.inference.video.video_predictor import VideoPredictor
    from napari_sam2.session.stack_source import StackSource
    from napari_sam2.session.values import ModelChoice

    Predictor = VideoPredictor | LargePlaneObjects


def load_chosen(choice: ModelChoice) -> Model:
    """Load a model as it was chosen; raises what `load_model` does."""
    # Imported late: torch takes seconds to import, and opening a window must not wait for it.
    import torch

    from napari_sam2.inference.load import load_model

    torch.cuda.empty_cache()  # what the model before had: budgets are shares of what is free
    return load_model(choice.name, choice.device, choice.precision, choice.image_size)


class Predictors:
    """Makes predictors that share one budget for what they remember.

    Each volume of a film has a predictor of its own, and the session keeps what all of them know.
    """

    def __init__(self) -> None:
        self._memories: MemoryBudget | None = None

    def __call__(self, model: Any, source: StackSource, memory_budget: int | None) -> Predictor:
        """Make one for a stack, or for a plane of any size."""
        from napari_sam2.inference.device import memory_share
        from napari_sam2.inference.large.large_plane import LargePlane
        from napari_sam2.inference.large.large_plane_objects import LargePlaneObjects
        from napari_sam2.inference.large.tiling import LargeImagePredictor
        from napari_sam2.inference.video.spill import MemoryBudget
        from napari_sam2.inference.video.video_predictor import VideoPredictor

        limits = source.contrast_limits
        budget = memory_share(model.device) if memory_budget is None else memory_budget
        frames = source.frames()
        if len(frames) == 1:
            plane = LargePlane(source.plane_levels(), limits, source.name)
            return LargePlaneObjects(LargeImagePredictor(model, plane, memory_budget=budget))
        if self._memories is None:
            self._memories = MemoryBudget(budget // 2)
        else:
            self._memories.resize(budget // 2)
        return VideoPredictor(
            model,
            frames,
            limits,
            memory_budget=budget,
            memories=self._memories,
            distinct=True,
        )
