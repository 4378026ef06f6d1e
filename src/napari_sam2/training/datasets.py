"""Labelled images in folders: paired, split and checked before any work starts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.transforms import contrast_limits_of
from napari_sam2.training.data import LabelledStack, Planes
from napari_sam2.training.files import FileArray
from napari_sam2.training.sources import GENERATED, kept_out, pair_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.training.sources import DataSource

LIMIT_PLANES = 8  # that the contrast limits of a stack are taken from


@dataclass(frozen=True, eq=False)
class Split:
    """The stacks to learn from, and those kept out."""

    train: tuple[LabelledStack, ...]
    validation: tuple[LabelledStack, ...]


def load_sources(sources: Iterable[DataSource], folder: Path) -> Split:
    """Find, pair and check the files of all sources.

    Every label map is read once, plane by plane, and one plane of each image.

    Parameters
    ----------
    sources : iterable of DataSource
        Those without files are left out.
    folder : Path
        What relative paths start from.

    Raises
    ------
    ValueError
        When files are missing, do not match, or hold nothing to learn from.
    """
    parts = [load_source(source, folder) for source in sources if source.name != GENERATED]
    return Split(
        tuple(stack for part in parts for stack in part.train),
        tuple(stack for part in parts for stack in part.validation),
    )


def load_source(source: DataSource, folder: Path) -> Split:
    """Find, pair and check the files of one source."""
    pairs = pair_files(source, folder)
    validating = kept_out(source, sorted(pairs))
    train: list[LabelledStack] = []
    validation: list[LabelledStack] = []
    for name in sorted(pairs):
        image, labels = _opened(source, *pairs[name])
        if source.train_planes or source.validation_planes:
            blocks = [(source.train_planes, train), (source.validation_planes, validation)]
        else:
            blocks = [(":", validation if name in validating else train)]
        for planes, stacks in blocks:
            if planes:
                stacks += _stacks(source, name, image, labels, planes, stacks is train)
    _check_objects(source, [*train, *validation])
    return Split(tuple(train), tuple(validation))


def _opened(source: DataSource, image: Path, labels: Path) -> tuple[Planes, Planes]:
    image_file, label_file = FileArray.of(image), FileArray.of(labels)
    axes = source.axes or _usual_axes(source, image_file)
    label_axes = axes.replace("c", "")
    if len(axes) != len(image_file.shape) or len(label_axes) != len(label_file.shape):
        raise ValueError(
            f"{source.name}: {image.name} has shape {image_file.shape} and {labels.name} "
            f"{label_file.shape}, which axes = {axes!r} does not fit: label maps have no colours. "
            "Name the image's axes in their order."
        )
    shape = tuple(n for n, letter in zip(image_file.shape, axes, strict=True) if letter != "c")
    if shape != label_file.shape:
        raise ValueError(
            f"{source.name}: {image.name} has shape {image_file.shape}, but its labels "
            f"{labels.name} have {label_file.shape}. An image and its labels have the same size."
        )
    if "c" in axes and not 1 <= image_file.shape[axes.index("c")] <= 4:
        raise ValueError(
            f"{source.name}: {image.name} has {image_file.shape[axes.index('c')]} colours. "
            "One to three can be used; save those that show the objects."
        )
    if image_file.dtype.kind not in "buif":
        raise ValueError(
            f"{source.name}: {image.name} holds {image_file.dtype}. Save real numbers."
        )
    if label_file.dtype.kind not in "bui":
        raise ValueError(
            f"{source.name}: the labels {labels.name} are {label_file.dtype}, but a label is a "
            "whole number. Save them as uint16 or uint32."
        )
    return Planes(image_file, axes), Planes(label_file, label_axes)


def _usual_axes(source: DataSource, image: FileArray) -> str:
    colours = image.shape[-1] in (3, 4)
    axes = {2: "yx", 3: "yxc" if colours else "zyx", 4: "zyxc"}.get(len(image.shape))
    if axes is None:
        raise ValueError(
            f"{source.name}: {image.path.name} has shape {image.shape}. Name its axes, such as "
            "axes = 'tyx'."
        )
    return axes


def _stacks(
    source: DataSource, name: str, image: Planes, labels: Planes, planes: str, train: bool
) -> list[LabelledStack]:
    """A stack of the chosen planes, or one a direction."""
    block = None
    if labels.along:
        numbers = [int(number) if number else None for number in planes.split(":")]
        block = range(len(labels))[slice(*numbers)]
        if not block:
            raise ValueError(
                f"{source.name}: {name} has {len(labels)} planes, and none are {planes}."
            )
    elif planes != ":":
        raise ValueError(
            f"{source.name}: {name} is one plane, of which {planes} cannot be taken. Divide images "
            "by validation, and give stacks with train_planes another [[data]]."
        )
    whole = Planes(labels.data, labels.axes, block)
    objects = _objects(source, name, whole)
    shown = Planes(image.data, image.axes, block)
    limits = _contrast_limits(shown)
    directions = range(3 if train and labels.along and source.directions == "all" else 1)
    return [
        LabelledStack(
            source.name,
            f"{name}, axis {direction}" if len(directions) > 1 else name,
            Planes(image.data, image.axes, block, direction),
            Planes(labels.data, labels.axes, block, direction),
            limits,
            objects,
            source.smallest_on_plane,
        )
        for direction in directions
    ]


def _objects(source: DataSource, name: str, labels: Planes) -> NDArray[np.integer[Any]]:
    """The labels of the objects that are large enough."""
    sizes: Counter[int] = Counter()
    for frame in range(len(labels)):
        plane = labels.plane(frame)
        if plane.dtype.itemsize == 1 or plane.max() < 2**16:  # much faster than sorting
            counts = np.bincount(plane.clip(min=0).ravel())
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(plane, return_counts=True)
        sizes.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
    found = sorted(value for value, size in sizes.items() if value > 0 and size >= source.smallest)
    if not found:
        largest = max((size for value, size in sizes.items() if value > 0), default=0)
        fact = f"no object of {source.smallest} pixels" if largest else "no object at all"
        raise ValueError(
            f"{source.name}: the label map {name} holds {fact}. Label its objects, or move it and "
            "its image out of the folder."
        )
    return np.array(found, labels.plane(0).dtype)


def _contrast_limits(image: Planes) -> tuple[float, float]:
    frames = np.linspace(0, len(image) - 1, min(len(image), LIMIT_PLANES)).round().astype(int)
    return contrast_limits_of(np.stack([image.plane(int(frame)) for frame in frames]))


def _check_objects(source: DataSource, stacks: Sequence[LabelledStack]) -> None:
    # the directions of a stack share their objects
    if sum({id(stack.objects): len(stack.objects) for stack in stacks}.values()) < 2:
        raise ValueError(
            f"{source.name}: there is one object only in all label maps. Each object needs a "
            "number of its own; skimage.measure.label gives one to each part of a mask."
        )
