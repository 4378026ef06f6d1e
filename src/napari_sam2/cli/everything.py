"""``napari-sam2 segment --everything``: every object of a plane, without a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.cli.errors import InputError, explained
from napari_sam2.cli.progress import progress_bar
from napari_sam2.cli.segment import is_large
from napari_sam2.inference.image_files import check_output, open_image, write_labels

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.inference.mask_generator import MaskGenerator


@dataclass(frozen=True)
class EverythingRequest:
    """What the command line asks for; the fields are its options.

    Attributes
    ----------
    image, output : Path
        The image, and the TIFF for its labels.
    model, device : str
        As ``load_model`` takes them.
    image_size : int or None
        Side of the model's input; None for its own.
    points_per_side, crop_layers : int
        As `MaskGenerator` takes them.
    min_score, min_stability : float or None
        What a mask must reach; None for what is usual of the model.
    smallest : int
        In pixels; smaller objects are left out.
    tiles : {"auto", "off"}
        Whether a plane much larger than the model's input is looked at in parts.
    """

    image: Path
    output: Path
    model: str = "nano"
    device: str = "auto"
    image_size: int | None = None
    points_per_side: int = 32
    crop_layers: int = 0
    min_score: float | None = None
    min_stability: float | None = None
    smallest: int = 0
    tiles: Literal["auto", "off"] = "auto"


def run_everything(request: EverythingRequest) -> list[str]:
    """Segment everything and write the labels.

    Parameters
    ----------
    request : EverythingRequest
        What to do. The image is checked before the model is loaded.

    Returns
    -------
    list of str
        A line that says how many objects there are, and one that says where the labels are.

    Raises
    ------
    InputError
        When something asked for cannot be used.
    OSError
        When the labels cannot be written.
    """
    check_output(request.output, request.image)
    image = open_image(request.image)
    if len(image.shape) > 2:
        raise InputError(
            f"{request.image} has shape {image.shape}, but --everything takes one plane. Save the "
            "plane as an image of its own, or carry objects through the stack from a --point."
        )
    from napari_sam2.inference.load import load_model
    from napari_sam2.inference.mask_generator import MaskGenerator

    with explained():
        model = load_model(request.model, request.device, image_size=request.image_size)
        generator = MaskGenerator(
            model,
            request.points_per_side,
            crop_layers=request.crop_layers,
            # nothing is chosen a second time, so no more is kept than was asked for
            score_floor=request.min_score or 0.0,
            stability_floor=request.min_stability or 0.0,
        )
        if request.tiles == "auto" and is_large(image.shape, model):
            return _tiled(request, image, generator)
        steps = generator.steps(np.asarray(image.data))
    candidates = next(steps)
    with progress_bar(candidates.points, "Segmenting", "points") as show:
        for candidates in steps:
            show(candidates.decoded)
    found = candidates.choose(request.min_score, request.min_stability, smallest=request.smallest)
    labels = found.labels()
    objects = np.count_nonzero(np.bincount(labels.ravel())[1:])
    labels = labels.astype(np.min_scalar_type(len(found)))
    write_labels(request.output, labels, image.axes)
    return [
        f"{objects} objects",
        f"Labels of shape {labels.shape}, {labels.dtype}: {request.output}",
    ]


def _tiled(request: EverythingRequest, image: OpenImage, generator: MaskGenerator) -> list[str]:
    """Segment tile by tile; the labels wait on disk, beside where they go to."""
    from napari_sam2.inference.everything_tiled import label_everything

    with TemporaryFile(dir=request.output.parent) as file:
        labels = np.memmap(file, np.uint32, "w+", shape=image.shape)
        steps = label_everything(
            generator,
            image.data,
            labels,
            score_threshold=request.min_score,
            stability_threshold=request.min_stability,
            smallest=request.smallest,
        )
        progress = next(steps)
        with progress_bar(progress.tiles, "Segmenting", "parts") as show:
            for progress in steps:
                show(progress.done)
        write_labels(request.output, labels, image.axes)
    size = generator.model.config.image_size
    return [
        f"{progress.objects} objects",
        f"The plane is larger than the model's input of {size} x {size}, so it was looked at in "
        f"{progress.tiles} parts that overlap. --tiles off shows it whole.",
        f"Labels of shape {labels.shape}, {labels.dtype}: {request.output}",
    ]
