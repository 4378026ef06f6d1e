"""What a worker does with one image."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference.automatic.everything import EverythingSettings
from napari_sam2.inference.errors import in_words
from napari_sam2.inference.image_files import open_image
from napari_sam2.inference.label_files import write_labels, write_ome_zarr
from napari_sam2.inference.masks import count_objects, label_numbers, smallest_dtype
from napari_sam2.session.ctc import write_ctc, write_tracks
from napari_sam2.session.identity import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.batch.jobs import Job
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator
    from napari_sam2.inference.automatic.stack_segmenter import StackObjects
    from napari_sam2.inference.frames import ArrayLike
    from napari_sam2.inference.image_files import OpenImage

_MODEL = Lock()  # a cluster's workers may have several threads; the model is for one at a time


@dataclass(frozen=True)
class BatchSettings(EverythingSettings):
    """How to segment many images: what the files that are written depend on, besides the image.

    Attributes
    ----------
    threads : int
        Of the processor, for each worker. Another number rounds differently, so it does not follow
        from how many workers there are.
    ctc : bool
        Write time-lapses in the format of the Cell Tracking Challenge, too.
    """

    threads: int = 1
    ctc: bool = False


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


def segment_file(
    settings: BatchSettings, path: Path
) -> tuple[NDArray[np.uint32], OpenImage, StackObjects | None]:
    """Segment everything in an image.

    Parameters
    ----------
    settings : BatchSettings
        How.
    path : Path
        The image.

    Returns
    -------
    labels : array of uint32
        Of the image's shape.
    image : OpenImage
        The image, or its channel.
    film : StackObjects or None
        What was found, where it is a time-lapse.

    Raises
    ------
    InputError, ValueError, TypeError
        When the image or a setting cannot be used.
    """
    image = open_image(path).channel(settings.channel)
    stack = image.squeezed()
    film = None
    with loaded(settings) as generator:
        if len(stack.shape) == 2:
            labels = settings.find(generator, stack.frames().plane(0))
        else:
            axis, kind = stack.stack_axis(settings.axis)
            labels = np.zeros(stack.shape, np.uint32)
            link = settings.linker(kind)
            for objects in settings.stack_steps(generator, stack, axis, link, labels):
                film = objects if kind == "t" else None
    return labels.reshape(image.shape), image, film


def do_job(job: Job, settings: BatchSettings) -> FileReport:
    """Segment an image and write its labels; whatever goes wrong is reported, not raised."""
    start = perf_counter()
    try:
        count = write(job, settings, *segment_file(settings, job.source))
    except Exception as error:  # readers raise anything when a file is broken
        return FileReport(job.name, "failed", message=one_line(error))
    return FileReport(job.name, "done", count, round(perf_counter() - start, 2))


def write(
    job: Job,
    settings: BatchSettings,
    labels: ArrayLike,
    image: OpenImage,
    film: StackObjects | None = None,
) -> int:
    """Write labels in the smallest type that holds them, and count the objects.

    Labels are last: where they are, a later run takes all that belongs to them as done.

    Parameters
    ----------
    job : Job
        Says where they go.
    settings : BatchSettings
        Say what is written of a time-lapse.
    labels : array-like of uint32
        Of the image's shape, or of that without axes of length 1; read one plane at a time.
    image : OpenImage
        The image, or its channel.
    film : StackObjects, optional
        The tracks of a time-lapse.
    """
    if film is not None:
        write_tracks(job.tracks, film.tracks, film.parents)
        if settings.ctc:
            with replacing(job.ctc) as partial:
                write_ctc(partial, film.labels, film.parents)
    if image.shape[-2:] != tuple(labels.shape[-2:]):  # rare; the planes of both are not alike
        labels = np.asarray(labels[:]).reshape(image.shape)
    numbers = label_numbers(labels)
    dtype = smallest_dtype(numbers)
    if job.output.suffix == ".zarr":
        write_ome_zarr(
            job.output,
            labels,
            image.axes,
            job.source.name,
            image.scale,
            image.units,
            image.translation,
            dtype,
            image.shape,
        )
    else:
        write_labels(job.output, labels, image.axes, dtype, image.shape)
    return len(numbers)


@contextmanager
def loaded(settings: BatchSettings) -> Iterator[MaskGenerator]:
    """The model, for one at a time, on as many threads as the settings say."""
    import torch

    with _MODEL:
        torch.set_num_threads(settings.threads)
        yield _generator(settings, identify_model(settings.model))


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
    with loaded(settings):
        pass


def count_whole(path: Path) -> int | None:
    """Count the objects of labels; None where there are none, or torn ones."""
    import tifffile
    import zarr

    try:
        if path.suffix == ".zarr":
            return count_objects(zarr.open_group(path, mode="r")["0"])
        with tifffile.TiffFile(path) as file:
            numbers = [label_numbers(page.asarray()) for page in file.series[0].pages]
        return len(np.unique(np.concatenate(numbers)))
    except Exception:  # readers raise anything when a file is broken
        return None


def one_line(error: Exception) -> str:
    """What an error says to a user."""
    from napari_sam2.inference.device import is_out_of_memory

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "No space is left for the labels. Make room, and run the same command again."
    if is_out_of_memory(error):
        return "The memory does not suffice for this image. Use fewer workers, or crop it."
    if isinstance(error, ValueError | TypeError | OSError) and str(error):
        return in_words(error)
    return " ".join(f"{type(error).__name__}: {error}".split())


@lru_cache(maxsize=1)
def _generator(settings: BatchSettings, sha256: str) -> MaskGenerator:
    # a cluster's workers live on when the model's file is replaced by another
    return settings.generator()
