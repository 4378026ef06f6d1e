"""Speed beside the published packages: the same weights, frames and clicks, outputs compared.

    make parity ARGS=--collect-only        # once, for the environment with the packages
    .venv-parity/bin/python -m benchmarks.compare [--objects 1 4] [--repeats 3] [--output FILE]

Each repeat times ours and theirs one after the other, so that a machine whose speed drifts spoils
neither; what is reported is the median of each and of the ratios of the pairs. On CUDA a few frames
go before that are not timed, and the table has a limit: the time that the counted products of the
networks take at the rate of one large product of matrices.
"""

from __future__ import annotations

import csv
import signal
import time
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from benchmarks.rivals import DEVICE, FRAMES, FULL, MOST, Ours, Rival, pairs, sync

from napari_sam2.model.config import HIERA

if TYPE_CHECKING:
    from collections.abc import Callable


ALONE = {"encode": "encode one image", "click": "answer a click on an encoded image"}
CUDA = DEVICE.type == "cuda"
UNTIMED = 4 if CUDA else 0  # frames; by then ours has its graphs, and both have chosen kernels

# Products of sam2.1_tiny at 1024 px as this project does them, in billions: of an image, of an
# object on a frame (memory attention, memory encoder, decoder), and what objects share (the first
# self-attention).
IMAGE, OBJECT, SHARED = 143.0, 208.0 + 5.8 + 1.8, 9.7


def timed(work: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    sync()
    started = time.perf_counter()
    found = work(*arguments)
    sync()
    return time.perf_counter() - started, found


@dataclass(frozen=True)
class Compared:
    """One line of the table; in seconds, medians."""

    what: str
    package: str
    theirs: float
    ours: float
    ratio: float
    lowest: float
    highest: float
    difference: float
    limit: float

    @classmethod
    def of(
        cls,
        what: str,
        rival: Rival,
        times: list[tuple[float, float]],
        difference: float = 0.0,
        limit: float = 0.0,
    ) -> Compared:
        """Of pairs of times, ours first."""
        own, their = np.array(times).T
        ratios = their / own
        middle = [float(np.median(each)) for each in (their, own, ratios)]
        return cls(what, rival.name, *middle, ratios.min(), ratios.max(), difference, limit)

    def line(self) -> str:
        """In Markdown."""
        cells = (
            self.what,
            self.package,
            f"{self.theirs:.3g}",
            f"{self.ours:.3g}",
            f"{self.ratio:.2f}",
            f"{self.lowest:.2f} to {self.highest:.2f}",
            f"{self.difference:.1e}" if self.difference else "",
            f"{self.limit:.3g}" if self.limit else "",
        )
        return f"| {' | '.join(cells)} |"


def alone(what: str, ours: Ours, theirs: Rival, repeats: int) -> Compared:
    """What needs no preparation: a method of both."""
    own, their = getattr(ours, what), getattr(theirs, what)
    for _ in range(1 + UNTIMED):
        own(), their()
    times = [(timed(own)[0], timed(their)[0]) for _ in range(repeats)]
    limit = least_time(ours, IMAGE) if what == "encode" else 0.0
    return Compared.of(ALONE[what], theirs, times, limit=limit)


def encoding(ours: Ours, theirs: Rival, images: int, repeats: int) -> Compared:
    """Images in one call; times are of one image."""
    for _ in range(1 + UNTIMED):
        ours.encode_batch(images), theirs.encode_batch(images)
    times = []
    for _ in range(repeats):
        own, their = (timed(one.encode_batch, images)[0] / images for one in (ours, theirs))
        times.append((own, their))
    what = f"encode {images} images in one call, each"
    return Compared.of(what, theirs, times, limit=least_time(ours, IMAGE))


def tracking(ours: Ours, theirs: Rival, objects: int, repeats: int) -> Compared:
    ours.prepare(objects)
    theirs.prepare(objects)
    times, difference = [], 0.0
    for frame in range(FULL + 1, FULL + 1 + UNTIMED + repeats):
        (own_time, own), (their_time, their) = (timed(one.track, frame) for one in (ours, theirs))
        times.append((own_time, their_time))
        difference = max(difference, float(np.abs(own - their).max()))
    what = f"encode a frame and track {objects} object{'s' * (objects > 1)}"
    products = IMAGE + objects * OBJECT - (objects - 1) * SHARED
    return Compared.of(what, theirs, times[UNTIMED:], difference, least_time(ours, products))


@cache
def product_rate(half: bool) -> float:
    """Billions of multiplications a second in a product of large matrices."""
    side = 8192
    first = torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16 if half else torch.float32)
    first @ first
    return side**3 / 1e9 / min(timed(torch.matmul, first, first)[0] for _ in range(5))


