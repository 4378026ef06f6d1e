"""Whether the window keeps answering: its longest stall, clicks, cancel, what a pass costs in it.

    xvfb-run -a -s "-screen 0 1600x1200x24" .venv/bin/python benchmarks/window.py

A stack of 100 planes of 512 x 512 is propagated with 8 objects by the bundled model, with the
slider at rest, in the window and without it, one after the other: the first time with planes to
encode, the second time with their features at hand.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtTest import QTest

from napari_sam2.session.engine import Engine
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.stack_source import StackSource
from napari_sam2.session.values import ModelChoice

if TYPE_CHECKING:
    from napari_sam2.plugin.widgets.dock import Sam2Widget

TICK_MS = 2


class Pulse:
    """Notes the longest time in which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def begin(self) -> None:
        """Forget what was."""
        self.longest, self._last = 0.0, time.perf_counter()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now


class Drawn(QObject):
    """Notes when a widget was drawn first."""

    at = 0.0

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Look at an event, and let it pass."""
        if event.type() == QEvent.Type.Paint and not self.at:
            self.at = time.perf_counter()
        return False


def discs(frames: int, side: int, objects: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Bright discs that drift over a noisy ground, and where they are on the middle plane."""
    random = np.random.default_rng(0)
    places = [(side * (1 + n // 4) // 3, side * (1 + n % 4) // 5) for n in range(objects)]
    rows, columns = np.ogrid[:side, :side]
    stack = random.normal(40, 8, (frames, side, side)).astype(np.float32)
    for frame in range(frames):
        drift = (frame - frames // 2) // 5
        for row, column in places:
            stack[frame][(rows - row - drift) ** 2 + (columns - column) ** 2 <= 22**2] += 120
    return stack.clip(0, 255).astype(np.uint8), places


def wait(dock: Sam2Widget) -> float:
    """Seconds until the model is done; the event loop runs meanwhile."""
    started = time.perf_counter()
    controller = dock.controller
    while controller.is_busy:
        QTest.qWait(2)
    return time.perf_counter() - started


class Headless:
    """The same work as a dock's, without a window.

    Parameters
    ----------
    dock : Sam2Widget
        Has the image and the prompts.
    """

    def __init__(self, dock: Sam2Widget) -> None:
        session, image = dock.controller.session, dock.controller.workspace.image
        (stack,) = session.stacks
        low, high = image.contrast_limits
        self.source = StackSource(stack, image.data, False, (float(low), float(high)))
        self.prompts, self.engine = session.prompts(stack), Engine()
        frames = {frame for _, frame in self.prompts}
        list(self.engine.run_frames(ModelChoice(), self.source, self.prompts, frames))
        self.start = self.engine.memory

    def propagate(self, request: PassRequest) -> float:
        """Seconds of a pass, from the prompts."""
        self.engine.memory = self.start
        started = time.perf_counter()
        for result in self.engine.propagate(
            ModelChoice(), self.source, self.prompts, request.direction
        ):
            del result
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--objects", type=int, default=8)
    asked = parser.parse_args()

    viewer = napari.Viewer(show=True)
    data, places = discs(asked.frames, asked.side, asked.objects)
    viewer.add_image(data, axis_labels=("z", "y", "x"))
    QTest.qWait(500)
    drawn = Drawn()
    started = time.perf_counter()
    # from the menu, so with all imports; it is drawn after this
    _, dock = viewer.window.add_plugin_dock_widget("napari-sam2", "Click and track")
    dock.model.installEventFilter(drawn)
    while "SAM 2 points" not in viewer.layers:
        QTest.qWait(1)
    print(f"opening the dock: {drawn.at - started:.2f} s until it is drawn, "
          f"{time.perf_counter() - started:.2f} s until it takes clicks, torch "
          f"{'imported' if 'torch' in sys.modules else 'not imported'}", flush=True)  # fmt: skip
    QTest.qWait(500)
    middle = asked.frames // 2
    viewer.dims.set_point(0, middle)
    points, pulse = viewer.layers["SAM 2 points"], Pulse()
    clicks, shown = [], []
    dock.controller.session.masks_changed.connect(lambda _: shown.append(time.perf_counter()))
    for number, place in enumerate(places, start=1):
        dock.controller.prompting.set_active(number, True)
        QTest.qWait(300)
        pulse.begin()
        started = time.perf_counter()
        points.add([middle, *place])
        wait(dock)
        clicks.append((shown[-1] - started, pulse.longest))
    first, others = clicks[0], clicks[1:]
    print(
        f"first click, model and plane included: {first[0]:.2f} s, stall {1000 * first[1]:.0f} ms"
    )
    taken = [1000 * each for each, _ in others]
    print(
        f"further clicks until the mask: {np.median(taken):.0f} ms (up to {max(taken):.0f}); "
        f"stall {1000 * max(stall for _, stall in others):.0f} ms"
    )
    request, alone = PassRequest("forward"), Headless(dock)
    for what in ("planes to encode", "features at hand"):
        pulse.begin()
        dock.controller.plane.propagate(request)
        seconds, stall = wait(dock), pulse.longest
        dock.controller.undo()
        wait(dock)
        without = alone.propagate(request)
        print(f"pass of {asked.frames - middle} planes, {what}: window {seconds:.1f} s, headless "
              f"{without:.1f} s, ratio {seconds / without:.2f}, stall {1000 * stall:.0f} ms",
              flush=True)  # fmt: skip

    frames: list[int] = []
    dock.controller.session.masks_changed.connect(lambda change: frames.append(change.frame))
    dock.controller.plane.propagate(request)
    while len(set(frames)) < 3:
        QTest.qWait(2)
    before, started = len(set(frames)), time.perf_counter()
    dock.controller.cancel()
    wait(dock)
    print(
        f"cancel: {time.perf_counter() - started:.2f} s, {len(set(frames)) - before} frame(s) more"
    )
    viewer.close()
    code = (
        "import time; t = time.perf_counter(); import napari_sam2; print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"import napari_sam2: {float(done.stdout):.3f} s")


if __name__ == "__main__":
    main()
