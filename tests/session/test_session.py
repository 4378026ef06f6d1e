import numpy as np
import pytest

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.results import FrameResult
from napari_sam2.session.log import RemoveObject, Run
from napari_sam2.session.session import Session
from napari_sam2.session.values import ModelChoice, StackKey

STACK = StackKey("image", (1, 2), 0)
OTHER = StackKey("image", (1, 2), 0, ((3, 4),))
CLICK = (PointPrompt((3.0, 4.0)),)


def result(frame, *object_ids, logit=1):
    crops = tuple(
        MaskCrop(np.full((2, 2), logit, np.float16), (object_id, 0)) for object_id in object_ids
    )
    scores = np.full(len(object_ids), 0.5, np.float32)
    return FrameResult(frame, (9, 9), object_ids, crops, scores, np.ones(len(object_ids), bool))


def run(session, *results, stack=STACK, outcome="done", memory=None):
    frames = [each.frame for each in results]
    session.begin_run(Run(stack, ModelChoice(), None, (min(frames), max(frames))))
    for each in results:
        session.add_result(each)
    session.end_run(outcome, memory)


def recorded(signal):
    heard = []
    signal.connect(lambda *args: heard.append(args))
    return heard


def test_prompts_add_their_object_and_are_told():
    session = Session()
    added, changed = recorded(session.object_changed), recorded(session.prompts_changed)
    session.set_prompts(STACK, 3, 7, CLICK)
    assert session.prompts(STACK) == {(3, 7): CLICK}
    assert [entry.object_id for entry in session.objects] == [3]
    assert session.find_object(3).name == "object 3"
    assert added == [(3,)]
    assert changed == [(STACK, 3, 7)]


def test_equal_prompts_are_no_change():
    session = Session()
    session.set_prompts(STACK, 3, 7, CLICK)
    changed = recorded(session.prompts_changed)
    session.set_prompts(STACK, 3, 7, (PointPrompt((3.0, 4.0)),))
    session.set_prompts(STACK, 9, 7, ())
    assert changed == []
    assert len(session.objects) == 1


def test_no_prompts_remove_them_but_not_the_object():
    session = Session()
    session.set_prompts(STACK, 3, 7, CLICK)
    session.set_prompts(STACK, 3, 7, ())
    assert session.prompts(STACK) == {}
    assert [entry.object_id for entry in session.objects] == [3]


def test_a_choice_lasts_as_long_as_its_prompts():
    session = Session()
    session.set_prompts(STACK, 3, 7, CLICK)
    changed = recorded(session.prompts_changed)
    session.choose(STACK, 3, 7, 2)
    session.choose(STACK, 3, 7, 2)
    session.set_prompts(STACK, 3, 7, (PointPrompt((3.0, 4.0)),))
    assert session.choices(STACK) == {(3, 7): 2}
    session.choose(STACK, 3, 7, None)
    assert session.choices(STACK) == {}
    assert changed == [(STACK, 3, 7)] * 2
    session.choose(STACK, 3, 7, 1)
    session.set_prompts(STACK, 3, 7, (*CLICK, PointPrompt((5.0, 4.0))))
    assert session.choices(STACK) == {}


def test_nothing_can_be_chosen_without_prompts():
    with pytest.raises(KeyError, match="no prompts on frame 7"):
        Session().choose(STACK, 3, 7, 0)


def test_prompts_that_were_handed_out_do_not_change():
    session = Session()
    session.set_prompts(STACK, 3, 7, CLICK)
    before = session.prompts(STACK)
    session.set_prompts(STACK, 3, 8, CLICK)
    assert list(before) == [(3, 7)]
    with pytest.raises(TypeError):
        before[1, 1] = CLICK


def test_new_objects_count_on_from_the_largest():
    session = Session()
    session.add_object(4)
    assert session.add_object().object_id == 5
    assert session.add_object(4) is session.objects[0]
    with pytest.raises(ValueError, match="numbered from 1"):
        session.add_object(0)


def test_a_result_keeps_objects_that_it_does_not_carry():
    session = Session()
    run(session, result(2, 1, 5))
    changes = recorded(session.masks_changed)
    run(session, result(2, 5, logit=2))
    (change,) = changes[0]
    assert set(change.before) == set(change.after) == {1, 5}
    assert change.after[1] is change.before[1]
    assert change.after[5] is not change.before[5]
    assert (change.stack, change.frame) == (STACK, 2)


def test_removing_the_last_mask_of_a_frame_leaves_no_frame():
    session = Session()
    run(session, result(2, 1))
    changes = recorded(session.masks_changed)
    session.remove_mask(STACK, 1, 2)
    session.remove_mask(STACK, 1, 2)
    assert session.frames(STACK) == ()
    assert len(changes) == 1
    assert dict(changes[0][0].after) == {}


def test_an_empty_result_is_no_change():
    session = Session()
    changes = recorded(session.masks_changed)
    run(session, result(2))
    assert changes == []
    assert session.frames(STACK) == ()


def test_many_changes_are_told_once_at_their_end():
    session = Session()
    for object_id in (1, 2, 3):
        session.add_object(object_id)
    run(session, result(2, 1, 2, 3))
    before = session.masks(STACK, 2)
    changes = recorded(session.masks_changed)
    with session.step(), session.telling_once():
        for object_id in (1, 2):
            session.apply(RemoveObject(object_id))
        assert not changes
    [(change,)] = changes
    assert (change.before, set(change.after)) == (before, {3})
    session.undo()
    assert session.masks(STACK, 2) == before
    assert len(changes) == 2


def test_stacks_are_apart():
    session = Session()
    session.set_prompts(STACK, 1, 0, CLICK)
    run(session, result(2, 1), stack=OTHER)
    assert session.prompts(OTHER) == {}
    assert session.frames(STACK) == ()
    assert session.stacks == (STACK, OTHER)
