"""A real viewer with the dock, around a predictor that answers at once and always the same."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from napari.utils.notifications import notification_manager
from skimage.measure import label

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import bounding_box
from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt, expand_prompts
from napari_sam2.inference.results import FrameResult
from napari_sam2.plugin.widgets.dock import Sam2Widget
from napari_sam2.session.engine import Engine


@pytest.fixture(autouse=True)
def _search_new_objects_alone():
    """Leave what stays after a test, as modules do, out of napari's searches for garbage."""
    yield
    gc.collect()
    gc.freeze()


class ThresholdPredictor:
    """Takes the bright spot under a point or in a box, and follows it from plane to plane.

    A mask is taken as it is. The candidates are the whole, its upper and its lower half, with
    scores of 1, 0.9 and 0.8.

    Parameters
    ----------
    frames : FrameSource
        The stack.
    gate : threading.Semaphore, optional
        Each propagated frame waits for one release, so that a test can act in between.
    """

    def __init__(self, frames, gate=None):
        self.frames = frames
        self.calls = []
        self._gate = gate
        self._prompts = {}
        self._masks = {}
        self._scores = {}

    def add_prompts(self, object_id, frame, prompts):
        self.calls.append(("add", object_id, frame, tuple(prompts)))
        self._prompts[object_id, frame] = prompts
        self._scores.pop((object_id, frame), None)
        self._masks.setdefault(frame, {})[object_id] = self._segment(frame, prompts)
        return self._result(frame)

    def choose_candidate(self, object_id, frame, index):
        self.calls.append(("choose", object_id, frame, index))
        mask = self._segment(frame, self._prompts[object_id, frame])
        rows = np.flatnonzero(mask.any(axis=1))
        middle = rows[len(rows) // 2] if index else 0
        if index:
            mask[slice(middle, None) if index == 1 else slice(None, middle)] = False
        self._masks[frame][object_id] = mask
        self._scores[object_id, frame] = 1 - 0.1 * (index or 0)
        return self._result(frame)

    def remove_prompts(self, object_id, frame, keep_mask):
        self.calls.append(("remove", object_id, frame))
        del self._prompts[object_id, frame]
        del self._masks[frame][object_id]

    def remove_object(self, object_id):
        self.calls.append(("remove object", object_id))
        self._prompts = {key: held for key, held in self._prompts.items() if key[0] != object_id}
        for masks in self._masks.values():
            masks.pop(object_id, None)

    def snapshot(self):
        masks = {frame: dict(found) for frame, found in self._masks.items()}
        return dict(self._prompts), masks, dict(self._scores)

    def restore(self, snapshot):
        prompts, masks, scores = snapshot
        self._prompts, self._scores = dict(prompts), dict(scores)
        self._masks = {frame: dict(found) for frame, found in masks.items()}

    def propagate(
        self, direction="both", start=None, stop=None, stop_when_absent=None, object_ids=None
    ):
        self.calls.append(("propagate", direction, start, stop, stop_when_absent))
        if not self._prompts:
            raise ValueError("There is no prompt. Add a point, a box or a mask first.")
        prompted = [frame for _, frame in self._prompts]
        passes = {"forward": [1], "backward": [-1], "both": [1, -1]}[direction]
        for step in passes:
            first = min(prompted) if step > 0 else max(prompted)
            last = (len(self.frames) - 1 if step > 0 else 0) if stop is None else stop
            lost = False
            for frame in range(first, last + step, step):
                if lost and frame not in prompted:
                    continue
                if self._gate is not None:
                    self._gate.acquire()
                known = {object_id for object_id, _ in self._prompts}
                for object_id in known if object_ids is None else object_ids:
                    self._follow(object_id, frame, step)
                yield self._result(frame)
                # at once, whatever the number
                lost = bool(stop_when_absent) and not any(
                    mask.any() for mask in self._masks[frame].values()
                )

    def _plane(self, frame):
        plane = np.nan_to_num(np.asarray(self.frames.plane(frame), dtype=float))
        return plane.mean(axis=-1) if plane.ndim == 3 else plane

    def _spots(self, frame):
        plane = self._plane(frame)
        return label(plane > (plane.min() + plane.max()) / 2)

    def _segment(self, frame, prompts):
        spots = self._spots(frame)
        mask = np.zeros(spots.shape, dtype=bool)
        for prompt in expand_prompts(prompts, spots.shape):
            if isinstance(prompt, BoxPrompt):
                low_row, low_column, high_row, high_column = (round(v) for v in prompt.box)
                inside = np.zeros_like(mask)
                inside[low_row : high_row + 1, low_column : high_column + 1] = True
                mask |= inside & (spots > 0)
            elif isinstance(prompt, PointPrompt):
                spot = spots == spots[tuple(round(value) for value in prompt.position)]
                mask = mask | spot if prompt.positive else mask & ~spot
            elif isinstance(prompt, MaskPrompt):
                mask |= prompt.mask
        return mask

    def _follow(self, object_id, frame, step):
        masks = self._masks.setdefault(frame, {})
        if (object_id, frame) in self._prompts or object_id in masks:
            return
        before = self._masks.get(frame - step, {}).get(object_id)
        if before is not None:
            spots = self._spots(frame)
            touched = np.unique(spots[before & (spots > 0)])
            masks[object_id] = np.isin(spots, touched) & (spots > 0)

    def _result(self, frame):
        masks = self._masks.get(frame, {})
        crops = []
        for mask in masks.values():
            box = bounding_box(mask)
            if box is None:
                crops.append(MaskCrop(np.zeros((0, 0), np.float16), (0, 0)))
            else:
                logits = np.where(mask[box], 8, -8).astype(np.float16)
                crops.append(MaskCrop(logits, (box[0].start, box[1].start)))
        present = np.array([mask.any() for mask in masks.values()], dtype=bool)
        return FrameResult(
            frame=frame,
            shape=self.frames.plane_shape,
            object_ids=tuple(masks),
            crops=tuple(crops),
            scores=np.array([self._scores.get((i, frame), 1) for i in masks], np.float32),
            present=present,
        )


class FakeEngine(Engine):
    """An engine around `ThresholdPredictor` that notes what it was asked for.

    Attributes
    ----------
    loaded : list of ModelChoice
        The models that were loaded, in order.
    predictors : list of ThresholdPredictor
        The predictors that were made, in order.
    threads : set of int
        The threads that models were loaded and predictors made in.
    gate : threading.Semaphore or None
        See `ThresholdPredictor`.
    """

    def __init__(self):
        super().__init__(self._fake_load, self._fake_predictor)
        self.loaded = []
        self.model_note = ""
        self.predictors = []
        self.limits = []
        self.budgets = []
        self.threads = set()
        self.gate = None

    def _fake_load(self, choice):
        self.threads.add(threading.get_ident())
        self.loaded.append(choice)
        return SimpleNamespace(note=self.model_note)

    def _fake_predictor(self, model, source, memory_budget):
        self.threads.add(threading.get_ident())
        self.limits.append(source.contrast_limits)
        self.budgets.append(memory_budget)
        self.predictors.append(ThresholdPredictor(source.frames(), self.gate))
        return self.predictors[-1]


def discs(frames=6, size=64):
    """Two bright discs on a dark ground, drifting from plane to plane; uint8 (Z, Y, X)."""
    rows, columns = np.mgrid[:size, :size]
    stack = np.zeros((frames, size, size), dtype=np.uint8)
    for frame in range(frames):
        for row, column in ((20, 18 + frame), (44, 46 - frame)):
            stack[frame][(rows - row) ** 2 + (columns - column) ** 2 <= 64] = 200
    return stack


def sizes(labels, object_id):
    """Pixels of an object on each plane."""
    return [int((plane == object_id).sum()) for plane in labels]


@pytest.fixture(autouse=True)
def sessions(monkeypatch, tmp_path):
    """Folder that sessions are saved in."""
    monkeypatch.setenv("NAPARI_SAM2_SESSIONS", str(tmp_path / "sessions"))
    return tmp_path / "sessions"


@pytest.fixture
def stack():
    return discs()


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def messages(monkeypatch):
    """The notifications of a test, as (severity, message)."""
    found = []
    monkeypatch.setattr(
        notification_manager,
        "dispatch",
        lambda notification: found.append((str(notification.severity), notification.message)),
    )
    return found


@pytest.fixture
def open_dock(make_napari_viewer, qtbot, engine, messages, monkeypatch):
    """Open a real viewer with the dock; gives viewer, dock, controller and helpers."""
    docks = []
    monkeypatch.setattr("napari_sam2.plugin.controller._SHOWN_MS", 0)

    def open_with(*images, show=False, engine=engine, **arguments):
        viewer = make_napari_viewer(show=show)
        for image in images:
            viewer.add_image(image, **arguments)
        # napari opens a stack in its middle.
        viewer.dims.current_step = (0,) * viewer.dims.ndim
        dock = Sam2Widget(PublicOnlyProxy(viewer), engine)  # as napari does
        viewer.window.add_dock_widget(dock, name="SAM 2")
        docks.append(dock)
        if images:
            # the dock is shown before its layers are made
            qtbot.waitUntil(lambda: dock.controller.workspace.prompts.points is not None)
            dock.controller.workspace.prompts.make("shapes")
        if show:
            viewer.window._qt_window.resize(1300, 900)
            qtbot.wait(100)
            viewer.reset_view()

        def wait_idle(timeout=5000):
            controller = dock.controller
            qtbot.waitUntil(
                lambda: not controller.is_busy,
                timeout=timeout,
            )
            controller.finish_display()

        def labels():
            dock.controller.finish_display()
            return np.asarray(viewer.layers["SAM 2 labels"].data)

        return SimpleNamespace(
            viewer=viewer,
            dock=dock,
            controller=dock.controller,
            workspace=dock.controller.workspace,
            session=dock.controller.session,
            wait_idle=wait_idle,
            labels=labels,
            points=viewer.layers["SAM 2 points"] if images else None,
            shapes=viewer.layers["SAM 2 shapes"] if images else None,
        )

    yield open_with
    for dock in docks:
        qtbot.waitUntil(lambda dock=dock: not dock.controller.runs.is_busy, timeout=5000)


@pytest.fixture
def propagating(open_dock, stack, qtbot, engine):
    """Open a dock that has propagated to frame 1 and waits there for `FakeEngine.gate`."""

    def begin():
        engine.gate = threading.Semaphore(0)
        opened = open_dock(stack)
        opened.points.add([0, 20, 18])
        opened.wait_idle()
        opened.controller.plane.propagate()
        engine.gate.release(2)
        qtbot.waitUntil(lambda: (opened.labels()[1] == 1).any(), timeout=3000)
        return opened

    return begin


@pytest.fixture
def two(open_dock, stack, qtbot, engine):
    """Two images; the second, in use, has object 1 and is propagated until the gate is opened."""
    opened = open_dock(stack[:, ::-1], stack)
    opened.other, opened.image = (opened.viewer.layers[name] for name in ("image", "image [1]"))
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    qtbot.wait(250)
    opened.wait_idle()

    def choose(image):
        opened.dock.image.image.chosen.emit(image)
        qtbot.wait(250)

    def propagate():
        engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
        opened.controller.plane.propagate()

    def finish():
        engine.gate.release(100)
        opened.wait_idle()
        qtbot.wait(250)
        opened.wait_idle()

    opened.choose, opened.propagate, opened.finish = choose, propagate, finish
    return opened
