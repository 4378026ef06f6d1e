"""Checkpoints of a run: whole or not at all, so that the last one survives whatever happens."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import torch

from napari_sam2.training.errors import TrainingError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

SPARE_BYTES = 50 * 2**20


def check_room(folder: Path, network: nn.Module) -> None:
    """Refuse a disk that cannot hold the checkpoints of a run.

    Raises
    ------
    TrainingError
        When too little is free.
    """
    weights = sum(p.numel() for p in network.parameters())
    learning = sum(p.numel() for p in network.parameters() if p.requires_grad)
    # the optimiser keeps two numbers for each; a new checkpoint is written beside the last one
    needed = 2 * 4 * (weights + 2 * learning) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"{free / 1e6:.0f} MB are free in {folder}, but checkpoints need {needed / 1e6:.0f} MB."
            " Make room, or choose another folder with --output."
        )


def load_state(path: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Read the checkpoint of a run.

    Raises
    ------
    TrainingError
        When the file is damaged or belongs to another run.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # bytes of another format can break the reader anywhere
        raise TrainingError(
            f"{path} is not a checkpoint, or is damaged ({first_line(error)}). "
            "Delete it to begin anew, or choose another folder with --output."
        ) from error
    kept = state.get("run", run)
    different = [key for key in run if kept.get(key) != run[key]]
    if different:
        raise TrainingError(
            f"{path} is of another run: its {different[0]} is {kept.get(different[0])!r}, not "
            f"{run[different[0]]!r}. Choose another folder with --output, or delete it to begin "
            "anew."
        )
    return state
