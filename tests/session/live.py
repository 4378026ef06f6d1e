"""A session that is worked in as the window does it, with a real predictor."""

from __future__ import annotations

import numpy as np

from napari_sam2.inference.prompts import MaskPrompt, PointPrompt
from napari_sam2.session.labels import write_labels
from napari_sam2.session.log import Paint, RemoveObject, Reopen, Run
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.session import Session
from napari_sam2.session.stack_source import StackSource
from napari_sam2.session.values import ModelChoice, StackKey

STACK = StackKey("image", (1, 2), 0)
MODEL = ModelChoice("nano", "cpu")
LIMITS = (0.0, 255.0)


class Live:
    """A session, its engine and its labels.

    Parameters
    ----------
    engine : Engine
        Runs the model.
    data : array, shape (T, Y, X)
        The image.
    channels : ChannelBlend, optional
        What the model sees in its place.
    """

    def __init__(self, engine, data, channels=None):
        self.engine, self.data, self.session = engine, data, Session()
        self.channels = channels
        self.labels = np.zeros(data.shape, np.uint16)
        self.session.masks_changed.connect(lambda change: write_labels(self.labels, change))

    def prompt(self, object_id, frame, *prompts):
        """Set prompts and run, as one step."""
        with self.session.step():
            self.session.set_prompts(STACK, object_id, frame, prompts)
            self.run((frame, frame))

    def run(self, frames, request=None, stop_after=None):
        """Run the model, or stop it after some results."""
        session, engine = self.session, self.engine
        source = StackSource(STACK, self.data, False, LIMITS)
        if self.channels is not None:
            source = StackSource(STACK, self.channels, True, (0.0, 1.0))
        limits, seen = source.contrast_limits, source.channels
        run = Run(STACK, MODEL, limits, frames, request, channels=seen)
        session.begin_run(run)
        engine.memory = session.memory(STACK)
        steps = engine.run(run, source, session.prompts(STACK), session.choices(STACK))
        try:
            for count, result in enumerate(steps, 1):
                session.add_result(result)
                if count == stop_after:
                    break
        except ValueError:
            session.end_run("failed", engine.memory)
            raise
        steps.close()
        session.end_run("done" if stop_after is None else "cancelled", engine.memory)

    def work(self):
        """Do a bit of everything, some of it undone."""
        session, last = self.session, len(self.data) - 1
        self.prompt(1, 2, PointPrompt((32.0, 30.0)))
        self.prompt(2, 5, PointPrompt((65.0, 75.0)))
        self.run((0, last), PassRequest("forward"), stop_after=2)
        session.undo()
        self.run((0, last), PassRequest("backward"))
        session.undo()
        session.redo()
        session.undo()
        with session.step():
            session.choose(STACK, 2, 5, 1)
            self.run((5, 5))
        self.run((0, last), PassRequest("both", stop_when_absent=2), stop_after=5)
        mask = np.zeros(self.data.shape[1:], bool)
        mask[60:70, 60:80] = True
        self.prompt(3, 4, MaskPrompt(mask))
        session.apply(Paint(STACK, 1, 6, MaskPrompt(mask[::-1])))
        session.apply(Reopen())
        session.remove_mask(STACK, 1, 3)
        self.run((0, last), PassRequest("forward"))
        session.apply(RemoveObject(2))
        self.run((1, last), PassRequest("both", (1, last)))
