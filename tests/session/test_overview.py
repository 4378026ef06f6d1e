"""Objects over the frames of a stack."""

import pytest
from tests.session.test_history import CLICK, OTHER, STACK, do_run, result

from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.session.log import MergeObjects, RemoveObject
from napari_sam2.session.overview import Overview
from napari_sam2.session.session import Session


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def overview(session):
    return Overview(session)


def scored(frame, scores, present=True):
    found = result(frame, list(scores), present=present)
    found.scores[:] = list(scores.values())
    return found


def test_scores_follow_runs_edits_and_undo(session, overview):
    session.set_prompts(STACK, 1, 0, CLICK)
    do_run(session, scored(0, {1: 0.875}), scored(1, {1: 0.5, 2: 0.75}))
    do_run(session, scored(2, {1: 0.25}, present=False))
    assert overview.scores(STACK, 1) == {0: 0.875, 1: 0.5, 2: None}
    assert overview.scores(STACK, 2) == {1: 0.75}
    assert overview.scores(OTHER, 1) == {}
    session.undo()
    session.remove_mask(STACK, 1, 0)
    assert overview.scores(STACK, 1) == {1: 0.5}
    while session.undo_name:
        session.undo()
    assert overview.scores(STACK, 1) == {}


def test_the_least_certain_frame_comes_first_and_prompted_ones_never(session, overview):
    session.set_prompts(STACK, 1, 2, CLICK)
    do_run(session, *(scored(frame, {1: s}) for frame, s in enumerate((0.75, 0.5, 0.25, 0.875))))
    assert overview.least_certain(STACK, 1) == (1, 0, 3)
    session.set_prompts(STACK, 1, 1, (PointPrompt((1.0, 1.0)),))
    assert overview.least_certain(STACK, 1) == (0, 3)
    assert overview.prompted(STACK, 1) == {1, 2}
    assert overview.least_certain(STACK, 7) == ()


def test_summaries(session, overview):
    session.set_prompts(STACK, 2, 0, CLICK)
    session.add_object(1, "nucleus")
    do_run(session, scored(0, {2: 0.75}), scored(3, {2: 0.5}))
    first, second = overview.summaries(STACK)
    assert (first.entry.name, first.planes, first.certainty, first.frame) == (
        "nucleus", 0, None, None
    )  # fmt: skip
    assert (second.planes, second.certainty, second.frame) == (2, 0.5, 3)
    assert [summary.planes for summary in overview.summaries(None)] == [0, 0]
    session.apply(MergeObjects(1, 2))
    assert [summary.planes for summary in overview.summaries(STACK)] == [2]
    session.apply(RemoveObject(1))
    assert overview.summaries(STACK) == ()


def test_every_change_is_told(session, overview):
    told = []
    overview.changed.connect(lambda: told.append(1))
    for change in (
        lambda: session.add_object(1),
        lambda: session.change_object(1, "nucleus"),
        lambda: session.set_prompts(STACK, 1, 0, CLICK),
        lambda: do_run(session, result(0, [1])),
        session.undo,
    ):
        told.clear()
        change()
        assert told
