"""Which models are small enough that their answers are helped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.inference.load import Model

SMALL_MODELS = ("nano",)  # those fine-tuned from it, too


def is_small(model: Model) -> bool:
    """Whether a model's answers are helped.

    It is shown a plane in turns, what is small closer and what is long a second time; its masks are
    freed of what lies apart, and their scores count agreement. A published model answers as its own
    package does, and takes a second for each further look on a processor.
    """
    return model.config.name in SMALL_MODELS
