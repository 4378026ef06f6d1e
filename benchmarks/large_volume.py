"""One volume larger than a block, through the batch command's own code.

    python benchmarks/large_volume.py [--planes 300] [--size 1024] [--block 16]
        [--workers 1] [--points-per-side 16]

writes a volume of bright balls plane by plane into a temporary zarr array and segments it with
`nano`. It prints what each block cost, whether that grows from block to block, the memory of all
processes above what they had with the model loaded, and the number of objects beside that of the
balls. Threads are one for each worker, so that planes per second are those of one processor core.
"""

from __future__ import annotations

import os
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import psutil
import zarr

from napari_sam2 import BatchSettings
from napari_sam2.batch import blocks
from napari_sam2.batch.run import Batch
from napari_sam2.batch.segment import make_ready
from napari_sam2.session.identity import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterable

APART = 64  # pixels from ball to ball, along every axis


def balls(plane: int, size: int) -> np.ndarray:
    """A plane of the volume, (Y, X): one ball in each cell of a cubic lattice."""
    image = np.random.default_rng(plane).integers(80, 160, (size, size), dtype=np.uint16)
    rows, columns = np.mgrid[:APART, :APART]
    for row in range(size // APART):
        for column in range(size // APART):
            rng = np.random.default_rng([plane // APART, row, column])
            depth, y, x = APART / 2 + rng.uniform(-8, 8, 3)
            radius, bright = rng.uniform(12, 22), rng.integers(400, 900)
            inside = (rows - y) ** 2 + (columns - x) ** 2 + (plane % APART - depth) ** 2
            cell = image[row * APART :, column * APART :][:APART, :APART]
            cell += (bright * (inside < radius**2)).astype(np.uint16)
    return image


def write_volume(path: Path, planes: int, size: int) -> None:
    """Write the volume as OME-Zarr, one plane at a time."""
    array = zarr.create_group(str(path)).create_array(
        "0",
        shape=(planes, size, size),
        chunks=(1, min(size, 512), min(size, 512)),
        dtype=np.uint16,
        dimension_names=("z", "y", "x"),
    )
    for plane in range(planes):
        array[plane] = balls(plane, size)


class Memory(threading.Thread):
    """Watches what processes have in memory."""

    def __init__(self, pids: Iterable[int]) -> None:
        super().__init__(daemon=True)
        self._processes = [psutil.Process(pid) for pid in pids]
        self.first = self._now()
        self.peak, self.largest = sum(self.first), max(self.first)  # together, and of one alone

    def run(self) -> None:
        while True:
            time.sleep(0.2)
            now = self._now()
            self.peak, self.largest = max(self.peak, sum(now)), max(self.largest, *now)

    def _now(self) -> list[int]:
        return [each.memory_info().rss for each in self._processes if each.is_running()]


def processor_seconds(pids: Iterable[int]) -> float:
    """Of the processor, by some processes so far: on a busy machine steadier than the clock."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def report_cost(what: str, cost: np.ndarray) -> None:
    """Print what a plane cost in each block, and whether it grows from block to block."""
    print(f"{what} for each plane: mean {cost.mean():.2f}, {cost.min():.2f} to {cost.max():.2f}")
    if len(cost) > 4:
        fit, covariance = np.polyfit(np.arange(len(cost)), cost / cost.mean(), 1, cov=True)
        error = 2 * np.sqrt(covariance[0, 0])
        print(f"  from block to block it grows by {fit[0]:+.2%} ± {error:.2%} of that")


def main() -> None:
    parser = ArgumentParser(description="One large volume, block by block.")
    parser.add_argument("--planes", type=int, default=300)
    parser.add_argument("--size", type=int, default=1024, help="pixels a side, a multiple of 64")
    parser.add_argument("--block", type=int, help="planes of a block; by default as in batches")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--points-per-side", type=int, default=16)
    arguments = parser.parse_args()
    settings = BatchSettings(
        device="cpu", points_per_side=arguments.points_per_side, smallest=30, axis="z"
    )
    with TemporaryDirectory() as folder:
        volume = Path(folder, "volume.ome.zarr")
        write_volume(volume, arguments.planes, arguments.size)
        if arguments.block:
            blocks.BLOCK = arguments.block * arguments.size**2
        batch = Batch(volume, Path(folder, "labels"), settings)
        done: list[blocks.BlockDone] = []
        with batch.client(arguments.workers) as client:
            # every worker loads the model; what is counted from here on is the volume
            client.run(make_ready, settings, identify_model(settings.model))
            workers = list(client.run(os.getpid).values())
            memory = Memory([os.getpid(), *workers])
            memory.start()
            start, used = perf_counter(), [processor_seconds(workers)]
            for step in batch.run(client):
                if isinstance(step, blocks.BlockDone):
                    done.append(step)
                    searched = perf_counter()
                    used.append(processor_seconds(workers))
                    print(
                        f"planes {step.first} to {step.stop - 1}: {step.seconds:.1f} s, "
                        f"{(step.stop - step.first) / step.seconds:.2f} planes/s, "
                        f"{used[-1] - used[-2]:.1f} s of processor time by all workers meanwhile",
                        flush=True,
                    )
            end = perf_counter()
    [report] = batch.reports
    if report.status != "done":
        raise SystemExit(report.message)
    if done:
        print(f"linked and written in {end - searched:.1f} s")
        planes = np.array([block.stop - block.first for block in done])
        report_cost("seconds", np.array([block.seconds for block in done]) / planes)
        report_cost("seconds of processor time", np.diff(used) / planes)
    above = memory.peak - sum(memory.first)
    megabytes = above / 1e6, memory.peak / 1e6, memory.largest / 1e6
    print(
        "memory: {:.0f} MB above the loaded models, {:.0f} MB in all, {:.0f} MB at most in one "
        "process".format(*megabytes)
    )
    there = (arguments.size // APART) ** 2 * -(-arguments.planes // APART)
    print(
        f"{arguments.planes} planes in {end - start:.1f} s, {report.objects} objects "
        f"({there} balls, the last of them perhaps not whole)"
    )


if __name__ == "__main__":
    main()
