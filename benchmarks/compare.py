"""Speed beside the published packages: the same weights, frames and clicks, outputs compared.

    make parity ARGS=--collect-only        # once, for the environment with the packages
    .venv-parity/bin/python -m benchmarks.compare [--objects 1 4] [--repeats 3] [--output FILE]

Each repeat times ours and theirs one after the other, so that a machine whose speed drifts spoils
neither; what is reported is the median of each and of the ratios of the pairs.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from benchmarks.rivals import DEVICE, FULL, Ours, Rival, pairs, sync

if TYPE_CHECKING:
    from collections.abc import Callable


def timed(work: Callable[..., Any], *arguments: object) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    sync()
    started = time.perf_counter()
    found = work(*arguments)
    sync()
    return time.perf_counter() - started, found


def row(what: str, rival: Rival, times: list[tuple[float, float]], difference: str) -> str:
    """A line of the table; times are pairs, ours first."""
    ours, theirs = np.array(times).T
    ratios = theirs / ours
    cells = (
        what,
        rival.name,
        f"{np.median(theirs):.2f}",
        f"{np.median(ours):.2f}",
        f"{np.median(ratios):.2f}",
        f"{ratios.min():.2f} to {ratios.max():.2f}",
        difference,
    )
    return f"| {' | '.join(cells)} |"


def encoding(ours: Ours, theirs: Rival, repeats: int) -> str:
    ours.encode(), theirs.encode()
    times = [(timed(ours.encode)[0], timed(theirs.encode)[0]) for _ in range(repeats)]
    return row("encode one image", theirs, times, "")


def tracking(ours: Ours, theirs: Rival, objects: int, repeats: int) -> str:
    ours.prepare(objects)
    theirs.prepare(objects)
    times, difference = [], 0.0
    for frame in range(FULL + 1, FULL + 1 + repeats):
        (own_time, own), (their_time, their) = (timed(one.track, frame) for one in (ours, theirs))
        times.append((own_time, their_time))
        difference = max(difference, float(np.abs(own - their).max()))
    what = f"encode a frame and track {objects} object{'s' * (objects > 1)}"
    return row(what, theirs, times, f"{difference:.1e}")


def main() -> None:
    parser = ArgumentParser(description="Speed beside the published packages.")
    parser.add_argument("--variant", default="sam2.1_tiny")
    parser.add_argument("--image-size", type=int, default=1024)
    parser.add_argument("--objects", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--packages", nargs="*", default=["sam2", "transformers"])
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--output", type=Path, help="write the table here, too")
    arguments = parser.parse_args()
    lines = [
        f"{arguments.variant} at {arguments.image_size} px on {DEVICE.type}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"median of {arguments.repeats}",
        "",
        "| what | against | theirs, s | ours, s | times as fast | range | logits differ by |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    print("\n".join(lines), flush=True)
    compared = pairs(
        arguments.variant, arguments.image_size, arguments.packages, arguments.precisions
    )
    for ours, theirs in compared:
        lines.append(encoding(ours, theirs, arguments.repeats))
        print(lines[-1], flush=True)
        for objects in arguments.objects:
            lines.append(tracking(ours, theirs, objects, arguments.repeats))
            print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
