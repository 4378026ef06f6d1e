"""How long the window stands still while the masks of a whole stack are changed at once.

    xvfb-run -a -s "-screen 0 1600x1200x24" .venv/bin/python benchmarks/window_edits.py

The masks of 8 objects on 300 planes of 512 x 512 come from no model, so that nothing else runs.
For each change: the longest stall of the event loop, and the time until the labels are complete.
Python's own search for garbage, 0.3 s in napari now and then whatever is done, is left out.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtTest import QTest
from window import Pulse, discs

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.results import FrameResult
from napari_sam2.plugin.widgets.dock import Sam2Widget
from napari_sam2.session.log import Run
from napari_sam2.session.pass_request import WHOLE_STACK
from napari_sam2.session.values import ModelChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RADIUS = 22


def results(frames: int, places: list[tuple[int, int]]) -> Iterator[FrameResult]:
    """Discs at the same places on every frame, drifting a little."""
    rows, columns = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disc = (RADIUS - np.hypot(rows, columns)).astype(np.float16)
    count = len(places)
    for frame in range(frames):
        corners = [(row - RADIUS + frame // 20 % 8, column - RADIUS) for row, column in places]
        yield FrameResult(
            frame=frame,
            shape=(0, 0),
            object_ids=tuple(range(1, count + 1)),
            crops=tuple(MaskCrop(disc, corner) for corner in corners),
            scores=np.full(count, 0.9, np.float32),
            present=np.ones(count, bool),
        )


def propagate(dock: Sam2Widget, places: list[tuple[int, int]]) -> None:
    """Put the masks of a pass into the session."""
    controller = dock.controller
    geometry, session = controller.workspace.geometry(), controller.session
    assert geometry is not None
    assert controller.workspace.image is not None
    controller.workspace.targets.make(controller.workspace.image)
    for number, place in enumerate(places, start=1):
        session.set_prompts(geometry.key, number, 0, [PointPrompt(place)])
    controller.prompting.draw(geometry.key.image)
    controller.prompting.record_drawings()
    last = geometry.frame_count - 1
    session.begin_run(Run(geometry.key, ModelChoice(), (0.0, 255.0), (0, last), WHOLE_STACK))
    for result in results(geometry.frame_count, places):
        session.add_result(result)
        QTest.qWait(1)
    session.end_run("done", None)


def save(dock: Sam2Widget, folder: Path | str) -> None:
    """Save the session, and wait until it is there."""
    dock.controller.files.save_as(str(folder))
    while not os.path.exists(os.path.join(folder, "session.json")):
        QTest.qWait(20)


def main() -> None:
    """Measure, and print a line for each change."""
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--objects", type=int, default=8)
    asked = parser.parse_args()

    os.environ["NAPARI_SAM2_SESSIONS"] = tempfile.mkdtemp()
    viewer = napari.Viewer(show=True)
    data, places = discs(asked.frames, asked.side, asked.objects)
    viewer.add_image(data, axis_labels=("z", "y", "x"))
    dock = Sam2Widget(viewer)
    viewer.window.add_dock_widget(dock, name="SAM 2")
    controller = dock.controller
    while controller.workspace.prompts.points is None:
        QTest.qWait(1)
    viewer.dims.set_point(0, asked.frames // 2)
    propagate(dock, places)
    other = viewer.add_labels(np.zeros(data.shape, np.uint16), name="other")
    folder = os.path.join(tempfile.mkdtemp(), "session")
    save(dock, folder)
    QTest.qWait(2000)
    gc.freeze()
    pulse = Pulse()

    def measure(what: str, change: Callable[[], object]) -> None:
        QTest.qWait(1500)
        pulse.begin()
        started = time.perf_counter()
        change()
        QTest.qWait(1)
        while not controller.session.objects or controller.is_display_behind:
            QTest.qWait(1)
        seconds = time.perf_counter() - started
        QTest.qWait(1500)  # what follows, such as saving, counts as a stall, too
        print(f"{what}: stall {1000 * pulse.longest:.0f} ms, labels complete after "
              f"{1000 * seconds:.0f} ms", flush=True)  # fmt: skip

    measure("hide an object", lambda: controller.objects.show(1, False))
    measure("show it", lambda: controller.objects.show(1, True))
    measure("undo the pass", lambda: (controller.undo(), controller.undo(), controller.undo()))
    measure("redo it", controller.redo)
    measure("labels of others may be covered", lambda: controller.set_protect(False))
    measure("are protected", lambda: controller.set_protect(True))
    measure("another target", lambda: controller.choose_target(other))
    measure("merge two objects", lambda: controller.objects.merge([1, 2]))
    measure("delete one", lambda: controller.objects.delete([3]))
    while controller.session.undo_name:
        controller.session.undo()
    measure("open a session", lambda: controller.files.open(folder))
    viewer.close()


if __name__ == "__main__":
    main()
