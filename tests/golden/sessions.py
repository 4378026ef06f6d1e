"""What a person does on a stack and on an image, told once for both predictors.

No rounding error may decide on a pixel of a prompted mask, as all that follows would differ:
make.py looks that none is near zero.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from tests.golden.answers import FRAMES, PROMPTED, PROMPTS

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from napari_sam2.inference.prompts import ModelPrompt

CLICK = PointPrompt((27.0, 51.0))
OTHER = PointPrompt((50.0, 60.0))
OFF = PointPrompt((25.0, 65.0), positive=False)
BOX = BoxPrompt((24, 14, 62, 52))
LAST = FRAMES - 1


def disc(height: int, width: int) -> MaskPrompt:
    rows, columns = np.mgrid[:height, :width]
    return MaskPrompt((rows - 31) ** 2 + (columns - 41) ** 2 < 15**2)


class Steps(Protocol):
    """A predictor on a stack that keeps what its passes answer."""

    def prompt(self, object_id: int, frame: int, *prompts: ModelPrompt) -> None: ...
    def forward(self, start: int) -> None: ...
    def backward(self, start: int) -> None: ...
    def remove_prompts(self, object_id: int, frame: int) -> None: ...
    def remove_object(self, object_id: int) -> None: ...


def two_objects(steps: Steps) -> None:
    for object_id, prompts in PROMPTS.items():
        steps.prompt(object_id, PROMPTED, *prompts)
    steps.forward(PROMPTED)
    steps.backward(LAST)


def mask_and_correction(steps: Steps) -> None:
    steps.prompt(1, 0, disc(96, 120))
    steps.prompt(2, 1, CLICK)
    steps.forward(0)
    steps.prompt(2, 3, CLICK, OFF)
    steps.forward(0)


def future_and_removals(steps: Steps) -> None:
    steps.prompt(1, 1, CLICK)
    steps.prompt(1, LAST, OTHER, OFF)
    steps.prompt(2, 2, BOX)
    steps.forward(0)
    steps.backward(LAST)
    steps.remove_prompts(1, LAST)
    steps.forward(0)
    steps.remove_object(2)
    steps.backward(LAST)


def absences(steps: Steps) -> None:
    steps.prompt(1, 1, CLICK)
    steps.prompt(2, 2, BOX, OFF)
    steps.forward(0)
    steps.backward(LAST)


SESSIONS: tuple[Callable[[Steps], None], ...] = (
    two_objects,
    mask_and_correction,
    future_and_removals,
    absences,
)
# With these weights objects are always there; with this bias they come and go.
COME_AND_GO = 0.65


@contextmanager
def presence(session: Callable[[Steps], None], last: nn.Linear) -> Iterator[None]:
    """The bias, in the last layer that tells whether an object is there, that a session needs."""
    before = last.bias.detach().clone()
    with torch.no_grad():
        if session is absences:
            last.bias.fill_(COME_AND_GO)
        yield
        last.bias.copy_(before)


def questions(size: int) -> tuple[tuple[tuple[ModelPrompt, ...], bool, bool], ...]:
    """Prompts on an image (size, size), whether for three masks, whether refining the last best."""
    return (
        ((CLICK,), True, False),
        ((CLICK, OFF), False, True),
        ((BOX, OFF), True, False),
        ((disc(size, size), CLICK), False, False),
    )
