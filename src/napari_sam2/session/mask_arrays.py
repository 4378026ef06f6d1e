"""The masks of a frame as one zarr array: the logits of all objects, one after the other.

Each object keeps its own crop, so that masks that overlap stay what they are.
"""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.session import strict
from napari_sam2.session.values import ObjectMask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CODECS = {"bytes", "zstd"}  # what zarr.json may name: no other code is to run


def write_masks(folder: Path, name: str, masks: Mapping[int, ObjectMask]) -> str:
    """Write the masks of a frame as a new array; gives their SHA-256."""
    import zarr  # takes long to import, and a window opens without it
    from zarr.codecs import BytesCodec, ZstdCodec

    values = np.concatenate([mask.crop.logits.ravel() for mask in masks.values()])
    objects = [
        [
            object_id,
            *(int(n) for n in (*mask.crop.origin, *mask.crop.logits.shape)),
            mask.score,
            mask.present,
        ]
        for object_id, mask in masks.items()
    ]
    values = values.astype("<f2")
    array = zarr.create_array(
        str(folder / name),
        shape=(max(values.size, 1),),
        chunks=(max(values.size, 1),),
        dtype="float16",
        filters=[],
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec()],
        attributes={"objects": objects},
        zarr_format=3,
    )
    array[: values.size] = values
    return _digest(objects, values)


def read_masks(folder: Path, name: str, sha256: str) -> Mapping[int, ObjectMask]:
    """Read the masks of a frame.

    Raises
    ------
    FormatError
        When they are not what was written.
    """
    import zarr

    path = folder / name
    described = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    codecs = {codec.get("name") for codec in described.get("codecs", [])}
    if described.get("data_type") != "float16" or not codecs <= _CODECS:
        raise strict.FormatError(f"the array {name} is not of the type that is written")
    array = zarr.open_array(str(path), mode="r", zarr_format=3)
    objects = strict.listing(array.attrs["objects"], _read_object)
    sizes = [height * width for _, _, (height, width), _, _ in objects]
    if array.ndim != 1 or array.shape[0] != max(sum(sizes), 1):
        raise strict.FormatError(f"the array {name} is not as long as its masks")
    values = np.asarray(array[: sum(sizes)])
    if _digest(array.attrs["objects"], values) != sha256:
        raise strict.FormatError(f"the checksum of the array {name} is wrong")
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return MappingProxyType(
        {
            object_id: ObjectMask(MaskCrop(part.reshape(shape), origin), score, present)
            for (object_id, origin, shape, score, present), part in zip(objects, parts, strict=True)
        }
    )


def _read_object(value: Any) -> tuple[int, tuple[int, int], tuple[int, int], float, bool]:
    object_id, row, column, height, width, score, present = strict.listing(value, lambda v: v, 7)
    origin = strict.integer(row), strict.integer(column)
    shape = strict.integer(height), strict.integer(width)
    return strict.integer(object_id, 1), origin, shape, strict.number(score), strict.flag(present)


def _digest(objects: Any, values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(json.dumps(objects).encode())
    digest.update(values.astype("<f2").tobytes())
    return digest.hexdigest()
