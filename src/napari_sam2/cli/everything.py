"""``napari-sam2 segment --everything``: every object of a plane or a stack, without a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.cli.errors import InputError, explained, with_others
from napari_sam2.cli.progress import progress_bar
from napari_sam2.inference.automatic.everything import EverythingSettings
from napari_sam2.inference.image_files import open_image
from napari_sam2.inference.label_files import check_folder, check_output, write_labels
from napari_sam2.inference.large.fields import Grid
from napari_sam2.inference.masks import label_numbers, smallest_dtype
from napari_sam2.session.ctc import write_ctc, write_tracks

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.depth import ThroughDepth
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator
    from napari_sam2.inference.automatic.over_time import OverTime
    from napari_sam2.inference.automatic.stack_segmenter import StackObjects
    from napari_sam2.inference.image_files import OpenImage


@dataclass(frozen=True, kw_only=True)
class EverythingRequest(EverythingSettings):
    """What the command line asks for; the fields are its options.

    Attributes
    ----------
    image, output : Path
        The image, and the TIFF for its labels.
    tracks, ctc : Path or None
        For a time-lapse, further outputs: a CSV of the tracks, and a folder in the format of the
        Cell Tracking Challenge.
    """

    image: Path
    output: Path
    tracks: Path | None = None
    ctc: Path | None = None


def run_everything(request: EverythingRequest) -> list[str]:
    """Segment everything and write the labels.

    Parameters
    ----------
    request : EverythingRequest
        What to do. The image is checked before the model is loaded.

    Returns
    -------
    list of str
        A line that says how many objects there are, and one for each output, where it is.

    Raises
    ------
    InputError
        When something asked for cannot be used.
    OSError
        When the labels cannot be written.
    """
    check_output(request.output, request.image)
    whole = open_image(request.image).channel(request.channel)
    image = whole.squeezed()
    flat = len(image.shape) == 2
    if flat and (request.axis or request.link == "memory"):
        raise InputError(f"{request.image} is one plane. Leave --axis and --link out.")
    axis, kind = (0, "") if flat else image.stack_axis(request.axis)
    _check_tracks(request, kind)
    with explained():
        link = request.linker(kind)
        generator = request.generator()
    plane = tuple(length for each, length in enumerate(image.shape) if flat or each != axis)
    in_parts = request.in_parts(plane, generator.model)
    if flat and in_parts:
        return _tiled(request, whole, generator)
    if flat:
        labels, objects, unread = _plane(request, image, generator), None, None
    else:
        labels, objects, unread = _stack(request, image, generator, axis, link)
    numbers = label_numbers(labels)
    count, dtype = len(numbers), smallest_dtype(numbers)
    labels = labels.reshape(whole.shape)
    write_labels(request.output, labels, whole.axes, dtype)
    lines = [
        f"{count} objects",
        f"Labels of shape {labels.shape}, {dtype}: {request.output}",
    ]
    if objects and kind == "t":
        lines[0] = f"{count} tracks, {len(set(objects.parents.values()))} divisions"
    if in_parts:
        lines.insert(1, _in_parts("Each", plane, generator))
    lines += _write_tracks(request, objects) if objects else []
    if unread is not None:
        raise with_others(unread, request.output) from unread
    return lines


def _plane(
    request: EverythingRequest, image: OpenImage, generator: MaskGenerator
) -> NDArray[np.uint32]:
    with explained():
        steps = generator.steps(image.frames().plane(0))
    candidates = next(steps)
    with progress_bar(candidates.points, "Segmenting", "points") as show:
        for candidates in steps:
            show(candidates.decoded)
    return request.labels_of(candidates)


def _tiled(request: EverythingRequest, whole: OpenImage, generator: MaskGenerator) -> list[str]:
    """Segment tile by tile; the labels wait on disk, beside where they go to."""
    from napari_sam2.inference.large.large_plane import LargePlane

    image = whole.squeezed()
    with TemporaryFile(dir=request.output.parent) as file:
        labels = np.memmap(file, np.uint32, "w+", shape=image.shape)
        with explained():
            plane = LargePlane([image.data, *image.coarser], name=image.name)
            steps = request.tiled_steps(generator, plane, labels)
            progress = next(steps)
        with progress_bar(progress.tiles, "Segmenting", "parts") as show:
            for progress in steps:
                show(progress.done)
        write_labels(request.output, labels, whole.axes, shape=whole.shape)
    return [
        f"{progress.objects} objects",
        _in_parts("The", image.shape, generator),
        f"Labels of shape {whole.shape}, {labels.dtype}: {request.output}",
    ]


def _in_parts(which: str, shape: tuple[int, ...], generator: MaskGenerator) -> str:
    """What the user should know of large planes; ``which`` is what there is of them."""
    size = generator.model.config.image_size
    parts = sum(1 for _ in Grid((shape[0], shape[1]), size).tiles(0))
    return (
        f"{which} plane is larger than the model's input of {size} x {size}, so it was looked at "
        f"in {parts} parts that overlap, and more coarsely for what is too large for them. "
        "--tiles off shows it whole."
    )


def _stack(
    request: EverythingRequest,
    image: OpenImage,
    generator: MaskGenerator,
    axis: int,
    link: ThroughDepth | OverTime | None,
) -> tuple[NDArray[np.uint32], StackObjects, InputError | None]:
    """Labels and objects, and what was wrong with planes that could not be read."""
    labels = np.zeros(image.shape, np.uint32)
    objects: StackObjects | None = None
    unread: InputError | None = None
    with explained(), progress_bar(image.shape[axis], "Segmenting") as show:
        try:
            for objects in request.stack_steps(generator, image, axis, link, labels):
                show(objects.done)
        except InputError as error:
            if objects is None or not labels.any():
                raise
            unread = error
    assert objects is not None  # there is a plane at least
    return labels, objects, unread


def _check_tracks(request: EverythingRequest, kind: str) -> None:
    """Refuse outputs of tracks that cannot be written, before any work is done."""
    for name, path in (("tracks", request.tracks), ("ctc", request.ctc)):
        if path is None:
            continue
        if kind != "t":
            raise InputError(f"--{name} is for time-lapses. Say --axis t, or leave it out.")
    if request.tracks:
        check_output(request.tracks, request.image, "Tracks")
    if request.ctc:
        _check_ctc(request.ctc)


def _check_ctc(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file. Give --ctc the name of a folder.")
    check_folder(folder if folder.exists() else folder.parent)
    if folder.exists() and any(folder.iterdir()) and not (folder / "res_track.txt").exists():
        raise InputError(
            f"{folder} has files of others in it. Give --ctc a new folder, or one of tracks that "
            "may be replaced."
        )


def _write_tracks(request: EverythingRequest, objects: StackObjects) -> list[str]:
    lines = []
    if request.tracks:
        write_tracks(request.tracks, objects.tracks, objects.parents)
        lines.append(f"Tracks: {request.tracks}")
    if request.ctc:
        with explained():
            write_ctc(request.ctc, objects.labels, objects.parents)
        lines.append(f"Cell Tracking Challenge: {request.ctc}")
    return lines
