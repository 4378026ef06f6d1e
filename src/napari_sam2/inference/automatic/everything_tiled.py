"""Find everything on a plane larger than the model's input, tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.automatic.found_masks import HIDDEN
from napari_sam2.inference.large.fields import Grid
from napari_sam2.inference.large.large_plane import SHOWN, LargePlane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.found_masks import FoundMasks
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator
    from napari_sam2.inference.frames import ArrayLike, WritableArray
    from napari_sam2.inference.large.fields import Field


@dataclass(frozen=True)
class TilesDone:
    """How far it is.

    Attributes
    ----------
    done, tiles : int
        How many tiles were searched so far, and how many there are.
    objects : int
        Found so far; the largest label.
    """

    done: int
    tiles: int
    objects: int


def label_everything(
    generator: MaskGenerator,
    plane: ArrayLike | Sequence[ArrayLike] | LargePlane,
    labels: WritableArray,
    contrast_limits: tuple[float, float] | None = None,
    *,
    score_threshold: float | None = None,
    stability_threshold: float | None = None,
    overlap_threshold: float = 0.7,
    smallest: int = 0,
) -> Iterator[TilesDone]:
    """Segment everything on a large plane into a label image, tile by tile.

    Tiles have the size of the model's input, overlap by half, and are asked at the points that are
    nearest to their middle alone. So an object of up to 7/16 of the input is seen whole, wherever
    it lies, and larger ones are left out. What a second tile finds of the same object is mostly
    covered by what the first found, and is left out, too.

    Parameters
    ----------
    generator : MaskGenerator
        Its grid of points is that of each part of the plane as large as the model's input.
    plane : array-like, shape (Y, X) or (Y, X, 3), or sequence of them, or LargePlane
        As `LargeImagePredictor` takes it.
    labels : array-like, shape (Y, X)
        Zeros, to be written in place: a numpy array, a memory map, a zarr array; of uint32, as
        there may be many objects.
    contrast_limits : tuple of float, optional
        As `LargeImagePredictor` takes them.
    score_threshold, stability_threshold, overlap_threshold, smallest
        As `Candidates.choose` takes them.

    Returns
    -------
    iterator of TilesDone
        After each tile. Stop iterating to cancel: what was written stays.

    Raises
    ------
    TypeError, ValueError
        At once, when the plane has another shape or no real numbers, or the labels another shape.
    """
    large = plane if isinstance(plane, LargePlane) else LargePlane(plane, contrast_limits)
    if tuple(labels.shape) != large.shape:
        raise ValueError(
            f"The labels have shape {tuple(labels.shape)}, the plane {large.shape}. They must be "
            "equal."
        )
    thresholds = score_threshold, stability_threshold, overlap_threshold
    return _labelled(generator, large, labels, thresholds, smallest)


def _labelled(
    generator: MaskGenerator,
    plane: LargePlane,
    labels: WritableArray,
    thresholds: tuple[float | None, float | None, float],
    smallest: int,
) -> Iterator[TilesDone]:
    size = generator.model.config.image_size
    grid = Grid(plane.shape, size)
    tiles, objects = list(grid.tiles(0)), 0
    for done, tile in enumerate(tiles, start=1):
        points = _own_points(grid, tile, size / generator.points_per_side)
        candidates = generator.generate(plane.read(tile), SHOWN, points)
        found = candidates.choose(*thresholds, smallest=smallest)
        place = tuple(
            slice(first, last + 1) for first, last in zip(tile.box[:2], tile.box[2:], strict=True)
        )
        painted = np.array(labels[place])
        objects = _paint(painted, found, grid, tile, objects)
        labels[place] = painted
        yield TilesDone(done, len(tiles), objects)


def _own_points(grid: Grid, tile: Field, spacing: float) -> NDArray[np.float64]:
    """Points of one lattice over the plane, of which no tile's middle is nearer; in the tile."""
    along = []
    for axis in (0, 1):
        low, high = grid.own(axis, tile)
        first, last = (int(np.ceil((edge + 0.5) / spacing - 0.5)) for edge in (low, high))
        along.append((np.arange(first, last) + 0.5) * spacing - 0.5 - tile.box[axis])
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 2)


def _paint(painted: NDArray[Any], found: FoundMasks, grid: Grid, tile: Field, objects: int) -> int:
    """Paint what lies whole in a tile and is not there yet; gives the number of objects."""
    for mask in found:
        extent = np.add(mask.box, (tile.row, tile.column) * 2)
        if grid.is_cut(tuple(extent), tile):
            continue
        part = painted[mask.runs.slices]
        free = mask.runs.crop() & (part == 0)
        if np.count_nonzero(free) > (1 - HIDDEN) * mask.runs.area:
            objects += 1
            part[free] = objects
    return objects
