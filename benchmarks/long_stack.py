"""What a long stack costs: until the first mask, in a pass, and in a pass after a correction.

    python -m benchmarks.long_stack [--model nano] [--frames 1000] [--side 512] [--pass 50]

writes a stack of drifting discs as zarr, a chunk a plane, and counts the planes read, the encoder
calls and the seconds of each step.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser
from contextlib import contextmanager
from typing import TYPE_CHECKING

import zarr
from benchmarks.stack_memory import Discs

from napari_sam2 import PointPrompt, VideoPredictor, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator


class Counted:
    """A stack that counts how many planes are read."""

    def __init__(self, stack: zarr.Array) -> None:
        self.stack, self.shape, self.dtype = stack, stack.shape, stack.dtype
        self.read = 0

    def __getitem__(self, index):
        self.read += 1
        return self.stack[index]


def main() -> None:
    parser = ArgumentParser(description="What a long stack costs.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--pass", type=int, default=50, dest="length", help="frames of a pass")
    arguments = parser.parse_args()
    model = load_model(arguments.model, "cpu", image_size=arguments.image_size)
    encoded = 0
    encode_image = model.network.encode_image

    def counted(image):
        nonlocal encoded
        encoded += 1
        return encode_image(image)

    model.network.encode_image = counted
    discs = Discs(arguments.frames, 4, (arguments.side, arguments.side))
    with tempfile.TemporaryDirectory() as folder:
        written = zarr.create_array(
            f"{folder}/stack.zarr",
            shape=discs.shape,
            chunks=(1, *discs.plane),
            dtype=discs.dtype,
        )
        for frame in range(arguments.frames):
            written[frame] = discs[frame]
        stack = Counted(zarr.open_array(f"{folder}/stack.zarr", mode="r"))

        @contextmanager
        def measured(what: str) -> Iterator[None]:
            before, started = (stack.read, encoded), time.perf_counter()
            yield
            seconds = time.perf_counter() - started
            read, calls = stack.read - before[0], encoded - before[1]
            print(f"| {what} | {read} | {calls} | {seconds:.2f} |", flush=True)

        print("| what | planes read | encoder calls | seconds |\n|---|---:|---:|---:|")
        start = arguments.frames // 2
        ends = {"start": start, "stop": start + arguments.length - 1}
        with measured("first mask"):
            video = VideoPredictor(model, stack, store=None)
            video.add_prompts(1, start, [PointPrompt(discs.centre(0, start))])
            video.result(start).labels()
        for index in range(1, discs.objects):
            video.add_prompts(index + 1, start, [PointPrompt(discs.centre(index, start))])
        with measured(f"pass of {arguments.length} planes, {discs.objects} objects"):
            list(video.propagate("forward", **ends))
        late = start + arguments.length // 2
        with measured("correction of one object halfway"):
            y, x = discs.centre(0, late)
            video.add_prompts(1, late, [PointPrompt((y, x)), PointPrompt((y + 2, x))])
        with measured("the pass after it"):
            list(video.propagate("forward", **ends))


if __name__ == "__main__":
    main()
