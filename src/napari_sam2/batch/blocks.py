"""Images too large for one job: their planes are searched in blocks, and linked at the end.

Each plane is searched by itself, so that labels do not depend on how planes are divided. What a
block found is kept on disk: a run that was stopped goes on with the blocks that are missing.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.batch.segment import FileReport, loaded, one_line, write
from napari_sam2.checkpoints.replacing import remove, replacing
from napari_sam2.inference.automatic.stack_segmenter import StackSegmenter, stack_limits
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.image_files import open_image
from napari_sam2.inference.label_files import label_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.batch.jobs import Job
    from napari_sam2.batch.segment import BatchSettings

BLOCK = 2**24  # pixels, such as 16 planes of 1,024 x 1,024; what has more is worked on in blocks


@dataclass(frozen=True)
class Block:
    """Planes of a large image that are searched in one job.

    Attributes
    ----------
    job : Job
        Of the image.
    path : Path
        The zarr array, (planes, Y, X), for what is found, with numbers of their own on each plane;
        it is there when it is whole.
    first, stop : int
        The first plane, and the one after the last; 0 and 1 where the image is one plane, whose
        array is (Y, X).
    """

    job: Job
    path: Path
    first: int
    stop: int


@dataclass(frozen=True)
class BlockDone:
    """What became of a block.

    Attributes
    ----------
    file : str
        The image, as in its `FileReport`.
    first, stop : int
        The planes, as in `Block`.
    seconds : float
        How long it took.
    """

    file: str
    first: int
    stop: int
    seconds: float


@dataclass(frozen=True)
class LargeImage:
    """An image that is worked on in blocks.

    Attributes
    ----------
    job : Job
        Of the image.
    folder : Path
        Where blocks are kept until the labels are written.
    blocks : tuple of Block
        In the order of their planes.
    """

    job: Job
    folder: Path
    blocks: tuple[Block, ...]


def in_blocks(
    job: Job, settings: BatchSettings, sha256: str, fingerprint: str
) -> LargeImage | None:
    """Divide an image into blocks; None where it is one job, also to report that it is no image.

    Parameters
    ----------
    job : Job
        Of the image.
    settings : BatchSettings
        How it will be segmented.
    sha256 : str
        Of the model. What was found with another one, other settings, or in another image is not
        used, as the folder has another name.
    fingerprint : str
        Of the image.
    """
    if job.source.suffix.lower() == ".png":
        return None  # it could not be read in parts
    try:
        image = open_image(job.source).channel(settings.channel).squeezed()
        planes = 1
        if len(image.shape) > 2:
            axis, kind = image.stack_axis(settings.axis)
            planes = image.shape[axis]
            # a missing package is not to be told when all planes are searched
            if settings.linker(kind) is None:
                return None  # objects go from plane to plane, so planes are no jobs of their own
    except (InputError, OSError, ImportError):
        return None
    pixels = math.prod(image.shape)
    if pixels <= BLOCK:
        return None
    made_by = repr((settings, sha256, fingerprint, image.shape, BLOCK))
    key = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    folder = job.output.with_name(f".{job.output.stem}.{key}.blocks")
    size = max(1, BLOCK * planes // pixels)
    return LargeImage(
        job,
        folder,
        tuple(
            Block(job, folder / f"{first}.zarr", first, min(first + size, planes))
            for first in range(0, planes, size)
        ),
    )


def sample_limits(large: LargeImage, settings: BatchSettings) -> tuple[float, float] | None:
    """Contrast limits for all blocks of a stack; None for one plane, which is one block."""
    image = open_image(large.job.source).channel(settings.channel).squeezed()
    if len(image.shape) == 2:
        return None
    axis, _ = image.stack_axis(settings.axis)
    return stack_limits(image.frames(axis))


def search_block(
    block: Block, settings: BatchSettings, limits: tuple[float, float] | None
) -> BlockDone:
    """Find everything on the planes of a block, and keep it; raises whatever goes wrong.

    Nothing is done where it is kept already, as dask asks again when a worker has ended.

    Parameters
    ----------
    block : Block
        Which planes.
    settings : BatchSettings
        How.
    limits : tuple of float or None
        As `sample_limits` gives them.
    """
    if block.path.exists():
        return BlockDone(block.job.name, block.first, block.stop, 0.0)
    start = perf_counter()
    image = open_image(block.job.source).channel(settings.channel).squeezed()
    block.path.parent.mkdir(exist_ok=True)
    with loaded(settings) as generator, replacing(block.path) as partial:
        if len(image.shape) == 2:
            labels = _new_labels(partial, image.shape)
            settings.label(generator, image.data, labels, limits, image.name, image.coarser)
        else:
            axis, _ = image.stack_axis(settings.axis)
            frames = image.frames(axis)
            labels = _new_labels(partial, (block.stop - block.first, *frames.plane_shape))
            for index in range(block.stop - block.first):
                plane = frames.plane(block.first + index)
                labels[index] = settings.find(generator, plane, limits)
    seconds = round(perf_counter() - start, 2)
    return BlockDone(block.job.name, block.first, block.stop, seconds)


def link_blocks(
    large: LargeImage, searched: Sequence[BlockDone], settings: BatchSettings
) -> FileReport:
    """Make objects of what was found on each plane, and write the labels.

    Parameters
    ----------
    large : LargeImage
        All of its blocks are there.
    searched : sequence of BlockDone
        Those of this run, for the time that they took.
    settings : BatchSettings
        As for the blocks.

    Returns
    -------
    FileReport
        Whatever goes wrong is reported, not raised.
    """
    import zarr

    start, job = perf_counter(), large.job
    try:
        image = open_image(job.source).channel(settings.channel)
        stack = image.squeezed()
        blocks = [zarr.open_array(str(block.path), mode="r") for block in large.blocks]
        labels: Any = blocks[0]
        film = None
        if len(stack.shape) > 2:
            axis, kind = stack.stack_axis(settings.axis)
            found = _Joined(blocks)
            labels = _new_labels(large.folder / "linked.zarr", found.shape)
            segmenter = StackSegmenter(lambda plane, _: plane, settings.linker(kind))
            objects = segmenter.segment(found, labels, (0, 1))
            film = objects if kind == "t" else None
            if axis > 0:  # rare; it could not be written plane by plane
                labels = np.moveaxis(labels[:], 0, axis)
        count = write(job, settings, labels, image, film)
        remove(large.folder)
    except Exception as error:  # readers raise anything when a file is broken
        return FileReport(job.name, "failed", message=one_line(error))
    seconds = perf_counter() - start + sum(block.seconds for block in searched)
    return FileReport(job.name, "done", count, round(seconds, 2))


class _Joined:
    """The arrays of all blocks as one; each but the last has as many planes."""

    def __init__(self, blocks: Sequence[Any]) -> None:
        self._blocks = blocks
        self._size = blocks[0].shape[0]
        self.shape = (sum(block.shape[0] for block in blocks), *blocks[0].shape[1:])
        self.dtype = blocks[0].dtype

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[np.uint32]:
        block, plane = divmod(index[0], self._size)
        labels: NDArray[np.uint32] = self._blocks[block][(plane, *index[1:])]
        return labels


def _new_labels(path: Path, shape: tuple[int, ...]) -> Any:
    import zarr

    return zarr.create_array(
        str(path), shape=shape, chunks=label_chunks(shape), dtype=np.uint32, overwrite=True
    )
