"""Labelled microscopy to learn from: planes and stacks with instance labels, held in memory."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from skimage.io import imread

from napari_sam2.inference.transforms import contrast_limits_of, rescale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

DATA_VARIABLE = "NAPARI_SAM2_DATA"


@dataclass(frozen=True, eq=False)
class LabelledStack:
    """Planes with instance labels.

    Attributes
    ----------
    source, name : str
        The data set, and the image within it.
    image : array of float16, shape (T, Y, X) or (T, Y, X, 3)
        Intensities between the contrast limits, as 0 to 1.
    labels : array of uint16, shape (T, Y, X)
        0 is background; an object keeps its label over the frames.
    """

    source: str
    name: str
    image: NDArray[np.float16]
    labels: NDArray[np.uint16]


def data_folder() -> Path:
    """Folder of the training data: ``$NAPARI_SAM2_DATA``, or ``../shared/data``.

    Raises
    ------
    FileNotFoundError
        When there is no such folder.
    """
    folder = Path(os.environ.get(DATA_VARIABLE, "../shared/data"))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no training data at {folder.resolve()}. "
            f"Set {DATA_VARIABLE} to the folder that holds it."
        )
    return folder


def load_split(validation: bool, folder: Path | None = None) -> list[LabelledStack]:
    """Load all sources, either their training or their validation part.

    Split by source and never by object: by image (dsb2018, usiigaci), by embryo (bbbc050: 10 and
    11 validate), by block of planes (fib25: the last 30 of 125 validate, 5 before them are left
    out, as neighbouring planes are nearly equal).
    """
    folder = folder or data_folder()
    return [stack for read in SOURCES.values() for stack in read(folder, validation)]


def _stack(source: str, name: str, image: NDArray[Any], labels: NDArray[Any]) -> LabelledStack:
    image = image if image.ndim > labels.ndim - 1 and image.ndim >= 3 else image[None]
    scaled = rescale(image, contrast_limits_of(image)).astype(np.float16)
    return LabelledStack(source, name, scaled, labels.astype(np.uint16))


def _dsb2018(folder: Path, validation: bool) -> Iterator[LabelledStack]:
    folder = folder / "dsb2018"
    with (folder / "index.csv").open(newline="") as file:
        names = sorted(row["id"] for row in csv.DictReader(file))
    for index, name in enumerate(names):
        if (index % 10 == 0) != validation:
            continue
        image = imread(folder / "images" / f"{name}.png")
        labels = imread(folder / "labels" / f"{name}.png")
        yield _stack(
            "dsb2018", name, image[None, ..., :3] if image.ndim == 3 else image[None], labels[None]
        )


def _usiigaci(folder: Path, validation: bool) -> Iterator[LabelledStack]:
    paths = sorted((folder / "usiigaci_phase" / "images").iterdir())
    for index, path in enumerate(paths):
        if (index % 8 == 0) != validation:
            continue
        found = next((folder / "usiigaci_phase" / "labels").glob(path.stem + ".*"))
        yield _stack("usiigaci_phase", path.stem, imread(path)[None], imread(found)[None])


def _bbbc050(folder: Path, validation: bool) -> Iterator[LabelledStack]:
    for path in sorted((folder / "bbbc050" / "images").glob("*.tif")):
        if (path.stem[:5] in ("Emb10", "Emb11")) != validation:
            continue
        labels = tifffile.imread(folder / "bbbc050" / "labels" / path.name)
        counts = np.bincount(labels.ravel())
        labels = np.where(counts[labels] < 100, 0, labels)  # specks, as the source advises
        yield _stack("bbbc050", path.stem, tifffile.imread(path), labels)


def _fib25(folder: Path, validation: bool) -> Iterator[LabelledStack]:
    image = tifffile.imread(folder / "fib25" / "raw.tif")
    labels = tifffile.imread(folder / "fib25" / "labels.tif")
    planes = slice(95, None) if validation else slice(0, 90)
    image, labels = image[planes], labels[planes]
    # the voxels are isotropic, so each direction is a stack of its own
    for axis in range(1 if validation else 3):
        yield _stack(
            "fib25", f"axis{axis}", np.moveaxis(image, axis, 0), np.moveaxis(labels, axis, 0)
        )


SOURCES: dict[str, Callable[[Path, bool], Iterator[LabelledStack]]] = {
    "dsb2018": _dsb2018,
    "usiigaci_phase": _usiigaci,
    "bbbc050": _bbbc050,
    "fib25": _fib25,
}


def objects_on_plane(labels: NDArray[np.integer], smallest: int) -> list[int]:
    """Labels of at least ``smallest`` pixels on a plane of shape (Y, X)."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return [int(value) for value in np.flatnonzero(counts >= smallest)]
