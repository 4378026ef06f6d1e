"""A model's scores on labelled images: objects asked for one by one, a table, a file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.training.data import objects_on_plane
from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    overlap_of_box,
    overlaps_by_clicks,
    stack_overlaps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.random import Generator

    from napari_sam2.inference.load import Model
    from napari_sam2.training.data import LabelledStack

CLICKS = (1, 3, 5, 7)
PROMPTS = tuple(f"{count} click{'s' * (count > 1)}" for count in CLICKS)
BOX = "box"
STACK = "whole stack"
COLUMNS = (*PROMPTS, BOX, STACK)
PLANES = 3  # of a stack that single planes are asked on
ABSENT = 3  # planes without an object after which the window leaves it, in z


@dataclass(frozen=True)
class Score:
    """How well one object was found from one kind of prompt.

    Attributes
    ----------
    source, image : str
        The data set, and the image within it.
    frame : int
        The plane; where a whole stack was asked for, the clicked one.
    label : int
        The object's label in its file.
    prompt : str
        One of `COLUMNS`.
    overlap : float
        The IoU of what was found and the truth.
    """

    source: str
    image: str
    frame: int
    label: int
    prompt: str
    overlap: float


def score_stack(
    model: Model, stack: LabelledStack, objects: int | None, random: Generator
) -> Iterator[Score]:
    """Ask for objects on single planes, and through the whole stack.

    Parameters
    ----------
    model : Model
        What is judged.
    stack : LabelledStack
        An image, or a stack: of that, three planes at equal distances.
    objects : int or None
        At most so many on each plane, and as many through the stack, drawn at random.
    random : numpy.random.Generator
        The source of chance.

    Yields
    ------
    Score
        One for each object and prompt.
    """
    count = min(len(stack), PLANES)
    for frame in np.linspace(0, len(stack) - 1, count + 2).round().astype(int)[1:-1].tolist():
        labels = stack.label_plane(frame)
        chosen = _some(objects_on_plane(labels, stack.smallest_on_plane), objects, random)
        if chosen:
            plane = stack.image_plane(frame)
            predictor = LargeImagePredictor(model, plane, (0.0, 1.0), store=None)
        for label in chosen:
            truth = labels == label
            by_clicks = overlaps_by_clicks(predictor, truth, max(CLICKS))
            reached = [by_clicks[clicks - 1] for clicks in CLICKS]
            reached.append(overlap_of_box(predictor, truth))
            for prompt, overlap in zip((*PROMPTS, BOX), reached, strict=True):
                yield _score(stack, frame, label, prompt, overlap)
    if len(stack) > 1:
        clicks = clicks_on_largest_planes(stack.label_planes)
        clicks = {label: clicks[label] for label in _some(sorted(clicks), objects, random)}
        # in time an object that is gone may come back
        absent = ABSENT if "z" in stack.labels.axes else None
        for label, overlap in stack_overlaps(model, stack, clicks, absent).items():
            yield _score(stack, clicks[label][0], label, STACK, overlap)


def evaluate(
    model: Model,
    stacks: Sequence[LabelledStack],
    objects: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Score]:
    """Score a model on stacks; ``progress`` takes the number of those done."""
    scores: list[Score] = []
    for index, stack in enumerate(stacks):
        # the same objects whatever else is evaluated, and with whatever model
        random = np.random.default_rng([seed, *f"{stack.source}/{stack.name}".encode()])
        scores += score_stack(model, stack, objects, random)
        progress(index + 1)
    return scores


def mean_overlaps(scores: Sequence[Score]) -> dict[str, dict[str, tuple[float, int]]]:
    """Mean IoU and number of objects by source and prompt."""
    found: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        found.setdefault(score.source, {}).setdefault(score.prompt, []).append(score.overlap)
    return {
        source: {prompt: (float(np.mean(all_)), len(all_)) for prompt, all_ in prompts.items()}
        for source, prompts in found.items()
    }


def table_of(scores: Sequence[Score]) -> list[str]:
    """Lines of a table: a source each, and the mean IoU from each kind of prompt."""
    rows = [["data", "objects", *COLUMNS]]
    for source, means in mean_overlaps(scores).items():
        most = max(count for _, count in means.values())
        cells = [f"{means[column][0]:.3f}" if column in means else "-" for column in COLUMNS]
        rows.append([source, str(most), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write every score as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "image", "plane", "label", "prompt", "iou"])
        for s in scores:
            writer.writerow([s.source, s.image, s.frame, s.label, s.prompt, f"{s.overlap:.4f}"])


def _score(stack: LabelledStack, frame: int, label: int, prompt: str, overlap: float) -> Score:
    own = int(stack.objects[label - 1])
    return Score(stack.source, stack.name, frame, own, prompt, overlap)


def _some(labels: list[int], most: int | None, random: Generator) -> list[int]:
    if most is None or len(labels) <= most:
        return labels
    return sorted(int(label) for label in random.choice(labels, most, replace=False))
