"""How good a model is: clicks that a person would make, held against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_sam2.inference.masks import bounding_box, intersection_over_union
from napari_sam2.inference.prompts import BoxPrompt, PointPrompt
from napari_sam2.inference.video.video_predictor import VideoPredictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.inference.large.large_prediction import LargePrediction
    from napari_sam2.inference.large.tiling import LargeImagePredictor
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.training.data import LabelledStack, PlaneArray


def middle_of(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Find where a person would click: the pixel farthest from the edge.

    Parameters
    ----------
    mask : array of bool, shape (Y, X)
        Not empty.

    Returns
    -------
    tuple of float
        (row, column) in pixels.
    """
    if not mask.any():
        raise ValueError("The mask is empty, so it has no middle.")
    return _deepest(mask)[1]


def _deepest(mask: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    """The pixel farthest from the edge: how far, and where."""
    box = bounding_box(mask)
    assert box is not None
    # a border of background: the image's edge is an edge of the object, too
    depth = distance_transform_edt(np.pad(mask[box], 1))
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    place = float(row - 1 + box[0].start), float(column - 1 + box[1].start)
    return float(depth.max()), place


def clicks_on_largest_planes(
    labels: NDArray[np.integer[Any]] | PlaneArray,
) -> dict[int, tuple[int, PointPrompt]]:
    """One click for each object of a stack, on the plane where it is largest.

    Parameters
    ----------
    labels : array-like of int, shape (T, Y, X)
        Instance labels.

    Returns
    -------
    dict of int to (int, PointPrompt)
        The frame and the click of each label.
    """
    planes = [np.bincount(plane.ravel()) for plane in labels]
    most = max(map(len, planes))
    counts = np.stack([np.pad(plane, (0, most - len(plane))) for plane in planes])
    frames = counts.argmax(axis=0)
    return {
        int(label): (
            int(frames[label]),
            PointPrompt(middle_of(labels[frames[label]] == label)),
        )
        for label in np.flatnonzero(counts.sum(axis=0))
        if label
    }


def segment_stack(
    model: Model,
    stack: NDArray[Any],
    clicks: dict[int, tuple[int, PointPrompt]],
    stop_when_absent: int | None = 2,
) -> NDArray[np.uint32]:
    """Segment a stack from one click an object, carried both ways: labels (T, Y, X)."""
    video = VideoPredictor(model, stack, distinct=True)
    for label, (frame, click) in clicks.items():
        video.add_prompts(label, frame, [click])
    found = np.zeros(stack.shape[:3], dtype=np.uint32)
    for result in video.propagate("both", stop_when_absent=stop_when_absent):
        found[result.frame] = result.labels()
    return found


def stack_overlaps(
    model: Model,
    stack: LabelledStack,
    clicks: dict[int, tuple[int, PointPrompt]],
    stop_when_absent: int | None,
) -> dict[int, float]:
    """IoU over all planes of each object that is clicked on, carried both ways.

    Planes are read one at a time, and none is kept.
    """
    video = VideoPredictor(model, stack.image_planes, contrast_limits=(0.0, 1.0), distinct=True)
    for label, (frame, click) in clicks.items():
        video.add_prompts(label, frame, [click])
    count = len(stack.objects) + 1
    shared, found = np.zeros((2, len(stack), count), np.int64)
    for result in video.propagate("both", stop_when_absent=stop_when_absent):
        truth, labels = stack.label_plane(result.frame), result.labels()
        # the second visit of a frame replaces the first
        shared[result.frame] = np.bincount(truth[truth == labels], minlength=count)
        found[result.frame] = np.bincount(labels.ravel(), minlength=count)
    true = sum(np.bincount(plane.ravel(), minlength=count) for plane in stack.label_planes)
    overlaps = shared.sum(axis=0) / (true + found.sum(axis=0) - shared.sum(axis=0)).clip(min=1)
    return {label: float(overlaps[label]) for label in clicks}


def label_overlaps(
    labels: NDArray[np.integer[Any]], found: NDArray[np.integer[Any]]
) -> dict[int, float]:
    """IoU of each true object with the object found under the same label."""
    values = np.unique(labels)
    counts = {
        int(value): (
            np.count_nonzero((labels == value) & (found == value)),
            np.count_nonzero((labels == value) | (found == value)),
        )
        for value in values[values > 0]
    }
    return {value: shared / union for value, (shared, union) in counts.items()}


def next_click(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> PointPrompt | None:
    """Find where a person would correct a mask: the middle of the largest error.

    Parameters
    ----------
    truth, found : array of bool, shape (Y, X)
        The object, and its mask so far.

    Returns
    -------
    PointPrompt or None
        Positive where the object was missed, negative where background was taken; None where
        nothing is wrong.
    """
    errors = [(truth & ~found, True), (found & ~truth, False)]
    regions = [(region, positive) for region, positive in errors if region.any()]
    if not regions:
        return None
    clicks = [(*_deepest(region), positive) for region, positive in regions]
    _, place, positive = max(clicks, key=lambda click: click[0])
    return PointPrompt(place, positive)


def overlaps_by_clicks(
    predictor: LargeImagePredictor, truth: NDArray[np.bool_], clicks: int
) -> list[float]:
    """IoU of an object's mask after each click.

    Parameters
    ----------
    predictor : LargeImagePredictor
        Of the plane.
    truth : array of bool, shape (Y, X)
        The object.
    clicks : int
        How many. The first takes the best-scored of three masks, each further one corrects the
        largest error and feeds the previous logits back.

    Returns
    -------
    list of float
        One a click.
    """
    prompts: list[Prompt] = [PointPrompt(middle_of(truth))]
    answer = predictor.look_again(prompts, predictor.predict(prompts, multimask=True))
    overlaps: list[float] = []
    while True:
        found = _mask(answer, truth)
        overlaps.append(intersection_over_union(found, truth))
        if len(overlaps) == clicks:
            return overlaps
        click = next_click(truth, found)
        if click is not None:
            prompts.append(click)
            answer = predictor.look_again(prompts, predictor.predict(prompts, previous=answer))


def overlap_of_box(predictor: LargeImagePredictor, truth: NDArray[np.bool_]) -> float:
    """IoU of an object's mask from the box around it, on the predictor's plane."""
    box = bounding_box(truth)
    if box is None:
        raise ValueError("The mask is empty, so there is no box around it.")
    rows, columns = box
    around = [BoxPrompt((rows.start, columns.start, rows.stop - 1, columns.stop - 1))]
    answer = predictor.look_again(around, predictor.predict(around))
    return intersection_over_union(_mask(answer, truth), truth)


def _mask(answer: LargePrediction, truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = np.zeros_like(truth)
    mask[answer.best.slices] = answer.best.logits > 0
    return mask
