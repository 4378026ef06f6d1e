"""Draw what `benchmarks.compare` and `benchmarks.stack_memory` wrote; needs matplotlib.

    python benchmarks/plots.py

reads the CSV files in benchmarks/results and writes pictures beside them.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

RESULTS = Path(__file__).parent / "results"
OURS = "napari-sam2"
COLOURS = {OURS: "#1b7837", "sam2": "#762a83", "transformers": "#af8dc3"}
# multiplications of tiny at 1024 px with the savings of this project, 1e9, and the rate of
# bfloat16 products measured on the machine; README.md says where they are from
ENCODER, FIRST, FURTHER, OTHER, RATE = 143, 208, 198, 8, 935


def rows(name: str) -> list[dict[str, str]]:
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def draw_tracking() -> None:
    """Seconds a frame against the number of objects."""
    seconds: dict[str, dict[int, float]] = {}
    for row in rows("tiny_bfloat16_cpu.csv"):
        if found := re.search(r"track (\d+)", row["what"]):
            objects, package = int(found[1]), row["package"].split(",")[0]
            seconds.setdefault(package, {})[objects] = float(row["theirs"])
            seconds.setdefault(OURS, {})[objects] = float(row["ours"])
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for package, known in seconds.items():
        objects = sorted(known)
        axes.loglog(objects, [known[n] for n in objects], "o-", c=COLOURS[package], label=package)
    objects = np.array(sorted(seconds[OURS]))
    limit = (ENCODER + FIRST + (objects - 1) * FURTHER + objects * OTHER) / RATE
    axes.loglog(objects, limit, "k:", label="products alone, at the machine's rate")
    axes.set(
        xlabel="objects",
        ylabel="seconds a frame",
        title="A frame of tiny, 1024 px, bfloat16, two cores",
    )
    axes.set_xticks(objects, [str(n) for n in objects])
    axes.set_yticks([1, 10, 100], ["1", "10", "100"])
    axes.minorticks_off()
    finish(figure, axes, "tracking.png")


def draw_memory() -> None:
    """Peak memory against the length of the stack."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    found = rows("stack_memory.csv")
    for package in dict.fromkeys(row["package"] for row in found):
        own = [row for row in found if row["package"] == package]
        name = OURS if package == "ours" else package
        frames = [int(row["frames"]) for row in own]
        axes.plot(
            frames, [int(row["bytes"]) / 1e9 for row in own], "o-", c=COLOURS[name], label=name
        )
    axes.set(xlabel="frames", ylabel="GB beyond the model", ylim=(0, None))
    axes.set_title("Peak memory, 16 objects, tiny at 256 px")
    finish(figure, axes, "stack_memory.png")


def finish(figure: plt.Figure, axes: plt.Axes, name: str) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(RESULTS / name, dpi=120)


if __name__ == "__main__":
    draw_tracking()
    draw_memory()
