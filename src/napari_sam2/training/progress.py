"""Lines and curves of a run: what was reached, and how long it still takes."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.training.config import Stage

EVERY = 50  # steps


class Progress:
    """Averages the figures of some steps, prints them and adds them to ``curves.csv``.

    Parameters
    ----------
    stage : Stage
        What is run.
    first : int
        Steps that are done already.
    later : int
        Steps of the stages that follow.
    path : Path
        The file: stage, step, name and value of each figure.
    """

    def __init__(self, stage: Stage, first: int, later: int, path: Path) -> None:
        self.stage, self.first, self.later, self.path = stage, first, later, path
        self.every = max(1, min(EVERY, stage.steps // 10))
        self.started = time.monotonic()
        self.figures: dict[str, list[float]] = {}

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Take the figures of a step; ``step`` are done now."""
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)
        if step % self.every == 0 or step == self.stage.steps:
            self._report(step)

    def _report(self, step: int) -> None:
        means = {name: sum(each) / len(each) for name, each in sorted(self.figures.items())}
        self.figures = {}
        pace = (time.monotonic() - self.started) / max(1, step - self.first)
        text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        left = duration(pace * (self.stage.steps - step))
        after = f" ({self.later} steps of later stages follow)" if self.later else ""
        print(
            f"{self.stage.name} {step}/{self.stage.steps}  {text}  {pace:.2f} s/step  "
            f"{left} left{after}",
            flush=True,
        )
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["stage", "step", "figure", "value"])
            for name, value in means.items():
                writer.writerow([self.stage.name, step, name, f"{value:.5f}"])


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
