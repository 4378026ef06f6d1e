"""What published models answer when filled with `tests.golden.weights`, as stored in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2 import BoxPrompt, PointPrompt

if TYPE_CHECKING:
    import torch

FILE = Path(__file__).with_name("golden.npz")
VALUES = 64  # kept of each tensor, evenly spaced
SIZE = 128  # input of SAM 2; SAM 1 needs one that is larger than its windows
SAM1_SIZE = 256

FRAMES, PROMPTED = 5, 1
# Chosen so that no pixel of a prompted mask is near zero, where a rounding error would decide.
PROMPTS = {  # of two objects
    1: (PointPrompt((27.0, 51.0)),),
    2: (BoxPrompt((24, 14, 62, 52)), PointPrompt((25.0, 65.0), positive=False)),
}


def sample(tensor: torch.Tensor) -> np.ndarray:
    """A few values of a tensor."""
    flat = tensor.detach().float().flatten()
    return flat[:: max(1, len(flat) // VALUES)][:VALUES].numpy()


def sampled(parts: dict[str, list[torch.Tensor]]) -> dict[str, np.ndarray]:
    """A few values of each tensor, one array a name."""
    return {name: np.concatenate([sample(t) for t in parts[name]]) for name in parts}
