"""``napari-sam2 segment``: from prompts to a label file, without a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.cli.errors import InputError, explained, with_others
from napari_sam2.cli.progress import progress_bar
from napari_sam2.cli.prompts import parse_box, parse_point, place
from napari_sam2.inference.image_files import open_image
from napari_sam2.inference.label_files import check_output, write_labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.cli.prompts import Placement
    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.inference.load import Model


@dataclass(frozen=True)
class Request:
    """What the command line asks for; the fields are its options.

    Attributes
    ----------
    image, output : Path
        The image, and the TIFF for its labels.
    points, boxes : tuple of str
        As typed.
    model, device : str
        As ``load_model`` takes them.
    image_size : int or None
        Side of the model's input; None for its own.
    frame_axis : int
        The axis to propagate along.
    direction : {"forward", "backward", "both"}
        Which way to propagate.
    start, stop : int or None
        The first plane and the last, included.
    stop_when_absent : int or None
        Leave an object after so many planes without it.
    tiles : {"auto", "off"}
        Whether planes are looked at in parts and closer: a single one much larger than the model's
        input, and those with prompts by a small model.
    """

    image: Path
    output: Path
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    model: str = "nano"
    device: str = "auto"
    image_size: int | None = None
    frame_axis: int = 0
    direction: Literal["forward", "backward", "both"] = "both"
    start: int | None = None
    stop: int | None = None
    stop_when_absent: int | None = None
    tiles: Literal["auto", "off"] = "auto"


def run(request: Request) -> list[str]:
    """Segment and write the labels.

    Parameters
    ----------
    request : Request
        What to do. All of it is checked before the model is loaded.

    Returns
    -------
    list of str
        A line for each object, and one that says where the labels are.

    Raises
    ------
    InputError
        When something asked for cannot be used.
    OSError
        When the labels cannot be written.
    """
    points = [parse_point(text) for text in request.points]
    boxes = [parse_box(text) for text in request.boxes]
    check_output(request.output, request.image)
    image = open_image(request.image)
    placement = place(points, boxes, image.shape, request.frame_axis)
    planes = image.shape[request.frame_axis] if len(image.shape) > 2 else 1
    for name, frame in (("start", request.start), ("stop", request.stop)):
        if frame is not None and not 0 <= frame < planes:
            raise InputError(f"--{name} is {frame}, but the image has planes 0 to {planes - 1}.")
    labels, note, unread = _segmented(request, image, placement, planes)
    write_labels(request.output, labels, image.axes)
    if unread is not None:
        raise with_others(unread, request.output) from unread
    lines = [_summary(labels, object_id, request.frame_axis) for object_id in placement.object_ids]
    if note:
        lines.append(note)
    return [*lines, f"Labels of shape {labels.shape}, {labels.dtype}: {request.output}"]


def _segmented(
    request: Request, image: OpenImage, placement: Placement, planes: int
) -> tuple[NDArray[np.unsignedinteger], str, InputError | None]:
    """The labels, what the user should know of how they came about, and where they end."""
    from napari_sam2.inference.load import load_model

    with explained():
        model = load_model(request.model, request.device, image_size=request.image_size)
    plane = image.squeezed()
    if plane.shape == image.shape[-2:] and request.tiles == "auto":
        labels, note = _tiled(plane, placement, model)
        return labels.reshape(image.shape), note, None
    labels, unread = _propagated(request, image, placement, planes, model)
    return labels, model.note if planes > 1 else "", unread


def _tiled(
    image: OpenImage, placement: Placement, model: Model
) -> tuple[NDArray[np.unsignedinteger], str]:
    from napari_sam2.inference.large.large_plane import LargePlane
    from napari_sam2.inference.large.tiling import LargeImagePredictor, is_large
    from napari_sam2.inference.masks import labels_from_crops

    crops = []
    with explained(), progress_bar(len(placement.prompts), "Segmenting", "objects") as show:
        predictor = LargeImagePredictor(
            model, LargePlane([image.data, *image.coarser], name=image.name)
        )
        for prompts in placement.prompts.values():
            answer = predictor.predict(prompts)
            crops.append(predictor.look_again(prompts, answer).best)
            show(len(crops))
    ids = [object_id for object_id, _ in placement.prompts]
    labels = labels_from_crops(crops, ids, predictor.shape)
    height, width = predictor.shape
    size, encoded = model.config.image_size, predictor.features.encoded
    note = ""
    if is_large(predictor.shape, model):
        note = (
            f"The plane of {height} x {width} is larger than the model's input of {size} x {size}, "
            f"so it was looked at in parts, around each object ({encoded} encoded). "
            "--tiles off shows it whole."
        )
    return labels.astype(np.min_scalar_type(max(ids))), note


def _propagated(
    request: Request, image: OpenImage, placement: Placement, planes: int, model: Model
) -> tuple[NDArray[np.unsignedinteger], InputError | None]:
    """The labels, and the error of a plane at which they end as it cannot be read."""
    from napari_sam2.inference.video.video_predictor import VideoPredictor

    flat = len(image.shape) == 2
    frame_axis = 0 if flat else request.frame_axis
    labels = np.zeros(image.shape, np.min_scalar_type(max(placement.object_ids)))
    with explained():
        video = VideoPredictor(
            model,
            image.frames(frame_axis, placement.fixed),
            distinct=True,
            look_alone=request.tiles == "auto",
        )
        for (object_id, frame), prompts in placement.prompts.items():
            video.add_prompts(object_id=object_id, frame=frame, prompts=prompts)
        results = video.propagate(
            request.direction, request.start, request.stop, request.stop_when_absent
        )
    done: set[int] = set()
    with progress_bar(planes) as show:
        try:
            for result in results:
                index = {**placement.fixed, frame_axis: result.frame}
                where = tuple(index.get(axis, slice(None)) for axis in range(labels.ndim))
                labels[() if flat else where] = result.labels()
                done.add(result.frame)
                show(len(done))
        except InputError as error:
            if not done:
                raise
            return labels, error
    return labels, None


def _summary(labels: NDArray[np.unsignedinteger], object_id: int, frame_axis: int) -> str:
    mask = labels == object_id
    voxels = int(mask.sum())
    if not voxels:
        return f"Object {object_id}: not found"
    if labels.ndim == 2:
        return f"Object {object_id}: {voxels} pixels"
    others = tuple(axis for axis in range(labels.ndim) if axis != frame_axis)
    frames = np.flatnonzero(mask.any(axis=others))
    return (
        f"Object {object_id}: {voxels} voxels on {len(frames)} planes, {frames[0]} to {frames[-1]}"
    )