def least_time(ours: Ours, products: float) -> float:
    """Seconds that so many billions of products take; 0 where they were not counted."""
    config = ours.model.config
    counted = config.hiera == HIERA["tiny"] and config.image_size == 1024
    return products / product_rate(ours.half) if counted else 0.0


def compile_within(theirs: Rival, limit: int) -> bool:
    """Let a package compile itself, and say how long it took; False where it takes longer."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done within {limit} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    started = time.perf_counter()
    try:
        theirs.prepare(1)
        for frame in range(FULL + 1, FULL + 1 + UNTIMED):
            theirs.track(frame)
    except Exception as error:  # a compiler wraps what stops it in errors of its own
        print(f"{theirs.name}: left out, {str(error).splitlines()[0]}", flush=True)
        return False
    finally:
        signal.alarm(0)
    print(f"{theirs.name}: compiled in {time.perf_counter() - started:.0f} s", flush=True)
    return True


def main() -> None:
    parser = ArgumentParser(description="Speed beside the published packages.")
    parser.add_argument("--variant", default="sam2.1_tiny")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=8 if CUDA else 3)
    parser.add_argument("--images", type=int, nargs="*", default=[4, MOST] if CUDA else [])
    parser.add_argument(
        "--packages",
        nargs="*",
        default=["sam2", "transformers"],
        help="sam2, sam2-compiled (CUDA only) or transformers",
    )
    parser.add_argument("--compile-limit", type=int, default=600, help="seconds")
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--output", type=Path, help="write the figures here, too, as CSV")
    arguments = parser.parse_args()
    if arguments.repeats + UNTIMED >= FRAMES - FULL:
        parser.error(f"--repeats must be less than {FRAMES - FULL - UNTIMED}")
    if "sam2-compiled" in arguments.packages and not CUDA:
        parser.error("sam2-compiled needs CUDA")
    print(
        f"{arguments.variant} at {arguments.image_size} px on {DEVICE.type}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"median of {arguments.repeats}\n\n"
        "| what | against | theirs, s | ours, s | times as fast | range | logits differ by "
        "| limit, s |\n|---|---|---:|---:|---:|---:|---:|---:|",
        flush=True,
    )
    found: list[Compared] = []
    compared = pairs(
        arguments.variant, arguments.image_size, arguments.packages, arguments.precisions
    )
    for ours, theirs in compared:
        if theirs.compiles and not compile_within(theirs, arguments.compile_limit):
            continue
        for what in ("encode", "click") if theirs.clicks else ("encode",):
            found.append(alone(what, ours, theirs, arguments.repeats))
            print(found[-1].line(), flush=True)
        for images in arguments.images if theirs.clicks or theirs.compiles else ():
            found.append(encoding(ours, theirs, images, arguments.repeats))
            print(found[-1].line(), flush=True)
        for objects in arguments.objects:
            found.append(tracking(ours, theirs, objects, arguments.repeats))
            print(found[-1].line(), flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="") as file:
            table = csv.DictWriter(file, [each.name for each in fields(Compared)])
            table.writeheader()
            table.writerows(map(asdict, found))


if __name__ == "__main__":
    main()
