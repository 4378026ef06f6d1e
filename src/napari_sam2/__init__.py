"""Segment Anything Model 2 for microscopy: images, z-stacks and time-lapses.

The public names are imported when they are first used, so that ``import napari_sam2`` stays
quick and opening napari does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.batch.run import run_batch as run_batch
    from napari_sam2.batch.segment import BatchSettings as BatchSettings
    from napari_sam2.inference.automatic.depth import ThroughDepth as ThroughDepth
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator as MaskGenerator
    from napari_sam2.inference.automatic.memory_segmenter import MemorySegmenter as MemorySegmenter
    from napari_sam2.inference.automatic.over_time import OverTime as OverTime
    from napari_sam2.inference.automatic.stack_segmenter import StackSegmenter as StackSegmenter
    from napari_sam2.inference.image_predictor import ImagePredictor as ImagePredictor
    from napari_sam2.inference.large.tiling import LargeImagePredictor as LargeImagePredictor
    from napari_sam2.inference.load import load_model as load_model
    from napari_sam2.inference.prompts import BoxPrompt as BoxPrompt
    from napari_sam2.inference.prompts import MaskPrompt as MaskPrompt
    from napari_sam2.inference.prompts import PointPrompt as PointPrompt
    from napari_sam2.inference.prompts import PolygonPrompt as PolygonPrompt
    from napari_sam2.inference.prompts import ScribblePrompt as ScribblePrompt
    from napari_sam2.inference.video.video_predictor import VideoPredictor as VideoPredictor

    __version__: str

_HOME = {
    "BatchSettings": "napari_sam2.batch.segment",
    "BoxPrompt": "napari_sam2.inference.prompts",
    "ImagePredictor": "napari_sam2.inference.image_predictor",
    "LargeImagePredictor": "napari_sam2.inference.large.tiling",
    "MaskGenerator": "napari_sam2.inference.automatic.mask_generator",
    "MaskPrompt": "napari_sam2.inference.prompts",
    "MemorySegmenter": "napari_sam2.inference.automatic.memory_segmenter",
    "OverTime": "napari_sam2.inference.automatic.over_time",
    "PointPrompt": "napari_sam2.inference.prompts",
    "PolygonPrompt": "napari_sam2.inference.prompts",
    "ScribblePrompt": "napari_sam2.inference.prompts",
    "StackSegmenter": "napari_sam2.inference.automatic.stack_segmenter",
    "ThroughDepth": "napari_sam2.inference.automatic.depth",
    "VideoPredictor": "napari_sam2.inference.video.video_predictor",
    "load_model": "napari_sam2.inference.load",
    "run_batch": "napari_sam2.batch.run",
}

__all__ = [
    "BatchSettings",
    "BoxPrompt",
    "ImagePredictor",
    "LargeImagePredictor",
    "MaskGenerator",
    "MaskPrompt",
    "MemorySegmenter",
    "OverTime",
    "PointPrompt",
    "PolygonPrompt",
    "ScribblePrompt",
    "StackSegmenter",
    "ThroughDepth",
    "VideoPredictor",
    "__version__",
    "load_model",
    "run_batch",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("napari-sam2")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
