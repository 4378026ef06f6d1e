"""A saved session in the formats of other programs."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference import label_files
from napari_sam2.inference.errors import InputError
from napari_sam2.session.labels import label_image, plane_index
from napari_sam2.session.prompt_json import run_lengths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.session.identity import ImageIdentity
    from napari_sam2.session.saved import SavedSession
    from napari_sam2.session.values import ObjectMask, StackKey


Format = Literal["tiff", "ome-zarr", "coco", "tracks"]
_KINDS: dict[str, label_files.Kind] = {"tiff": "Labels", "coco": "Masks", "tracks": "Tracks"}


def export(saved: SavedSession, format: Format, output: Path, source: Path | None = None) -> None:
    """Write a session in another format, all or nothing.

    Parameters
    ----------
    saved : SavedSession
        The session.
    format : {"tiff", "ome-zarr", "coco", "tracks"}
        What to write.
    output : Path
        The file, or for OME-Zarr the folder.
    source : Path, optional
        The file of the image, which is never replaced.

    Raises
    ------
    InputError
        When it cannot be written there, or has nothing of this format.
    OSError
        When writing fails.
    """
    if format == "ome-zarr":
        label_files.check_folder(output.parent)
        if len(image_shape(saved.image)) > 5:
            raise InputError(
                f"OME-Zarr has five axes at most, and the image {len(image_shape(saved.image))}. "
                "Export another format."
            )
    else:
        label_files.check_output(output, source, _KINDS[format])
    if format == "tiff":
        label_files.write_labels(output, labels_of(saved), axes_of(saved.image).upper())
    elif format == "ome-zarr":
        if output.exists():
            raise InputError(f"{output} exists already. Remove it, or write elsewhere.")
        write_ome_zarr(output, saved)
    elif format == "coco":
        with replacing(output) as partial:
            partial.write_text(json.dumps(coco(saved)), encoding="utf-8")
    else:
        rows = tracks(saved)
        with replacing(output) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            axes, time_axis = axes_of(saved.image), _time_axis(saved.image)
            writer.writerow(("id", "t", *axes[:time_axis], *axes[time_axis + 1 :]))
            writer.writerows(rows)


def image_shape(image: ImageIdentity) -> tuple[int, ...]:
    """Shape of an image without its colours."""
    return image.shape[:-1] if image.rgb else image.shape


def axes_of(image: ImageIdentity) -> str:
    """The names of the axes of an image but its colours, one letter each."""
    count = len(image_shape(image))
    others = "q" * (count - 5)
    return image.axes or (others + "tczyx"[-count:] if count != 4 else "tzyx")


def _time_axis(image: ImageIdentity) -> int:
    return max(axes_of(image).find("t"), 0)


def labels_of(saved: SavedSession) -> Any:
    """All masks as labels, of the image's shape, as `label_image` makes them."""
    return label_image(saved.masks, image_shape(saved.image))


def write_ome_zarr(path: Path, saved: SavedSession) -> None:
    """Write the labels as an OME-Zarr label image, version 0.5.

    Parameters
    ----------
    path : Path
        The folder; replaced when it exists.
    saved : SavedSession
        The session.
    """
    image = saved.image
    label_files.write_ome_zarr(
        path,
        labels_of(saved),
        axes_of(image),
        image.name,
        image.scale,
        image.units,
        image.translation,
    )


def coco(saved: SavedSession) -> dict[str, Any]:
    """The masks as COCO annotations: one image for each plane, run lengths as segmentations.

    Objects that overlap keep all of their pixels.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for stack, frame, found in _frames(saved):
        height, width = _plane_shape(saved, stack)
        where = ", ".join(str(n) for n in _held(stack, frame))
        name = f"{saved.image.name} [{where}]" if where else saved.image.name
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        for object_id, mask in found.items():
            rows, columns = _pixels(mask)
            if not rows.size:
                continue
            low, high = (rows.min(), columns.min()), (rows.max(), columns.max())
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": 1,
                    "object_id": object_id,
                    "score": mask.score,
                    "iscrowd": 0,
                    "area": int(rows.size),
                    "bbox": [
                        int(low[1]),
                        int(low[0]),
                        int(high[1] - low[1]) + 1,
                        int(high[0] - low[0]) + 1,
                    ],
                    # COCO counts down the columns
                    "segmentation": {
                        "size": [height, width],
                        "counts": run_lengths(
                            mask.crop.logits.T > 0, mask.crop.origin[::-1], (width, height)
                        ),
                    },
                }
            )
    categories = [{"id": 1, "name": "object"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def tracks(saved: SavedSession) -> list[tuple[float, ...]]:
    """The centre of each object at each time: (id, t, y, x), or (id, t, z, y, x).

    Time is the image's first axis, unless it has one of that name.

    Raises
    ------
    InputError
        When the image is one plane.
    """
    shape = image_shape(saved.image)
    if len(shape) < 3:
        raise InputError("The image is one plane, so there are no tracks. Export another format.")
    time_axis = _time_axis(saved.image)
    sums: dict[tuple[int, int], NDArray[np.float64]] = {}
    for stack, frame, found in _frames(saved):
        for object_id, mask in found.items():
            pixels = _pixels(mask)
            index = plane_index(stack, frame, (slice(None), slice(None)))
            along = iter(pixels)
            places = [next(along) if isinstance(at, slice) else at for at in index]
            columns = np.stack(np.broadcast_arrays(*places, pixels[0])[:-1], axis=1).astype(float)
            times, columns = columns[:, time_axis], np.delete(columns, time_axis, axis=1)
            for time in np.unique(times):
                at_time = columns[times == time]
                total = np.append(at_time.sum(axis=0), len(at_time))
                key = object_id, int(time)
                sums[key] = sums.get(key, np.zeros_like(total)) + total
    return [
        (object_id, time, *(float(n) for n in total[:-1] / total[-1]))
        for (object_id, time), total in sorted(sums.items())
    ]


def _pixels(mask: ObjectMask) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows and columns of a mask's pixels in the plane."""
    rows, columns = np.nonzero(mask.crop.logits > 0)
    return rows + mask.crop.origin[0], columns + mask.crop.origin[1]


def _frames(saved: SavedSession) -> Iterator[tuple[StackKey, int, dict[int, ObjectMask]]]:
    for stack, frames in saved.masks.items():
        for frame in sorted(frames):
            yield stack, frame, dict(frames[frame])


def _plane_shape(saved: SavedSession, stack: StackKey) -> tuple[int, int]:
    shape, (first, second) = image_shape(saved.image), stack.plane_axes
    return shape[first], shape[second]


def _held(stack: StackKey, frame: int) -> list[int]:
    index = plane_index(stack, frame, (slice(None), slice(None)))
    return [at for at in index if not isinstance(at, slice)]
