"""``napari-sam2 evaluate``: how good a model is on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.cli.errors import InputError, explained
from napari_sam2.cli.progress import progress_bar
from napari_sam2.inference.load import load_model
from napari_sam2.training.config import load_data
from napari_sam2.training.datasets import load_sources
from napari_sam2.training.plot import draw_plot
from napari_sam2.training.scores import evaluate, table_of, write_scores
from napari_sam2.training.sources import DataSource

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the fields are its options.

    Attributes
    ----------
    model : str
        As ``load_model`` takes it.
    data : Path
        A TOML file with ``[[data]]``, or a folder with ``images`` and ``labels``.
    output : Path
        The folder of ``evaluation.csv`` and ``evaluation.png``.
    objects : int or None
        At most so many objects on each plane and in each stack.
    seed : int
        Which ones.
    device : str
        As ``load_model`` takes it.
    """

    model: str
    data: Path
    output: Path
    objects: int | None = 20
    seed: int = 0
    device: str = "auto"


def run(request: Request) -> list[str]:
    """Evaluate and write the scores.

    Returns
    -------
    list of str
        The table, and where the files are.

    Raises
    ------
    InputError
        When the model or the data cannot be used.
    """
    try:
        sources, folder = _sources(request.data)
        split = load_sources(sources, folder)
        model = load_model(request.model, device=request.device)
    except (ValueError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    stacks = split.validation or split.train
    if not stacks:
        raise InputError(f"{request.data} names no files to evaluate on. Give images and labels.")
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{request.output} cannot be created: {error.strerror}.") from error
    with explained(), progress_bar(len(stacks), "Evaluating", "images") as show:
        scores = evaluate(model, stacks, request.objects, request.seed, show)
    if not scores:
        raise InputError(
            "No object is large enough on the planes that were looked at. "
            "Lower smallest_on_plane in the TOML file."
        )
    table, picture = request.output / "evaluation.csv", request.output / "evaluation.png"
    with replacing(table) as partial:
        write_scores(partial, scores)
    with replacing(picture) as partial:
        draw_plot(scores, f"{request.model} on {request.data.name}").save(partial)
    part = "kept out of training" if split.validation else "all images: none is kept out"
    return [
        f"Mean IoU on {len(stacks)} images or stacks ({part})",
        *table_of(scores),
        f"Scores: {table}",
        f"Plot:   {picture}",
    ]


def _sources(data: Path) -> tuple[tuple[DataSource, ...], Path]:
    if data.is_dir():
        return (DataSource(data.resolve().name, "images", "labels"),), data
    return load_data(data), data.absolute().parent
