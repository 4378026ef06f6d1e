"""What a worker does with one image."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.inference.image_files import (
    open_image,
    write_labels,
    write_ome_zarr,
)
from napari_sam2.session.identity import identify_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.batch.jobs import Job
    from napari_sam2.inference.found_masks import Candidates
    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.inference.mask_generator import MaskGenerator

_MODEL = Lock()  # a cluster's workers may have several threads; the model is for one at a time


@dataclass(frozen=True)
class BatchSettings:
    """What labels depend on, besides the image.

    Attributes
    ----------
    model, device : str
        As `load_model` takes them.
    image_size : int or None
        Side of the model's input; None for its own.
    points_per_side, crop_layers : int
        As `MaskGenerator` takes them.
    min_score, min_stability : float or None
        What a mask must reach; None for what is usual of the model.
    smallest : int
        In pixels; smaller objects are left out.
    axis : {"z", "t"} or None
        What the planes of stacks lie along; None for what each file says.
    threads : int
        Of the processor, for each worker. Another number rounds differently, so it does not follow
        from how many workers there are.
    """

    model: str = "nano"
    device: str = "auto"
    image_size: int | None = None
    points_per_side: int = 32
    crop_layers: int = 0
    min_score: float | None = None
    min_stability: float | None = None
    smallest: int = 0
    axis: Literal["z", "t"] | None = None
    threads: int = 1


@dataclass(frozen=True)
class FileReport:
    """What became of an image.

    Attributes
    ----------
    file : str
        The image's path below the folder that all images have in common.
    status : {"done", "skipped", "failed"}
        Skipped is what an earlier run has done.
    objects : int or None
        How many have a label; None when it failed.
    seconds : float or None
        How long it took; None when nothing was done.
    message : str
        Why it failed.
    """

    file: str
    status: Literal["done", "skipped", "failed"]
    objects: int | None = None
    seconds: float | None = None
    message: str = ""


def segment_file(settings: BatchSettings, path: Path) -> tuple[NDArray[np.unsignedinteger], str]:
    """Segment everything in an image.

    Parameters
    ----------
    settings : BatchSettings
        How.
    path : Path
        The image.

    Returns
    -------
    labels : array of uint8, uint16 or uint32
        Of the image's shape.
    axes : str
        One letter for each axis.

    Raises
    ------
    InputError, ValueError, TypeError
        When the image or a setting cannot be used.
    """
    import torch

    image = open_image(path)
    with _MODEL:
        torch.set_num_threads(settings.threads)
        generator = _generator(settings)
        if len(image.shape) == 2:
            labels = _chosen(generator.generate(np.asarray(image.data)), settings)
        else:
            labels = _stack(generator, image, settings)
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0)))), image.axes


def _stack(
    generator: MaskGenerator, image: OpenImage, settings: BatchSettings
) -> NDArray[np.uint32]:
    from napari_sam2.inference.depth import ThroughDepth
    from napari_sam2.inference.frames import FrameSource
    from napari_sam2.inference.over_time import OverTime
    from napari_sam2.inference.stack_segmenter import StackSegmenter

    axis, kind = image.stack_axis(settings.axis)
    labels = np.zeros(image.shape, np.uint32)
    StackSegmenter(
        lambda plane, limits: _chosen(generator.generate(plane, limits), settings),
        OverTime() if kind == "t" else ThroughDepth(),
    ).segment(FrameSource(image.data, frame_axis=axis, rgb=image.rgb), np.moveaxis(labels, axis, 0))
    return labels


def _chosen(candidates: Candidates, settings: BatchSettings) -> NDArray[np.uint32]:
    found = candidates.choose(
        settings.min_score, settings.min_stability, smallest=settings.smallest
    )
    return found.labels()


def do_job(job: Job, settings: BatchSettings) -> FileReport:
    """Segment an image and write its labels; whatever goes wrong is reported, not raised."""
    start = perf_counter()
    try:
        labels, axes = segment_file(settings, job.source)
        if job.output.suffix == ".zarr":
            write_ome_zarr(job.output, labels, axes, job.source.name)
        else:
            write_labels(job.output, labels, axes)
    except Exception as error:  # readers raise anything when a file is broken
        return FileReport(job.name, "failed", message=one_line(error))
    seconds = round(perf_counter() - start, 2)
    return FileReport(job.name, "done", count_objects(labels), seconds)


def make_ready(settings: BatchSettings, sha256: str) -> None:
    """Load the model, so that what no image could do without is missed before the first one.

    Raises
    ------
    ValueError, OSError
        When the settings have no meaning, the model cannot be loaded here, or is another one than
        where the run was started.
    """
    if identify_model(settings.model) != sha256:
        raise ValueError(f"the model {settings.model} is another file there than here")
    with _MODEL:
        _generator(settings)


def whole_labels(path: Path) -> NDArray[Any] | None:
    """Read labels; None where there are none, or torn ones."""
    import tifffile
    import zarr

    try:
        if path.suffix == ".zarr":
            return np.asarray(zarr.open_group(path, mode="r")["0"])
        return np.asarray(tifffile.imread(path))
    except Exception:  # readers raise anything when a file is broken
        return None


def count_objects(labels: NDArray[Any]) -> int:
    """How many labels there are, 0 aside."""
    return int(np.count_nonzero(np.bincount(labels.ravel())[1:]))


def one_line(error: Exception) -> str:
    """What an error says to a user."""
    from napari_sam2.inference.device import is_out_of_memory

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "No space is left for the labels. Make room, and run the same command again."
    if is_out_of_memory(error):
        return "The memory does not suffice for this image. Use fewer workers, or crop it."
    known = isinstance(error, ValueError | TypeError | OSError) and str(error)
    return " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())


@lru_cache(maxsize=1)
def _generator(settings: BatchSettings) -> MaskGenerator:
    from napari_sam2.inference.load import load_model
    from napari_sam2.inference.mask_generator import MaskGenerator

    return MaskGenerator(
        load_model(settings.model, settings.device, image_size=settings.image_size),
        settings.points_per_side,
        crop_layers=settings.crop_layers,
        # nothing is chosen a second time, so no more is kept than was asked for
        score_floor=settings.min_score or 0.0,
        stability_floor=settings.min_stability or 0.0,
    )
