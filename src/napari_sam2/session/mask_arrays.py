"""The masks of some frames as one zarr array: the logits of all objects, one after the other.

Frames that are saved together are one array: writing many small ones would take longer than a quick
model needs for the masks. Each object keeps its own crop, so that masks that overlap stay what they
are.
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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    _Object = tuple[int, tuple[int, int], tuple[int, int], float, bool]

_CODECS = {"bytes", "zstd"}  # what zarr.json may name: no other code is to run


def write_masks(folder: Path, name: str, frames: Sequence[Mapping[int, ObjectMask]]) -> list[str]:
    """Write the masks of some frames as a new array; gives the SHA-256 of each frame's."""
    import zarr  # takes long to import, and a window opens without it
    from zarr.codecs import BytesCodec, ZstdCodec

    described = [
        [
            [
                object_id,
                *(int(n) for n in (*mask.crop.origin, *mask.crop.logits.shape)),
                mask.score,
                mask.present,
            ]
            for object_id, mask in masks.items()
        ]
        for masks in frames
    ]
    parts = [
        np.concatenate([mask.crop.logits.ravel() for mask in masks.values()]).astype("<f2")
        for masks in frames
    ]
    values = np.concatenate(parts)
    array = zarr.create_array(
        str(folder / name),
        shape=(max(values.size, 1),),
        chunks=(max(values.size, 1),),
        dtype="float16",
        filters=[],
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec()],
        attributes={"frames": described},
        zarr_format=3,
    )
    array[: values.size] = values
    return [_digest(objects, part) for objects, part in zip(described, parts, strict=True)]


def read_masks(folder: Path, name: str) -> list[tuple[str, Mapping[int, ObjectMask]]]:
    """Read what was written as one array: the SHA-256 and the masks of each frame.

    Raises
    ------
    FormatError
        When they are not what was written.
    """
    import zarr

    path = folder / name
    metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    codecs = {codec.get("name") for codec in metadata.get("codecs", [])}
    if metadata.get("data_type") != "float16" or not codecs <= _CODECS:
        raise strict.FormatError(f"the array {name} is not of the type that is written")
    array = zarr.open_array(str(path), mode="r", zarr_format=3)
    described = array.attrs["frames"]
    frames = strict.listing(described, lambda each: strict.listing(each, _read_object))
    sizes = [sum(height * width for _, _, (height, width), *_ in objects) for objects in frames]
    if array.ndim != 1 or array.shape[0] != max(sum(sizes), 1):
        raise strict.FormatError(f"the array {name} is not as long as its masks")
    parts = np.split(np.asarray(array[: sum(sizes)]), np.cumsum(sizes)[:-1])
    return [
        (_digest(text, part), _masks(objects, part))
        for text, objects, part in zip(described, frames, parts, strict=True)
    ]


def _masks(objects: Sequence[_Object], values: NDArray[np.float16]) -> Mapping[int, ObjectMask]:
    ends = np.cumsum([height * width for _, _, (height, width), *_ in objects])
    return MappingProxyType(
        {
            object_id: ObjectMask(MaskCrop(part.reshape(shape), origin), score, present)
            for (object_id, origin, shape, score, present), part in zip(
                objects, np.split(values, ends[:-1]), strict=True
            )
        }
    )


def _read_object(value: Any) -> _Object:
    object_id, row, column, height, width, score, present = strict.listing(value, lambda v: v, 7)
    origin = strict.integer(row), strict.integer(column)
    shape = strict.integer(height), strict.integer(width)
    return strict.label(object_id), origin, shape, strict.number(score), strict.flag(present)


def _digest(objects: Any, values: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(json.dumps(objects).encode())
    digest.update(values.astype("<f2").tobytes())
    return digest.hexdigest()
