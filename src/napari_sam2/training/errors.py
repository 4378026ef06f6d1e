"""What stops a run, said so that the user knows what to do."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from safetensors import SafetensorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_sam2.training.config import Stage

# in what torch says on a GPU, on a CPU, and when the system ends a worker
OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory", "signal: killed")


class TrainingError(RuntimeError):
    """A run that cannot begin or go on; the message states the fact and the remedy."""


@contextmanager
def disk_explained(path: Path) -> Iterator[None]:
    """Say what to do when a file cannot be written.

    Raises
    ------
    TrainingError
        Such as on a full disk.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # each library has its own
        free = shutil.disk_usage(path.parent).free / 1e6 if path.parent.is_dir() else 0
        earlier = "; the one before is intact" if path.exists() else ""
        raise TrainingError(
            f"{path} could not be written ({first_line(error)}){earlier}. {free:.0f} MB are free "
            "there. Make room, and run the same command again: it goes on from the last "
            "checkpoint."
        ) from error


@contextmanager
def memory_explained(stage: Stage) -> Iterator[None]:
    """Say what to make smaller when a step does not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(s in text for s in OUT_OF_MEMORY):
            raise
        raise TrainingError(
            f"There is too little memory for a step of the stage {stage.name!r}: size = "
            f"{stage.size}, images = {stage.images}, objects = {stage.objects}, videos = "
            f"{stage.videos}, frames = {stage.frames}. Lower one of them, and run the same command "
            "again: it goes on from the last checkpoint. 'accumulate' makes up for fewer images."
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says, at most a line of it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
