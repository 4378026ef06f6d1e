"""Peak memory of a propagation against the length of the stack.

    python benchmarks/stack_memory.py [--model nano] [--image-size 256] [--objects 16]
        [--budget 64] [FRAMES ...]

each length in a process of its own: what the process needed at its peak beyond what it had with
the model loaded. The masks are consumed as they come; the stack is generated plane by plane. The
budget, in megabytes, is for encoded planes and memories together, as `VideoPredictor` takes it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from argparse import ArgumentParser

import numpy as np

PLANE = (192, 192)
LENGTHS = (100, 300, 1000)


class Discs:
    """A stack of drifting discs that exists only plane by plane."""

    dtype = np.dtype(np.uint8)

    def __init__(self, frames: int, objects: int) -> None:
        self.shape = (frames, *PLANE)
        self.side = int(np.ceil(np.sqrt(objects)))
        self.objects = objects

    def centre(self, index: int, frame: int) -> tuple[float, float]:
        """Where a disc is, in pixels; it goes around in a small circle."""
        step = PLANE[0] / self.side
        row, column = divmod(index, self.side)
        turn = 2 * np.pi * (frame / 50 + index / 7)
        return (row + 0.5) * step + 3 * np.sin(turn), (column + 0.5) * step + 3 * np.cos(turn)

    def __getitem__(self, index):
        frame, *rest = index if isinstance(index, tuple) else (index,)
        rows, columns = np.mgrid[: PLANE[0], : PLANE[1]]
        plane = np.random.default_rng(frame).integers(0, 40, PLANE)
        for each in range(self.objects):
            y, x = self.centre(each, frame)
            plane[np.hypot(rows - y, columns - x) < PLANE[0] / self.side / 3] += 150
        return plane.astype(np.uint8)[tuple(rest)]


def peak_bytes() -> int:
    """The most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(model: str, image_size: int | None, objects: int, budget: int, frames: int) -> int:
    """Bytes beyond the loaded model at the peak of one propagation."""
    from napari_sam2 import PointPrompt, VideoPredictor, load_model

    loaded = load_model(model, "cpu", image_size=image_size)
    before = peak_bytes()
    stack = Discs(frames, objects)
    video = VideoPredictor(loaded, stack, memory_budget=budget * 10**6)
    for index in range(objects):
        video.add_prompts(index + 1, 0, [PointPrompt(stack.centre(index, 0))])
    for result in video.propagate("forward"):
        result.labels()
    return peak_bytes() - before


def main() -> None:
    parser = ArgumentParser(description="Peak memory against the length of the stack.")
    parser.add_argument("frames", nargs="*", type=int, default=LENGTHS)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--objects", type=int, default=16)
    parser.add_argument("--budget", type=int, default=64)
    parser.add_argument("--only", action="store_true", help="measure here, print the bytes alone")
    arguments = parser.parse_args()
    settings = (arguments.model, arguments.image_size, arguments.objects, arguments.budget)
    if arguments.only:
        print(measure(*settings, arguments.frames[0]))
        return
    found = {}
    for frames in arguments.frames:
        command = [sys.executable, __file__, str(frames), "--only", "--model", arguments.model]
        command += ["--objects", str(arguments.objects), "--budget", str(arguments.budget)]
        if arguments.image_size:
            command += ["--image-size", str(arguments.image_size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[frames] = int(done.stdout)
        ratio = found[frames] / found[arguments.frames[0]]
        print(f"{frames} frames: {found[frames] / 1e6:.0f} MB, {ratio:.2f} of the shortest")


if __name__ == "__main__":
    main()
