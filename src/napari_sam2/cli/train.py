"""``napari-sam2 train``: a model learns from the user's own labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.cli.errors import InputError
from napari_sam2.training.config import load_config
from napari_sam2.training.errors import TrainingError
from napari_sam2.training.trainer import CHECKPOINT, Trainer

if TYPE_CHECKING:
    from napari_sam2.training.config import TrainingConfig


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the fields are its options.

    Attributes
    ----------
    config : Path
        The TOML file.
    output : Path or None
        Where checkpoints, curves, pictures and the model go; by default a folder of the run's
        name, in the current one.
    steps : int or None
        At most so many of each stage: a trial.
    export : bool
        Write the model of the last checkpoint, and do no more.
    """

    config: Path
    output: Path | None = None
    steps: int | None = None
    export: bool = False


def run(request: Request) -> list[str]:
    """Train to the end, going on from the last checkpoint.

    Raises
    ------
    InputError
        When the run cannot begin or go on; the message says why.
    """
    try:
        config = load_config(request.config)
        folder = request.output or Path(f"{config.name}_{'trial' if request.steps else 'training'}")
        checkpoint = folder / CHECKPOINT
        if request.export and not checkpoint.exists():
            raise TrainingError(
                f"There is no {checkpoint}, so there is no model to write. Give the --output of "
                "the run, or train first, without --export."
            )
        trainer = Trainer(_shortened(config, request.steps), folder)
        had_ended = trainer.has_ended
        if request.export:
            path = folder / f"{config.name}.safetensors"
            trainer.export(path)
        else:
            path = trainer.run()
    except KeyboardInterrupt:
        raise
    except (ValueError, TrainingError, FileNotFoundError) as error:
        # what a worker process raises has its traceback in front
        last = str(error).strip().splitlines()[-1]
        raise InputError(last.removeprefix("ValueError: ")) from error
    lines = [
        f"Model: {path}",
        f"Use it: in the window, as a checkpoint file; or napari-sam2 segment --model {path}",
    ]
    if had_ended and not request.export:
        lines.insert(
            0,
            "This run had ended before, so nothing was read or learned. To train anew, give "
            f"another --output, or delete {checkpoint}.",
        )
    return lines


def _shortened(config: TrainingConfig, steps: int | None) -> TrainingConfig:
    if steps is None:
        return config
    stages = tuple(replace(stage, steps=min(stage.steps, steps)) for stage in config.stages)
    return replace(config, stages=stages)
