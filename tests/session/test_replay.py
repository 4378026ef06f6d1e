"""A log that is repeated gives the same labels, bit by bit."""

import numpy as np
import pytest
from tests.session.live import LIMITS, MODEL, STACK, Live

from napari_sam2.inference.prompts import MaskPrompt, PointPrompt
from napari_sam2.session.engine import Engine
from napari_sam2.session.folder import SessionFolder, read_session
from napari_sam2.session.identity import identify_image
from napari_sam2.session.labels import label_image, write_labels
from napari_sam2.session.log import Run
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.replay import replay
from napari_sam2.session.saved import masks_of_image
from napari_sam2.session.saver import saved_session
from napari_sam2.session.session import Session
from napari_sam2.session.stack_source import StackSource


def repeated(log, data, engine):
    session, labels = Session(), np.zeros(data.shape, np.uint16)
    session.masks_changed.connect(lambda change: write_labels(labels, change))
    replay(log, session, data, False, engine)
    return session, labels


def bits(session):
    return [
        (frame, key, mask.crop.logits.tobytes(), mask.crop.origin, mask.score, mask.present)
        for frame in session.frames(STACK)
        for key, mask in sorted(session.masks(STACK, frame).items())
    ]


def test_replay_gives_the_same_bits(tiny_model, discs, tmp_path):
    data, _ = discs
    live = Live(Engine(lambda choice: tiny_model), data)
    live.work()
    image = identify_image("discs", data, False)
    masks = masks_of_image("image", live.session)
    SessionFolder(tmp_path).write(saved_session(image, "image", live.session.log, masks))
    saved = read_session(tmp_path)
    session, labels = repeated(saved.log, data.copy(), Engine(lambda choice: tiny_model))
    np.testing.assert_array_equal(labels, live.labels)
    assert labels.any()
    assert len(bits(session)) > 10
    assert bits(session) == bits(live.session)
    np.testing.assert_array_equal(label_image(saved.masks, data.shape), labels)


def test_undo_and_a_second_pass_give_the_same_labels(tiny_model, discs):
    live = Live(Engine(lambda choice: tiny_model), discs[0])
    live.prompt(1, 2, PointPrompt((32.0, 30.0)))
    live.run((0, 7), PassRequest("backward"))
    first = live.labels.copy()
    live.session.undo()
    live.run((0, 7), PassRequest("both"))
    assert not np.array_equal(live.labels, first)
    live.session.undo()
    live.run((0, 7), PassRequest("backward"))
    np.testing.assert_array_equal(live.labels, first)


def test_a_failed_run_is_repeated_as_far_as_it_came(tiny_model, discs):
    live = Live(Engine(lambda choice: tiny_model), discs[0])
    session, engine = live.session, live.engine
    session.set_prompts(STACK, 1, 2, (PointPrompt((32.0, 30.0)),))
    run = Run(STACK, MODEL, LIMITS, (0, 7), PassRequest("both"))
    session.begin_run(run)
    source = StackSource(STACK, discs[0], False, LIMITS)
    steps = engine.run(run, source, session.prompts(STACK), {})
    for _ in range(3):
        session.add_result(next(steps))
    session.end_run("failed", engine.memory)
    assert session.memory(STACK) is None
    again, labels = repeated(session.log, discs[0], Engine(lambda choice: tiny_model))
    np.testing.assert_array_equal(labels, live.labels)
    assert again.memory(STACK) is None
    assert again.log == session.log


def test_a_failed_run_leaves_no_trace_in_what_follows(tiny_model, discs):
    def work(fails):
        live = Live(Engine(lambda choice: tiny_model), discs[0])
        live.prompt(1, 2, PointPrompt((32.0, 30.0)))
        live.run((0, 7), PassRequest("forward"))
        memory = live.session.memory(STACK)
        if fails:
            with pytest.raises(ValueError, match="too thin"):
                live.prompt(2, 4, MaskPrompt(speck))
            assert live.session.memory(STACK) is memory
            live.session.set_prompts(STACK, 2, 4, ())
        # both refine what was propagated
        live.prompt(1, 5, PointPrompt((36.0, 31.0)))
        live.run((0, 7), PassRequest("backward"))
        return live

    speck = np.zeros(discs[0].shape[1:], bool)
    speck[50, 50] = True
    failed = work(fails=True)
    assert bits(failed.session) == bits(work(fails=False).session)
    again, _ = repeated(failed.session.log, discs[0], Engine(lambda choice: tiny_model))
    assert bits(again) == bits(failed.session)
    assert again.log == failed.session.log
    assert {command.outcome for command in again.log if isinstance(command, Run)} == {"done"}
