"""Zarr images, and what OME-Zarr says of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_zarr(
    path: Path,
) -> tuple[Any, str | None, tuple[Any, ...], tuple[tuple[Any, ...], ...]]:
    """Open the first image of a zarr folder at full resolution, lazily.

    Parameters
    ----------
    path : Path
        An array, an OME-Zarr image of version 0.1 to 0.5, or a folder of images as bioformats2raw
        writes it.

    Returns
    -------
    data : zarr.Array
        The image.
    axes : str or None
        One letter for each axis; None where they have no names.
    coarser : tuple of zarr.Array
        What follows it in its pyramid; empty where it is in none.
    calibration : tuple
        Scale, translation and units of the axes, as in `OpenImage`; empty where they are not known.

    Raises
    ------
    InputError
        When there is no image.
    Exception
        Whatever zarr raises of a broken one.
    """
    import zarr

    node = group = zarr.open(path, mode="r")
    level = path.name
    if isinstance(node, zarr.Array):
        with suppress(FileNotFoundError):  # it may be a level of a pyramid, whose group names axes
            group = zarr.open_group(path.parent, mode="r")
    while isinstance(node, zarr.Group):  # bioformats2raw puts images into groups, from "0" on
        group = node
        level = (_multiscale(group).get("datasets") or [{}])[0].get("path", "0")
        if level not in node:
            raise InputError(
                f"{path} is a zarr group without an array '{level}'. Give the path of an array "
                "in it."
            )
        node = node[level]
    described = _multiscale(group)
    paths = [each.get("path") for each in described.get("datasets", ())]
    following = paths[paths.index(level) + 1 :] if level in paths else []
    coarser = tuple(group[each] for each in following if each in group)
    # zarr 2 has no names of its own
    names = described.get("axes") or getattr(node.metadata, "dimension_names", None) or ()
    axes = "".join(map(_letter, names))
    # names that begin alike, such as dim_0 and dim_1, say nothing
    if len(set(axes)) != node.ndim:
        return node, None, coarser, ()
    return node, axes, coarser, _calibration(described, level) if described.get("axes") else ()


def _multiscale(node: Any) -> dict[str, Any]:
    """What OME-Zarr says of an image; nothing where there is none."""
    attributes = node.attrs.asdict()
    found: list[dict[str, Any]] = attributes.get("ome", attributes).get("multiscales") or [{}]
    return found[0]


def _calibration(described: dict[str, Any], level: str) -> tuple[tuple[Any, ...], ...]:
    """Scale, translation and units of a level of OME-Zarr."""
    axes = described["axes"]
    scale, translation = np.ones(len(axes)), np.zeros(len(axes))
    levels = [each for each in described.get("datasets", ()) if each.get("path") == level]
    for each in (*levels, described):
        for step in each.get("coordinateTransformations", ()):
            by = step.get("scale", 1)
            scale, translation = scale * by, translation * by + step.get("translation", 0)
    units = (axis.get("unit", "pixel") if isinstance(axis, dict) else "pixel" for axis in axes)
    return tuple(scale.tolist()), tuple(translation.tolist()), tuple(units)


def _letter(axis: Any) -> str:
    """The letter of an axis, by its description in OME-Zarr, or by its name."""
    if not isinstance(axis, dict):
        return str(axis)[:1].upper()
    kinds = {"time": "T", "channel": "C"}
    return kinds.get(axis.get("type", ""), str(axis["name"])[:1].upper())
