"""Clicks on a plane that is much larger than the model's input.

    python benchmarks/large_plane.py [--side 16000] [--model nano] [--objects 24]

writes a plane of bright ellipses chunk by chunk into a temporary zarr array, and measures on it:
the first click, in encoder calls and seconds; how well masks agree where the same object is clicked
on either side of a border between tiles, beside what the model alone makes of the same two clicks,
in one picture with the object in its middle; and peak memory beyond the loaded model, at last with
an object that fills most of the plane.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import replace

import numpy as np
import zarr

from napari_sam2 import (
    BoxPrompt,
    ImagePredictor,
    LargeImagePredictor,
    PointPrompt,
    load_model,
)
from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import intersection_over_union

CHUNK = 1000
APART = 125  # pixels from ellipse to ellipse; divides a chunk
OFFSET = 0.3  # of the way from the middle to the outline: where an object is clicked


def ellipse(row: int, column: int) -> tuple[float, float, float, float, float]:
    """Middle, semi-axes and brightness of the ellipse in a cell of a square lattice."""
    rng = np.random.default_rng([row, column])
    middle = (np.array([row, column]) + 0.5 + rng.uniform(-0.08, 0.08, 2)) * APART
    return (*middle, *rng.uniform(14, 42, 2), rng.uniform(120, 180))


def drawn(first: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A part of the plane, which starts at a multiple of `APART`."""
    part = np.random.default_rng(first).integers(20, 50, shape, dtype=np.uint16)
    for row in range(first[0] // APART, -(-(first[0] + shape[0]) // APART)):
        for column in range(first[1] // APART, -(-(first[1] + shape[1]) // APART)):
            y, x, high, wide, bright = ellipse(row, column)
            top, left = row * APART, column * APART  # it lies in its cell
            rows, columns = np.ogrid[top : top + APART, left : left + APART]
            inside = ((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 < 1
            there = part[top - first[0] :, left - first[1] :][:APART, :APART]
            there += (bright * inside[: there.shape[0], : there.shape[1]]).astype(np.uint16)
    return part


def plane_of(side: int, folder: str) -> zarr.Array:
    """Write the plane, one chunk at a time."""
    plane = zarr.create_array(folder, shape=(side, side), chunks=(CHUNK, CHUNK), dtype=np.uint16)
    for row in range(0, side, CHUNK):
        for column in range(0, side, CHUNK):
            size = min(CHUNK, side - row), min(CHUNK, side - column)
            plane[row : row + size[0], column : column + size[1]] = drawn((row, column), size)
    return plane


def peak_bytes() -> int:
    """The most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def agreement(first, second) -> float:
    """IoU of two crops, in the box around both."""
    boxes = [(*c.origin, *np.add(c.origin, c.logits.shape)) for c in (first, second)]
    low = np.min(boxes, axis=0)[:2]
    masks = np.zeros((2, *(np.max(boxes, axis=0)[2:] - low)), dtype=bool)
    for mask, crop in zip(masks, (first, second), strict=True):
        row, column = crop.origin - low
        mask[row : row + crop.logits.shape[0], column : column + crop.logits.shape[1]] = (
            crop.logits > 0
        )
    union = (masks[0] | masks[1]).sum()
    return (masks[0] & masks[1]).sum() / union if union else 1.0


def near_borders(side: int, tile: int, count: int) -> list[tuple[int, int]]:
    """Lattice cells of ellipses that are clicked on either side of a border between tiles.

    Tiles begin every half tile; beyond three quarters of one, the middle of the next is nearer.
    """
    inside = range(-(-tile // APART), (side - tile) // APART)  # the picture beside it is whole, too
    found = []
    for row in inside:
        for column in inside:
            _, x, _, wide, _ = ellipse(row, column)
            if abs(x % (tile / 2) - tile / 4) < OFFSET * wide:
                found.append((row, column))
    return [found[index] for index in np.linspace(0, len(found) - 1, count, dtype=int)]


def truth(cell: tuple[int, int]) -> MaskCrop:
    """The ellipse of a lattice cell."""
    y, x, high, wide, _ = ellipse(*cell)
    row, column = int(y - high) - 1, int(x - wide) - 1
    rows, columns = np.ogrid[row : int(y + high) + 2, column : int(x + wide) + 2]
    inside = ((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 < 1
    return MaskCrop(np.where(inside, 1, -1).astype(np.float16), (row, column))


def main() -> None:
    parser = ArgumentParser(description="Clicks on a plane larger than the model's input.")
    parser.add_argument("--side", type=int, default=16000)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--objects", type=int, default=24)
    arguments = parser.parse_args()
    model = load_model(arguments.model, "cpu")
    tile = model.config.image_size
    with tempfile.TemporaryDirectory() as folder:
        plane = plane_of(arguments.side, folder)
        cells = near_borders(arguments.side, tile, arguments.objects)
        before, start = peak_bytes(), time.perf_counter()
        large = LargeImagePredictor(model, plane, store=None)
        print(f"contrast limits from a sample: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        y, x, *_ = ellipse(*cells[0])
        large.predict([PointPrompt((y, x))]).best  # noqa: B018
        seconds = time.perf_counter() - start
        print(f"first click: {large.features.encoded} encoder calls, {seconds:.1f} s")

        small = ImagePredictor(model)
        across, alone, right = [], [], []
        for cell in cells:
            y, x, _, wide, _ = ellipse(*cell)
            clicks = [(y, x - OFFSET * wide), (y, x + OFFSET * wide)]
            found = [large.predict([PointPrompt(click)]).best for click in clicks]
            across.append(agreement(*found))
            right += [agreement(each, truth(cell)) for each in found]
            row, column = int(y) - tile // 2, int(x) - tile // 2
            part = plane[row : row + tile, column : column + tile]
            small.set_image(part, large.contrast_limits)
            masks = [small.predict([PointPrompt((r - row, c - column))]).best for r, c in clicks]
            alone.append(intersection_over_union(*masks))
        print(f"encoder calls for {2 * len(cells)} clicks: {large.features.encoded}")
        for what, found in (
            ("clicked on either side of a border", across),
            ("the same clicks in one picture, without tiles", alone),
            ("with the truth", right),
        ):
            enough = np.mean(np.array(found) >= 0.95)
            print(
                f"IoU, {what}: mean {np.mean(found):.3f}, median {np.median(found):.3f}, "
                f"0.95 or more in {enough:.0%}"
            )
        print(f"peak beyond the model: {(peak_bytes() - before) / 1e6:.0f} MB")
        whole = large.grid.whole
        start = time.perf_counter()
        found = large.predict([BoxPrompt(whole.box)], view=whole.box)
        # whatever the model says, the object is nearly all of the plane
        logits = np.full_like(found.logits, 5)
        logits[:, :2] = -5
        size = replace(found, logits=logits).best.logits.shape
        print(
            f"an object of {size[0]} x {size[1]} pixels: {time.perf_counter() - start:.1f} s, "
            f"peak {(peak_bytes() - before) / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
