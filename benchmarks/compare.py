"""Speed beside the published packages: the same weights, frames and clicks, outputs compared.

    make parity ARGS=--collect-only        # once, for the environment with the packages
    .venv-parity/bin/python -m benchmarks.compare [--objects 1 4] [--repeats 3] [--output FILE]

Each repeat times ours and theirs one after the other, so that a machine whose speed drifts spoils
neither; what is reported is the median of each and of the ratios of the pairs.
"""

from __future__ import annotations

import csv
import time
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from benchmarks.rivals import DEVICE, FULL, Ours, Rival, pairs, sync

if TYPE_CHECKING:
    from collections.abc import Callable


ALONE = {"encode": "encode one image", "click": "answer a click on an encoded image"}


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

    @classmethod
    def of(
        cls, what: str, rival: Rival, times: list[tuple[float, float]], difference: float = 0.0
    ) -> Compared:
        """Of pairs of times, ours first."""
        own, their = np.array(times).T
        ratios = their / own
        middle = [float(np.median(each)) for each in (their, own, ratios)]
        return cls(what, rival.name, *middle, ratios.min(), ratios.max(), difference)

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
        )
        return f"| {' | '.join(cells)} |"


def alone(what: str, ours: Rival, theirs: Rival, repeats: int) -> Compared:
    """What needs no preparation: a method of both."""
    own, their = getattr(ours, what), getattr(theirs, what)
    own(), their()
    times = [(timed(own)[0], timed(their)[0]) for _ in range(repeats)]
    return Compared.of(ALONE[what], theirs, times)


def tracking(ours: Ours, theirs: Rival, objects: int, repeats: int) -> Compared:
    ours.prepare(objects)
    theirs.prepare(objects)
    times, difference = [], 0.0
    for frame in range(FULL + 1, FULL + 1 + repeats):
        (own_time, own), (their_time, their) = (timed(one.track, frame) for one in (ours, theirs))
        times.append((own_time, their_time))
        difference = max(difference, float(np.abs(own - their).max()))
    what = f"encode a frame and track {objects} object{'s' * (objects > 1)}"
    return Compared.of(what, theirs, times, difference)


def main() -> None:
    parser = ArgumentParser(description="Speed beside the published packages.")
    parser.add_argument("--variant", default="sam2.1_tiny")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--packages", nargs="*", default=["sam2", "transformers"])
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--output", type=Path, help="write the figures here, too, as CSV")
    arguments = parser.parse_args()
    print(
        f"{arguments.variant} at {arguments.image_size} px on {DEVICE.type}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"median of {arguments.repeats}\n\n"
        "| what | against | theirs, s | ours, s | times as fast | range | logits differ by |\n"
        "|---|---|---:|---:|---:|---:|---:|",
        flush=True,
    )
    found: list[Compared] = []
    compared = pairs(
        arguments.variant, arguments.image_size, arguments.packages, arguments.precisions
    )
    for ours, theirs in compared:
        for what in ("encode", "click") if theirs.clicks else ("encode",):
            found.append(alone(what, ours, theirs, arguments.repeats))
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
