"""Labels in files."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.masks import BAND, bands, label_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam2.inference.frames import ArrayLike

Kind = Literal["Labels", "Tracks", "Masks"]
_FORMATS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "Labels": ("TIFF", (".tif", ".tiff")),
    "Tracks": ("CSV", (".csv",)),
    "Masks": ("JSON", (".json",)),
}


def check_output(path: Path, image: Path | None = None, kind: Kind = "Labels") -> None:
    """Refuse a file for results that cannot be written, before any work is done.

    Parameters
    ----------
    path : Path
        The file.
    image : Path, optional
        The image, which is never replaced.
    kind : {"Labels", "Tracks", "Masks"}
        What it is for, and so what it must be called.

    Raises
    ------
    InputError
        When it is not called as such files are, lies in a folder that does not exist or cannot be
        written, or is the image itself.
    """
    format, endings = _FORMATS[kind]
    if path.suffix.lower() not in endings:
        called = " or ".join(endings)
        raise InputError(f"{kind} are written as {format}, but {path} is not called {called}.")
    check_folder(path.parent)
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the name of a file.")
    if image is not None and path.exists() and image.exists() and path.samefile(image):
        raise InputError(
            f"The {kind.lower()} would overwrite the image {path}. Choose another name."
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there or cannot be written; raises `InputError`."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Create it, or choose another.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"The folder {folder} cannot be written. Choose another.")


def write_labels(
    path: Path,
    labels: ArrayLike,
    axes: str,
    dtype: Any = None,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Write labels as a compressed TIFF, all or nothing.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    labels : array-like of uint8, uint16 or uint32
        The labels; read one plane at a time.
    axes : str
        One letter for each axis.
    dtype : dtype, optional
        Of the file; by default that of the labels.
    shape : tuple of int, optional
        Of the file, where it has further axes of length 1 before those of the plane.
    """
    import tifffile

    shape, kind = shape or tuple(labels.shape), np.dtype(dtype or labels.dtype)
    with replacing(path) as partial:
        tifffile.imwrite(
            partial,
            (np.asarray(labels[plane], kind) for plane in np.ndindex(*labels.shape[:-2])),
            shape=shape,
            dtype=kind,
            # not known before compression; better safe
            bigtiff=math.prod(shape) * kind.itemsize > 2**31,
            photometric="minisblack",
            compression="zlib",
            metadata={"axes": axes},
        )


def write_ome_zarr(
    path: Path,
    labels: ArrayLike,
    axes: str,
    name: str,
    scale: Sequence[float] = (),
    units: Sequence[str] = (),
    translation: Sequence[float] = (),
    dtype: Any = None,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Write labels as an OME-Zarr label image, version 0.5, all or nothing.

    Parameters
    ----------
    path : Path
        The folder; replaced when it exists.
    labels : array-like of uint8, uint16 or uint32
        The labels; read some rows at a time.
    axes : str
        One letter for each axis.
    name : str
        What the image is called.
    scale : sequence of float
        Size of a pixel along each axis; 1 where it is not known.
    units : sequence of str
        What ``scale`` is in, for each axis, such as "micrometer".
    translation : sequence of float
        Where the first pixel lies along each axis, in the same units; 0 where it is not known.
    dtype : dtype, optional
        Of what is written; by default that of the labels.
    shape : tuple of int, optional
        Of what is written, where it has further axes of length 1 before those of the plane.
    """
    import zarr

    shape, kind = shape or tuple(labels.shape), np.dtype(dtype or labels.dtype)
    axes = axes.lower()
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis, unit in zip(named, units, strict=False):
        # "pixel" means none, and an axis taken for time later may still have its unit of length
        if unit != "pixel" and _is_of_time(unit) is (axis["type"] == "time"):
            axis["unit"] = unit
    placed: list[dict[str, Any]] = [{"type": "scale", "scale": list(scale) or [1.0] * len(shape)}]
    if any(translation):
        placed.append({"type": "translation", "translation": list(translation)})
    multiscale = {
        "name": name,
        "axes": named,
        "datasets": [{"path": "0", "coordinateTransformations": placed}],
    }
    label = {"properties": [{"label-value": number} for number in label_numbers(labels).tolist()]}
    with replacing(path) as partial:
        group = zarr.create_group(str(partial), zarr_format=3)
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale], "image-label": label}
        array = group.create_array(
            "0",
            shape=shape,
            chunks=label_chunks(shape),
            dtype=kind,
            dimension_names=list(axes),
        )
        for to, band in zip(bands(shape), bands(tuple(labels.shape)), strict=True):
            array[to] = np.asarray(labels[band], kind)


def _is_of_time(unit: str) -> bool:
    return unit.endswith("second") or unit in ("minute", "hour", "day")


def label_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How zarr arrays of labels, of shape (..., Y, X), are cut: a part of one plane each."""
    return (*(1 for _ in shape[:-2]), *(min(length, BAND) for length in shape[-2:]))
