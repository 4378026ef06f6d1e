"""Going through the masks that a click may mean."""

import itertools
import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt, PolygonPrompt
from napari_sam2.plugin import keys
from napari_sam2.plugin.candidates import describe, next_choice
from napari_sam2.session.values import ModelChoice, ObjectMask

CLICK, BOX = PointPrompt((3, 4)), BoxPrompt((1, 1, 5, 5))
GIVEN = (MaskPrompt(np.ones((2, 2), bool)), PolygonPrompt(((0, 0), (0, 9), (9, 9))))
FOUND = ObjectMask(MaskCrop(np.ones((2, 2), np.float16), (0, 0)), 0.874, True)
LOST = ObjectMask(MaskCrop(np.zeros((0, 0), np.float16), (0, 0)), 0.1, False)


@pytest.mark.parametrize(
    ("prompts", "mask", "order"),
    [
        ([CLICK], FOUND, [None, 1, 2, None, 1]),
        ([CLICK], LOST, [None, 0, 1, 2, None]),
        ([CLICK], None, [None, 0, 1]),
        ([BOX], FOUND, [None, 0, 1, 2, None, 0]),
        ([CLICK, CLICK], FOUND, [None, 0, 1, 2, None]),
        ([*GIVEN, CLICK], FOUND, [None, 0, 1, 2, None]),
    ],
)
def test_every_candidate_has_its_turn(prompts, mask, order):
    for chosen, following in itertools.pairwise(order):
        assert next_choice(prompts, chosen, mask) == following


@pytest.mark.parametrize(("prompts", "message"), [((), "no prompt"), (GIVEN, "was given")])
def test_where_there_are_none(prompts, message):
    with pytest.raises(ValueError, match=message):
        next_choice(prompts, None, FOUND)


@pytest.mark.parametrize(
    ("prompts", "chosen", "mask", "text"),
    [
        ([CLICK], None, FOUND, "Object 3: candidate 1 of 3, score 0.87"),
        ([CLICK], 2, FOUND, "Object 3: candidate 3 of 3, score 0.87"),
        ([BOX], None, FOUND, "Object 3: score 0.87"),
        ([BOX], 0, FOUND, "Object 3: candidate 1 of 3, score 0.87"),
        (GIVEN, None, FOUND, "Object 3: as given"),
        ([CLICK], None, LOST, "Object 3: not found on this plane"),
    ],
)
def test_what_is_told(prompts, chosen, mask, text):
    assert describe(3, prompts, chosen, mask) == text


def rows_of(opened, frame):
    return np.flatnonzero((opened.labels()[frame] == 1).any(axis=1))[[0, -1]].tolist()


def test_the_button_shows_one_after_the_other(open_dock, stack, qtbot, engine, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    seen = []
    for _ in range(4):
        status = opened.dock.footer.status.text()
        seen.append((status.removeprefix("Object 1: candidate "), rows_of(opened, 0)))
        qtbot.mouseClick(opened.dock.prompts.candidate, Qt.MouseButton.LeftButton)
        opened.wait_idle()
    whole, upper, lower = [12, 28], [12, 19], [20, 28]
    assert seen == [
        ("1 of 3, score 1.00", whole),
        ("2 of 3, score 0.90", upper),
        ("3 of 3, score 0.80", lower),
        ("1 of 3, score 1.00", whole),
    ]
    assert [call[0] for call in engine.predictors[0].calls] == ["add"] + ["choose"] * 4
    assert messages == []


def test_the_key_shows_the_next_one(open_dock, stack, qtbot):
    opened = open_dock(stack, show=True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    canvas = opened.viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, getattr(Qt.Key, f"Key_{keys.NEXT_CANDIDATE}"))
    opened.wait_idle()
    assert opened.dock.footer.status.text() == "Object 1: candidate 2 of 3, score 0.90"
    assert rows_of(opened, 0) == [12, 19]


def test_the_choice_is_carried_on_and_ends_with_its_prompts(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.next_candidate()
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.controller.plane.run()
    opened.wait_idle()
    assert rows_of(opened, 0) == [12, 19]
    assert [call[0] for call in engine.predictors[0].calls] == ["add", "choose", "propagate"]
    # Another model is asked for the same.
    opened.dock.model.model_chosen.emit(ModelChoice("other.pt", "cpu"))
    opened.controller.plane.run()
    opened.wait_idle()
    assert [call[0] for call in engine.predictors[1].calls] == ["add", "choose"]
    assert rows_of(opened, 0) == [12, 19]
    opened.points.add([0, 21, 18])
    opened.wait_idle()
    assert rows_of(opened, 0) == [12, 28]
    assert opened.dock.footer.status.text() == "Object 1: score 1.00"


def test_candidates_of_the_active_object_on_the_plane_in_view(open_dock, stack, engine, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    opened.controller.plane.next_candidate()
    opened.wait_idle()
    assert engine.predictors[0].calls[-1] == ("choose", 2, 0, 1)
    assert rows_of(opened, 0) == [12, 28]
    opened.viewer.dims.set_current_step(0, 3)
    opened.controller.plane.next_candidate()
    opened.wait_idle()
    assert [severity for severity, _ in messages] == ["warning"]
    assert "no prompt on this plane" in messages[0][1]


def test_candidates_are_made_in_a_worker(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    predictor, threads = engine.predictors[0], []
    choose = predictor.choose_candidate

    def noting(*arguments):
        threads.append(threading.get_ident())
        return choose(*arguments)

    predictor.choose_candidate = noting
    opened.controller.plane.next_candidate()
    opened.wait_idle()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_candidate_asked_for_while_propagating_waits_for_its_turn(propagating, engine):
    opened = propagating()
    opened.controller.plane.next_candidate()
    engine.gate.release(20)
    opened.wait_idle()
    assert rows_of(opened, 0) == [12, 19]
    assert rows_of(opened, 5) == [12, 28]
