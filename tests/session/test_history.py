"""Undo and redo of everything that a session does."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.inference.results import FrameResult
from napari_sam2.session.log import (
    MergeObjects,
    Paint,
    RemoveObject,
    Run,
    SetPrompts,
    SplitObject,
)
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.session import Session
from napari_sam2.session.values import ModelChoice, StackKey

STACK = StackKey("image", (1, 2), 0)
OTHER = StackKey("image", (0, 2), 1)
CLICK = (PointPrompt((3.0, 4.0)),)
SQUARE = np.zeros((9, 9), bool)
SQUARE[2:5, 3:6] = True


def result(frame, object_ids, logit=1, present=True):
    crops = tuple(MaskCrop(np.full((2, 3), logit, np.float16), (n, 0)) for n in object_ids)
    count = len(object_ids)
    scores = np.full(count, 0.5, np.float32)
    return FrameResult(frame, (9, 9), tuple(object_ids), crops, scores, np.full(count, present))


def do_run(session, *results, stack=STACK, outcome="done", memory=None, request=None):
    frames = [each.frame for each in results] or [0]
    session.begin_run(Run(stack, ModelChoice(), None, (min(frames), max(frames)), request))
    for each in results:
        session.add_result(each)
    session.end_run(outcome, memory)


def state(session):
    """All that a session holds, bit for bit."""
    return (
        session.objects,
        [
            (
                stack,
                dict(session.prompts(stack)),
                dict(session.choices(stack)),
                session.memory(stack),
                [
                    (frame, key, mask.crop.logits.tobytes(), mask.crop.origin, mask.score)
                    for frame in session.frames(stack)
                    for key, mask in session.masks(stack, frame).items()
                ],
            )
            for stack in (STACK, OTHER)
        ],
        session.kept("drawing"),
        session.log,
    )


def test_an_undone_step_is_as_if_it_had_never_been():
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    before = state(session)
    with session.step("Click"):
        session.set_prompts(STACK, 2, 0, CLICK)
        session.keep("drawing", (1, 2))
        do_run(session, result(0, [1, 2]), memory="memory")
    after = state(session)
    assert (session.undo_name, session.redo_name) == ("Click", "")
    session.undo()
    assert state(session) == before
    assert (session.undo_name, session.redo_name) == ("Prompt object 1", "Click")
    session.redo()
    assert state(session) == after


def test_a_run_belongs_to_the_step_that_it_began_in():
    session = Session()
    with session.step():
        session.set_prompts(STACK, 1, 0, CLICK)
        session.begin_run(Run(STACK, ModelChoice(), None, (0, 0)))
    session.add_result(result(0, [1]))
    with pytest.raises(RuntimeError, match="under way"):
        session.undo()
    session.end_run("done", None)
    session.undo()
    assert session.objects == session.stacks == session.log == ()


def test_a_pass_is_one_step_also_when_it_was_cancelled():
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    do_run(
        session,
        *(result(f, [1]) for f in (0, 1, 2, 1)),
        outcome="cancelled",
        request=PassRequest("forward"),
    )
    assert session.undo_name == "Propagate forward"
    assert session.log[-1].results == 4
    session.undo()
    assert session.frames(STACK) == ()
    assert session.log == (SetPrompts(STACK, 1, 0, CLICK),)


def test_a_run_that_has_not_ended_is_in_the_log_as_cancelled():
    session = Session()
    session.begin_run(Run(STACK, ModelChoice(), None, (0, 5), PassRequest()))
    session.add_result(result(3, [1]))
    (run,) = session.log
    assert (run.results, run.outcome) == (1, "cancelled")


def test_nothing_is_edited_while_the_model_runs():
    session = Session()
    session.begin_run(Run(STACK, ModelChoice(), None, (0, 0)))
    with pytest.raises(RuntimeError, match="model is running"):
        session.set_prompts(STACK, 1, 0, CLICK)
    with pytest.raises(RuntimeError, match="model is running"):
        session.begin_run(Run(STACK, ModelChoice(), None, (0, 0)))


def test_what_was_found_beyond_the_end_of_an_object_goes_with_the_pass():
    session = Session()
    do_run(session, *(result(frame, [1]) for frame in range(6)))
    before = state(session)
    session.begin_run(Run(STACK, ModelChoice(), None, (0, 4), PassRequest("forward")))
    for each in (result(0, [1]), result(1, [1], present=False)):
        session.add_result(each)
    session.end_run("done", None)
    assert session.frames(STACK) == (0, 1, 5)
    session.undo()
    assert state(session) == before


def test_what_was_not_carried_keeps_its_masks_where_the_pass_did_not_come():
    session = Session()
    do_run(session, *(result(frame, [1, 2]) for frame in range(4)))
    session.begin_run(Run(STACK, ModelChoice(), None, (0, 3), PassRequest("forward", objects=(1,))))
    gone = result(1, [1, 2], present=False)
    for each in (result(0, [1, 2]), gone):
        session.add_result(each)
    session.end_run("done", None)
    assert [sorted(session.masks(STACK, frame)) for frame in (2, 3)] == [[2], [2]]


def test_prompts_on_some_frames_end_no_object_on_those_between():
    session = Session()
    do_run(session, result(0, [1]), result(1, [1], present=False), result(2, [1]), result(3, [1]))
    do_run(session, result(1, [1, 2], present=False), result(3, [1, 3]))
    assert [sorted(session.masks(STACK, frame)) for frame in range(4)] == [[1], [1, 2], [1], [1, 3]]


def test_opening_a_session_begins_anew_for_every_image():
    session, elsewhere = Session(), StackKey("elsewhere", (0, 1), None)
    do_run(session, result(0, [1]), memory="memory")
    before = state(session)
    session.reopen([], {elsewhere: {0: {}}})
    assert session.memory(STACK) is None  # as a replay of either image has it
    session.undo()
    assert state(session) == before


def test_something_new_takes_the_place_of_what_was_undone():
    session = Session()
    session.add_object(1)
    session.undo()
    session.add_object(2)
    assert session.redo_name == ""
    with pytest.raises(RuntimeError, match="nothing to redo"):
        session.redo()
    session.undo()
    with pytest.raises(RuntimeError, match="nothing to undo"):
        session.undo()


def test_steps_that_change_nothing_are_none():
    session = Session()
    heard = []
    session.history_changed.connect(lambda: heard.append(1))
    with session.step("Nothing"):
        session.set_prompts(STACK, 1, 0, ())
        session.remove_mask(STACK, 1, 0)
        session.keep("drawing", None)
    assert heard == []
    assert session.undo_name == ""


def test_a_mask_that_was_given_is_kept_pixel_by_pixel():
    session = Session()
    session.set_prompts(STACK, 1, 0, (MaskPrompt(SQUARE),))
    do_run(session, result(0, [1]))
    crop = session.masks(STACK, 0)[1].crop
    assert (crop.origin, crop.logits.shape) == ((2, 3), (3, 3))
    session.set_prompts(STACK, 1, 0, (MaskPrompt(SQUARE), *CLICK))
    do_run(session, result(0, [1]))
    assert session.masks(STACK, 0)[1].crop.origin == (1, 0)


def test_a_painted_mask_is_there_at_once_in_place_of_the_prompts():
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    do_run(session, result(0, [1, 2]))
    session.apply(Paint(STACK, 1, 0, MaskPrompt(SQUARE)))
    assert session.prompts(STACK) == {(1, 0): (MaskPrompt(SQUARE),)}
    assert session.masks(STACK, 0)[1].crop.origin == (2, 3)
    assert set(session.masks(STACK, 0)) == {1, 2}
    assert session.undo_name == "Paint object 1"


def test_an_equal_result_shares_the_mask_that_is_there():
    session = Session()
    do_run(session, result(0, [1, 2]))
    before = session.masks(STACK, 0)
    do_run(session, result(0, [1]), result(0, [2], logit=3))
    after = session.masks(STACK, 0)
    assert after[1] is before[1]
    assert after[2] is not before[2]


def test_a_deleted_object_takes_everything_along_and_comes_back_with_it():
    session = Session()
    for stack in (STACK, OTHER):
        for object_id in (1, 2):
            session.set_prompts(stack, object_id, 3, CLICK)
        do_run(session, result(3, [1, 2]), stack=stack)
    session.choose(STACK, 2, 3, 1)
    session.change_object(2, name="nucleus", visible=False)
    before = state(session)
    session.apply(RemoveObject(2))
    assert [entry.object_id for entry in session.objects] == [1]
    for stack in (STACK, OTHER):
        assert list(session.prompts(stack)) == [(1, 3)]
        assert list(session.masks(stack, 3)) == [1]
    assert session.choices(STACK) == {}
    session.undo()
    assert state(session) == before


def test_merged_objects_are_one():
    session = Session()
    session.set_prompts(STACK, 1, 3, CLICK)
    session.set_prompts(STACK, 2, 3, (BoxPrompt((1, 1, 5, 5)),))
    session.set_prompts(STACK, 2, 4, CLICK)
    do_run(session, result(3, [1, 2]), result(4, [2]))
    session.apply(MergeObjects(1, 2))
    assert session.prompts(STACK) == {
        (1, 3): (*CLICK, BoxPrompt((1, 1, 5, 5))),
        (1, 4): CLICK,
    }
    crop = session.masks(STACK, 3)[1].crop
    assert (crop.origin, crop.logits.shape) == ((1, 0), (3, 3))
    assert (crop.logits > 0).all()
    assert list(session.masks(STACK, 4)) == [1]


def test_what_cannot_be_merged():
    session = Session()
    for object_id in (1, 2):
        session.set_prompts(STACK, object_id, 3, (BoxPrompt((1, 1, 5, 5)),))
    before = state(session)
    with pytest.raises(ValueError, match="both have a box on plane 3"):
        session.apply(MergeObjects(1, 2))
    with pytest.raises(ValueError, match="with itself"):
        session.apply(MergeObjects(1, 1))
    with pytest.raises(KeyError, match="no object 7"):
        session.apply(MergeObjects(1, 7))
    assert state(session) == before


def test_what_is_split_off_takes_its_prompts_and_masks_along():
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    session.set_prompts(STACK, 1, 4, CLICK)
    session.choose(STACK, 1, 4, 2)
    do_run(session, *(result(frame, [1, 2]) for frame in range(5)))
    before = state(session)
    session.split_object(STACK, 1, 3, 5, (9, 9))
    assert session.log[-1] == SplitObject(STACK, 1, 3, 5)
    assert dict(session.prompts(STACK)) == {(1, 0): CLICK, (5, 4): CLICK}
    assert dict(session.choices(STACK)) == {(5, 4): 2}
    assert [sorted(session.masks(STACK, frame)) for frame in range(5)] == [
        [1, 2], [1, 2], [1, 2], [2, 5], [2, 5]
    ]  # fmt: skip
    session.undo()
    assert state(session) == before


@pytest.mark.parametrize(("prompted", "cut", "given"), [(0, 2, (5, 2)), (4, 2, (1, 1))])
def test_a_part_without_a_prompt_gets_its_mask_next_to_the_cut(prompted, cut, given):
    session = Session()
    session.set_prompts(STACK, 1, prompted, CLICK)
    do_run(session, *(result(frame, [1]) for frame in range(5)))
    session.split_object(STACK, 1, cut, 5, (9, 9))
    (mask,) = session.prompts(STACK)[given]
    assert mask.mask.shape == (9, 9)
    assert np.argwhere(mask.mask).tolist() == [[r, c] for r in (1, 2) for c in range(3)]
    assert len(session.prompts(STACK)) == 2


def test_what_cannot_be_split():
    session = Session()
    session.set_prompts(STACK, 1, 3, CLICK)
    session.add_object(2)
    do_run(session, result(3, [1]), result(4, [1], present=False))
    before = state(session)
    for object_id, cut in ((1, 3), (1, 4), (2, 3)):
        with pytest.raises(ValueError, match=f"split at plane {cut}: it has nothing on one side"):
            session.split_object(STACK, object_id, cut, 5, (9, 9))
    with pytest.raises(KeyError, match="no object 7"):
        session.split_object(STACK, 7, 3, 5, (9, 9))
    session.set_prompts(STACK, 1, 4, CLICK)
    with pytest.raises(ValueError, match="is an object 2 already"):
        session.split_object(STACK, 1, 4, 2, (9, 9))
    session.undo()
    assert state(session) == before


STACKS = st.sampled_from([STACK, OTHER])
NUMBERS, FRAMES = st.integers(1, 4), st.integers(0, 5)
PROMPTS = st.lists(
    st.sampled_from([*CLICK, PointPrompt((1.0, 1.0), False), MaskPrompt(SQUARE)]), max_size=3
)


class Operations(RuleBasedStateMachine):
    """Random operations; afterwards as many undos restore the first state, and redos the last."""

    def __init__(self):
        super().__init__()
        self.session = Session()
        self.first = state(self.session)

    @rule(stack=STACKS, number=NUMBERS, frame=FRAMES, prompts=PROMPTS)
    def set_prompts(self, stack, number, frame, prompts):
        self.session.set_prompts(stack, number, frame, prompts)

    @rule(stack=STACKS, index=st.none() | st.integers(0, 2), data=st.data())
    def choose(self, stack, index, data):
        if self.session.prompts(stack):
            key = data.draw(st.sampled_from(sorted(self.session.prompts(stack))))
            self.session.choose(stack, *key, index)

    @rule(
        stack=STACKS,
        results=st.lists(
            st.builds(
                result,
                FRAMES,
                st.lists(NUMBERS, unique=True),
                st.integers(1, 3),
                st.booleans(),
            ),
            min_size=1,
            max_size=4,
        ),
        outcome=st.sampled_from(["done", "cancelled", "failed"]),
        memory=st.integers(0, 2),
    )
    def run(self, stack, results, outcome, memory):
        do_run(self.session, *results, stack=stack, outcome=outcome, memory=memory)

    @rule(stack=STACKS, number=NUMBERS, frame=FRAMES)
    def remove_mask(self, stack, number, frame):
        self.session.remove_mask(stack, number, frame)

    @rule(stack=STACKS, number=NUMBERS, frame=FRAMES)
    def paint(self, stack, number, frame):
        self.session.apply(Paint(stack, number, frame, MaskPrompt(SQUARE)))

    @rule(name=st.text(max_size=3), visible=st.booleans(), data=st.data())
    def change_object(self, name, visible, data):
        if self.session.objects:
            entry = data.draw(st.sampled_from(self.session.objects))
            self.session.change_object(entry.object_id, name, visible)

    @rule()
    def add_object(self):
        if len(self.session.objects) < 6:
            self.session.add_object()

    @rule(data=st.data())
    def remove_object(self, data):
        if self.session.objects:
            entry = data.draw(st.sampled_from(self.session.objects))
            self.session.apply(RemoveObject(entry.object_id))

    @rule(data=st.data())
    def merge(self, data):
        numbers = [entry.object_id for entry in self.session.objects]
        if len(numbers) > 1:
            first, second = data.draw(st.permutations(numbers))[:2]
            self.session.apply(MergeObjects(first, second))

    @rule(stack=STACKS, frame=FRAMES, data=st.data())
    def split(self, stack, frame, data):
        numbers = [entry.object_id for entry in self.session.objects]
        if numbers and len(numbers) < 6:
            number = data.draw(st.sampled_from(numbers))
            with suppress(ValueError):  # nothing on one side
                self.session.split_object(stack, number, frame, max(numbers) + 1, (9, 9))

    @rule(value=st.integers(0, 9))
    def keep(self, value):
        self.session.keep("drawing", value)

    @precondition(lambda self: self.session.undo_name)
    @rule()
    def undo(self):
        before = state(self.session)
        self.session.undo()
        between = state(self.session)
        self.session.redo()
        assert state(self.session) == before
        self.session.undo()
        assert state(self.session) == between

    @precondition(lambda self: self.session.redo_name)
    @rule()
    def redo(self):
        self.session.redo()

    def teardown(self):
        last, count = state(self.session), 0
        while self.session.undo_name:
            self.session.undo()
            count += 1
        assert state(self.session) == self.first
        for _ in range(count):
            self.session.redo()
        assert state(self.session) == last


TestOperations = Operations.TestCase
TestOperations.settings = settings(max_examples=4, stateful_step_count=500, deadline=None)
