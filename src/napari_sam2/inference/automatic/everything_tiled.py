"""Find everything on a plane larger than the model's input, tile by tile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import zoom

from napari_sam2.inference.automatic.found_masks import HIDDEN, large_parts
from napari_sam2.inference.automatic.mask_generator import crops_of
from napari_sam2.inference.large.fields import Grid
from napari_sam2.inference.large.large_plane import SHOWN, LargePlane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.found_masks import (
        Candidates,
        FoundMask,
        FoundMasks,
        Thresholds,
    )
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


class SearchedTile:
    """A tile, and what was found on it.

    Parameters
    ----------
    field : Field
        Where it lies.
    candidates : Candidates
        Every mask that was decoded on it.
    """

    def __init__(self, field: Field, candidates: Candidates) -> None:
        self.field, self.candidates = field, candidates
        # what was chosen last is kept: a preview asks all tiles again after each further one
        self.choose = lru_cache(maxsize=1)(candidates.choose)


@dataclass(frozen=True, eq=False)
class TiledMasks:
    """The masks that were chosen on each tile.

    Attributes
    ----------
    grid : Grid
        Of the tiles.
    tiles : tuple of (Field, FoundMasks)
        In the order in which they are painted.
    """

    grid: Grid
    tiles: tuple[tuple[Field, FoundMasks], ...]

    def labels(self) -> NDArray[np.uint32]:
        """Labels (Y, X) of the plane, the same as `label_everything` writes."""
        labels, objects = np.zeros(self.grid.shape, np.uint32), 0
        for tile, found in self.tiles:
            objects = _paint(labels, found, self.grid, tile, objects)
        return labels


@dataclass(frozen=True, eq=False)
class TiledCandidates:
    """Every mask that was decoded on the tiles of a plane, to be chosen from as often as wanted.

    Attributes
    ----------
    grid : Grid
        Of the tiles.
    tiles : tuple of SearchedTile
        Those that were searched so far, the last one perhaps in part.
    decoded, points : int
        How many points were decoded so far, and how many there are.
    """

    grid: Grid
    tiles: tuple[SearchedTile, ...]
    decoded: int
    points: int

    @property
    def masks(self) -> list[FoundMask]:
        """All masks, each in pixels of its tile."""
        return [mask for tile in self.tiles for mask in tile.candidates.masks]

    @property
    def floors(self) -> Thresholds:
        """What masks had to reach to be kept."""
        return self.tiles[0].candidates.floors

    @property
    def usual(self) -> Thresholds:
        """What they must reach to be chosen, unless `choose` is told otherwise."""
        return self.tiles[0].candidates.usual

    def choose(
        self,
        score_threshold: float | None = None,
        stability_threshold: float | None = None,
        overlap_threshold: float = 0.7,
        smallest: int = 0,
    ) -> TiledMasks:
        """Choose the good masks of each tile; takes and raises what `Candidates.choose` does."""
        how = score_threshold, stability_threshold, overlap_threshold, smallest
        return TiledMasks(self.grid, tuple((tile.field, tile.choose(*how)) for tile in self.tiles))


def search_tiles(generator: MaskGenerator, plane: LargePlane) -> Iterator[TiledCandidates]:
    """Decode every point of a large plane, tile by tile, and keep the masks to choose from.

    Parameters
    ----------
    generator : MaskGenerator
        As for `label_everything`.
    plane : LargePlane
        The plane.

    Yields
    ------
    TiledCandidates
        After each batch of points, everything that was decoded so far. Stop iterating to cancel.
    """
    grid, asked = _asked(generator, plane)
    total, before = sum(len(points) for _, points in asked), 0
    done: tuple[SearchedTile, ...] = ()
    for tile, points in asked:
        for candidates in generator.steps(plane.read(tile), SHOWN, points):
            # in crops points are asked about again, and counted again
            share = candidates.decoded / max(candidates.points, 1)
            tiles = (*done, SearchedTile(tile, candidates))
            yield TiledCandidates(grid, tiles, before + round(share * len(points)), total)
        done, before = tiles, before + len(points)


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
    it lies. Larger ones are looked for afterwards, in tiles twice as long that are shown as
    coarsely, and so on to the whole plane. What a second tile finds of the same object is mostly
    covered by what the first found, and is left out.

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
    if np.dtype(labels.dtype).kind not in "ui" or np.dtype(labels.dtype).itemsize < 4:
        raise TypeError(
            f"The labels are of {labels.dtype}, and there may be more objects than that counts. "
            "Give uint32."
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
    grid, asked = _asked(generator, plane)
    objects = 0
    for done, (tile, points) in enumerate(asked, start=1):
        candidates = generator.generate(plane.read(tile), SHOWN, points)
        found = candidates.choose(*thresholds, smallest=smallest)
        objects = _paint(labels, found, grid, tile, objects)
        yield TilesDone(done, len(asked), objects)


def _asked(
    generator: MaskGenerator, plane: LargePlane
) -> tuple[Grid, list[tuple[Field, NDArray[np.float64]]]]:
    """The tiles of a plane, and the points that each is asked at."""
    size = generator.model.config.image_size
    grid = Grid(plane.shape, size)
    spacing = size / generator.points_per_side
    tiles = [tile for level in range(grid.levels) for tile in grid.tiles(level)]
    for tile in tiles:  # the coarser ones of a narrow plane may be too narrow for crops
        crops_of(tile.shown, generator.crop_layers)
    return grid, [(tile, _own_points(grid, tile, spacing)) for tile in tiles]


def _own_points(grid: Grid, tile: Field, spacing: float) -> NDArray[np.float64]:
    """Points of one lattice over the plane, of which no tile's middle is nearer; as it is shown."""
    along = []
    for axis in (0, 1):
        low, high = ((edge + 0.5) / tile.step for edge in grid.own(axis, tile))
        first, last = (int(np.ceil(edge / spacing - 0.5)) for edge in (low, high))
        along.append((np.arange(first, last) + 0.5) * spacing - 0.5 - tile.box[axis] // tile.step)
    return np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 2)


