"""Peak memory of a propagation against the length of the stack.

    python -m benchmarks.stack_memory [--model nano] [--image-size 256] [--objects 16]
        [--budget 64] [--packages ours] [FRAMES ...]
    .venv-parity/bin/python -m benchmarks.stack_memory --model sam2.1_tiny --image-size 256 \\
        --packages ours sam2

each length in a process of its own: what the process held at its peak beyond what it held with the
model loaded. What loading itself needed for a moment does not count. The masks are consumed as they
come; the stack is generated plane by plane. The budget, in megabytes, is for encoded planes and
memories together, as `VideoPredictor` takes it. Encoded planes on disk go to a folder of the
process's own: what an earlier one had left there would not be encoded, which takes memory of its
own.
Beside the `sam2` package both have the same random weights, and compute in bfloat16 where that is
faster. That package is given all planes at once, as it wants them.
"""

from __future__ import annotations

import csv
import ctypes
import gc
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil

PLANE = (192, 192)
LENGTHS = (100, 300, 1000)


class Discs:
    """A stack of drifting discs that exists only plane by plane."""

    dtype = np.dtype(np.uint8)

    def __init__(self, frames: int, objects: int, plane: tuple[int, int] = PLANE) -> None:
        self.shape, self.plane = (frames, *plane), plane
        self.side = int(np.ceil(np.sqrt(objects)))
        self.objects = objects

    def centre(self, index: int, frame: int) -> tuple[float, float]:
        """Where a disc is, in pixels; it goes around in a small circle."""
        step = self.plane[0] / self.side
        row, column = divmod(index, self.side)
        turn = 2 * np.pi * (frame / 50 + index / 7)
        return (row + 0.5) * step + 3 * np.sin(turn), (column + 0.5) * step + 3 * np.cos(turn)

    def __getitem__(self, index):
        frame, *rest = index if isinstance(index, tuple) else (index,)
        rows, columns = np.mgrid[: self.plane[0], : self.plane[1]]
        plane = np.random.default_rng(frame).integers(0, 40, self.plane)
        for each in range(self.objects):
            y, x = self.centre(each, frame)
            plane[np.hypot(rows - y, columns - x) < self.plane[0] / self.side / 3] += 150
        return plane.astype(np.uint8)[tuple(rest)]


def held_bytes() -> int:
    """What this process holds now; the peak is counted from here, where the system can do that."""
    gc.collect()
    with suppress(OSError, AttributeError):  # only Linux has these
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed is held by nobody
        Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The most that this process has held, in bytes."""
    with suppress(OSError):
        status = dict(line.split(":") for line in Path("/proc/self/status").open())
        return int(status["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def ours(arguments: Namespace) -> int:
    """What the process held with the model loaded, after one propagation by this project."""
    import torch

    from napari_sam2 import PointPrompt, VideoPredictor, load_model
    from napari_sam2.inference.feature_store import FeatureStore

    model, size = arguments.model, arguments.image_size
    with tempfile.TemporaryDirectory() as folder:
        if model.startswith("sam2"):
            from tests.parity import published

            path = Path(folder) / "weights.pt"
            torch.save({"model": published.sam2(model, size).state_dict()}, path)
            model = path
        loaded = load_model(model, "cpu", image_size=size)
        before = held_bytes()
        stack = Discs(arguments.frames[0], arguments.objects)
        store = FeatureStore(Path(folder) / "encoded", loaded.device)
        budget = arguments.budget * 10**6
        video = VideoPredictor(loaded, stack, memory_budget=budget, store=store)
        for index in range(arguments.objects):
            video.add_prompts(index + 1, 0, [PointPrompt(stack.centre(index, 0))])
        for result in video.propagate("forward"):
            result.labels()
    return before


def sam2(arguments: Namespace) -> int:
    """The same by the sam2 package."""
    import torch
    from sam2 import sam2_video_predictor
    from tests.parity import published

    from napari_sam2.inference.device import choose_dtype, precision

    model = published.sam2(arguments.model, arguments.image_size)
    before = held_bytes()
    stack = Discs(arguments.frames[0], arguments.objects)
    images = torch.empty(arguments.frames[0], 3, arguments.image_size, arguments.image_size)
    for frame, image in enumerate(images):
        image.copy_(published.model_image(stack[frame], arguments.image_size)[0])
    sam2_video_predictor.load_video_frames = lambda **_: (images, *PLANE)
    sam2_video_predictor.tqdm = lambda frames, **_: frames
    cpu = torch.device("cpu")
    with precision(cpu, choose_dtype("auto", cpu)):
        state = model.init_state("")
        for index in range(arguments.objects):
            row, column = stack.centre(index, 0)
            model.add_new_points_or_box(state, 0, index + 1, points=[(column, row)], labels=[1])
        for _, _, logits in model.propagate_in_video(state, 0):
            (logits > 0).numpy()
    return before


def main() -> None:
    parser = ArgumentParser(description="Peak memory against the length of the stack.")
    parser.add_argument("frames", nargs="*", type=int, default=LENGTHS)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--objects", type=int, default=16)
    parser.add_argument("--budget", type=int, default=64)
    parser.add_argument("--packages", nargs="*", default=["ours"], choices=["ours", "sam2"])
    parser.add_argument("--output", type=Path, help="write the figures here, too, as CSV")
    parser.add_argument("--only", action="store_true", help="measure here, print the bytes alone")
    arguments = parser.parse_args()
    if arguments.only:
        before = {"ours": ours, "sam2": sam2}[arguments.packages[0]](arguments)
        print(peak_bytes() - before)
        return
    found = []
    for package in arguments.packages:
        for frames in arguments.frames:
            command = [sys.executable, "-m", "benchmarks.stack_memory", str(frames), "--only"]
            command += ["--packages", package, "--model", arguments.model]
            command += ["--objects", str(arguments.objects), "--budget", str(arguments.budget)]
            if arguments.image_size:
                command += ["--image-size", str(arguments.image_size)]
            started = time.monotonic()
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found.append((package, frames, int(done.stdout.split()[-1])))
            megabytes, seconds = found[-1][2] / 1e6, time.monotonic() - started
            print(f"{package}, {frames} frames: {megabytes:.0f} MB, {seconds:.0f} s", flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            csv.writer(file).writerows([("package", "frames", "bytes"), *found])


if __name__ == "__main__":
    main()
