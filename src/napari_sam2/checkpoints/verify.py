"""Whether a file is the published one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from napari_sam2.checkpoints.errors import CheckpointError
from napari_sam2.checkpoints.registry import NANO_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.checkpoints.read import Config
    from napari_sam2.checkpoints.registry import Checkpoint


def verify(checkpoint: Checkpoint, path: Path) -> str:
    """Check a file as far as what is known of it allows.

    Parameters
    ----------
    checkpoint : Checkpoint
        What the file is to be.
    path : Path
        The file, under any name.

    Returns
    -------
    str
        What was checked and found right, such as ``"checksum right"``.

    Raises
    ------
    ValueError
        When the file is another one, or is damaged; the message is the fact alone, as the remedy
        depends on where the file came from.
    OSError
        When it cannot be read.
    """
    check_bytes(checkpoint, path)
    if checkpoint.sha256 is None:
        check_tensors(checkpoint.name, path)
    return found_right(checkpoint)


def found_right(checkpoint: Checkpoint) -> str:
    """What `verify` checks of a file, in the words for one that is right."""
    if checkpoint.sha256 is not None:
        return "checksum right"
    checked = "shapes" if checkpoint.sizes is None else "size and shapes"
    return f"no checksum known: {checked} right"


def verify_nano() -> str:
    """Check the bundled model; returns and raises as `verify` does."""
    check_tensors("nano", NANO_FILE)
    return "bundled, no checksum known: shapes right"


def check_bytes(checkpoint: Checkpoint, path: Path) -> None:
    """Check size and checksum as far as they are known; raises as `verify` does."""
    size = path.stat().st_size
    if checkpoint.sizes is not None and size not in checkpoint.sizes:
        raise ValueError(
            f"{path.name} has {size} bytes, but {checkpoint.name} as published has "
            f"{checkpoint.bytes_text}"
        )
    if checkpoint.sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != checkpoint.sha256:
        raise ValueError(
            f"{path.name} has the SHA-256 {found}, but {checkpoint.name} as published has "
            f"{checkpoint.sha256}"
        )


def check_tensors(name: str, path: Path) -> None:
    """Check that a file holds the tensors of a model; raises as `verify` does."""
    from napari_sam2.checkpoints.read import read_checkpoint  # brings torch

    try:
        config, _ = read_checkpoint(path)
    except CheckpointError as error:
        raise ValueError(error.fact.rstrip(".")) from error
    check_model(name, path, config)


def check_model(name: str, path: Path, config: Config) -> None:
    """Check which model was found in a file; raises as `verify` does."""
    if config.name != name:
        raise ValueError(f"{path.name} holds the weights of {config.name}, not of {name}")