def _paint(labels: WritableArray, found: FoundMasks, grid: Grid, tile: Field, objects: int) -> int:
    """Paint what a tile is for and shows whole, where nothing is yet; gives how many there are."""
    whole = [
        (mask.runs, extent)
        for mask in found
        for extent in [tile.extent(mask.box)]
        if not grid.is_cut(extent, tile)
        and (tile.step == 1 or grid.is_too_large(extent, grid.finer(tile)))
    ]
    if not whole:
        return objects
    extents = np.array([extent for _, extent in whole])
    top, left = (int(n) for n in extents[:, :2].min(axis=0))
    bottom, right = (int(n) + 1 for n in extents[:, 2:].max(axis=0))
    painted = np.array(labels[top:bottom, left:right])
    for runs, (row, column, last_row, last_column) in whole:
        part = painted[row - top : last_row + 1 - top, column - left : last_column + 1 - left]
        shown = _enlarged(runs.crop(), tile.step)[: part.shape[0], : part.shape[1]]
        free = shown & (part == 0)
        if np.count_nonzero(free) > (1 - HIDDEN) * np.count_nonzero(shown):
            free = large_parts(free, found.smallest)
            objects += bool(free.any())
            part[free] = objects
    labels[top:bottom, left:right] = painted
    return objects


def _enlarged(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """A mask with so many pixels a side for each, its outline straight from one to the next."""
    if step == 1:
        return mask
    padded = np.pad(mask, 1).astype(np.float32)
    larger = zoom(padded, step, order=1, grid_mode=True, mode="nearest")
    enlarged: NDArray[np.bool_] = larger[step:-step, step:-step] > 0.5
    return enlarged
