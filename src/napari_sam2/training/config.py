"""What a training run is made of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    """One part of a run.

    Attributes
    ----------
    name : str
        Part of the checkpoint's file name.
    steps : int
        Optimiser steps.
    learning_rate : float
        Highest rate of AdamW; it rises over the first steps and falls along a cosine.
    size : int
        Side of the rendered windows in pixels.
    images, objects : int
        Windows a step, and objects asked for in each.
    videos, frames : int
        Sequences a step, and their length, where a step is a video.
    video_share : float
        Share of the steps that are videos, 0 to 1.
    prompts : bool
        False trains the image encoder alone, on dense targets.
    dense_weight : float
        Weight of the dense targets beside the prompts.
    object_weight : float
        Weight of the pixels of an object against those of the background; below about 5 a model
        that knows nothing yet learns to answer with empty masks.
    box_share : float
        Share of the first prompts that are boxes rather than clicks.
    correction_share : float
        Share of the steps on images in which two corrections follow the first prompt.
    diameters : tuple of float
        Smallest and largest diameter, in rendered pixels, of the object a window is chosen for.
    """

    name: str
    steps: int
    learning_rate: float
    size: int = 256
    images: int = 4
    objects: int = 16
    videos: int = 2
    frames: int = 4
    video_share: float = 0.0
    prompts: bool = True
    dense_weight: float = 0.5
    object_weight: float = 2.0
    box_share: float = 0.25
    correction_share: float = 0.5
    diameters: tuple[float, float] = (14.0, 160.0)


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run: its stages follow each other on the same weights."""

    stages: tuple[Stage, ...]
    model: str = "nano"
    seed: int = 0
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "dsb2018": 0.25, "usiigaci_phase": 0.1, "bbbc050": 0.5, "fib25": 0.15
        }
    )  # fmt: skip


NANO_RUN = TrainingConfig(
    stages=(
        # From random weights prompts alone do not train the encoder: it first learns what an
        # object is from dense targets, then to answer prompts, then to remember.
        Stage("dense", steps=1600, learning_rate=1e-3, images=4, prompts=False, dense_weight=1.0),
        Stage(
            "clicks",
            steps=1500,
            learning_rate=7e-4,
            object_weight=5.0,
            box_share=0.0,
            correction_share=0.0,
            diameters=(20.0, 128.0),
        ),
        Stage("prompts", steps=900, learning_rate=5e-4),
        Stage("memory", steps=850, learning_rate=4e-4, objects=10, video_share=0.85),
        Stage(
            "full_size",
            steps=280,
            learning_rate=3e-4,
            size=512,
            images=2,
            videos=1,
            objects=6,
            video_share=0.85,
            diameters=(16.0, 240.0),
        ),
    )
)
