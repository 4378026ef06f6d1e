import gc
import weakref

import numpy as np
import pytest

from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.load import Model
from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.inference.video.video_predictor import VideoPredictor
from napari_sam2.session.engine import Engine
from napari_sam2.session.predictors import Predictors
from napari_sam2.session.stack_source import StackSource
from napari_sam2.session.values import ModelChoice, StackKey

DATA = np.zeros((5, 8, 9), np.uint8)
NANO = ModelChoice()
A, B = (PointPrompt((1.0, 1.0)),), (PointPrompt((2.0, 2.0)),)


class Told(tuple):
    """A result that is what the predictor was told."""

    frame = 0

    def of(self, object_ids):
        return self


class Recorder:
    """A predictor that notes what it is told."""

    def __init__(self, frames):
        self.frames = frames
        self.calls = []
        self.error = None

    def add_prompts(self, object_id, frame, prompts):
        if self.error is not None:
            raise self.error
        self.calls.append(("add", object_id, frame, tuple(prompts)))
        return Told(("result", object_id, frame))

    def choose_candidate(self, object_id, frame, index):
        self.calls.append(("choose", object_id, frame, index))
        return Told(("chosen", object_id, frame))

    def remove_prompts(self, object_id, frame, keep_mask):
        self.calls.append(("remove", object_id, frame))

    def remove_object(self, object_id):
        self.calls.append(("remove object", object_id))

    def snapshot(self):
        return tuple(self.calls)

    def restore(self, snapshot):
        self.calls.append(("restore", snapshot))

    def propagate(
        self, direction="both", start=None, stop=None, stop_when_absent=None, object_ids=None
    ):
        self.calls.append(("propagate", direction, start, stop, stop_when_absent))
        yield "frame"


class Bench:
    def __init__(self):
        self.loaded = []
        self.predictors = []
        self.budgets = []
        self.engine = Engine(self.load, self.make)

    def load(self, choice):
        if choice.name == "broken":
            raise ValueError("This is no checkpoint.")
        self.loaded.append(choice)
        return choice.name

    def make(self, model, source, memory_budget):
        self.budgets.append(memory_budget)
        self.predictors.append(Recorder(source.frames()))
        return self.predictors[-1]


def source(data=DATA, limits=(0.0, 255.0), key=None):
    return StackSource(key or StackKey("image", (1, 2), 0), data, False, limits)


def test_only_changed_prompts_are_sent():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A, (2, 2): A}, {2}))
    list(bench.engine.run_frames(NANO, here, {(1, 2): B, (2, 2): A}, {2}))
    assert bench.predictors[0].calls == [("add", 1, 2, A), ("add", 2, 2, A), ("add", 1, 2, B)]
    assert bench.loaded == [NANO]


def test_a_frame_run_leaves_other_frames_alone():
    bench = Bench()
    results = list(bench.engine.run_frames(NANO, source(), {(1, 2): A, (1, 4): A}, {4}))
    assert results == [("result", 1, 4)]
    assert bench.predictors[0].calls == [("add", 1, 4, A)]


def test_removed_prompts_are_taken_back_and_the_last_with_their_object():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A, (1, 3): A}, {2, 3}))
    list(bench.engine.run_frames(NANO, here, {(1, 3): A}, {2}))
    list(bench.engine.run_frames(NANO, here, {}, {3}))
    assert bench.predictors[0].calls[2:] == [("remove", 1, 2), ("remove object", 1)]


def test_a_choice_is_sent_after_its_prompts_and_taken_back():
    bench = Bench()
    here = source()
    prompts = {(1, 2): A, (1, 4): A}
    for choices in ({(1, 2): 1}, {(1, 2): 1}, {(1, 2): 2, (1, 4): 1}, {}):
        list(bench.engine.run_frames(NANO, here, prompts, {2}, choices))
    assert bench.predictors[0].calls == [
        ("add", 1, 2, A),
        ("choose", 1, 2, 1),
        ("choose", 1, 2, 2),
        ("choose", 1, 2, None),
    ]


def test_a_choice_is_one_result_and_new_prompts_begin_without():
    bench = Bench()
    here = source()
    results = list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}, {(1, 2): 1}))
    assert results == [("chosen", 1, 2)]
    assert list(bench.engine.run_frames(NANO, here, {(1, 2): B}, {2})) == [("result", 1, 2)]
    list(bench.engine.propagate(NANO, here, {(1, 2): B}, choices={(1, 2): 2}))
    assert bench.predictors[0].calls[2:] == [
        ("add", 1, 2, B),
        ("choose", 1, 2, 2),
        ("propagate", "both", None, None, None),
    ]


def test_propagating_sends_everything_first():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    results = list(bench.engine.propagate(NANO, here, {(2, 4): B}, "both", None, 3))
    assert results == [("result", 2, 4), "frame"]
    assert bench.predictors[0].calls[1:] == [
        ("remove object", 1),
        ("add", 2, 4, B),
        ("propagate", "both", None, None, 3),
    ]


@pytest.mark.parametrize(
    ("direction", "start", "stop"),
    [("both", 1, 3), ("forward", None, 3), ("backward", None, 1)],
)
def test_limits(direction, start, stop):
    bench = Bench()
    list(bench.engine.propagate(NANO, source(), {(1, 2): A}, direction, (1, 3)))
    assert bench.predictors[0].calls[-1] == ("propagate", direction, start, stop, None)


@pytest.mark.parametrize(
    "other",
    [
        source(data=DATA.copy()),
        source(limits=(0.0, 9.0)),
        source(key=StackKey("image", (0, 2), 1)),
    ],
)
def test_other_pixels_need_another_predictor(other):
    bench = Bench()
    list(bench.engine.run_frames(NANO, source(), {(1, 2): A}, {2}))
    list(bench.engine.run_frames(NANO, other, {(1, 2): A}, {2}))
    assert len(bench.predictors) == 2
    assert bench.predictors[1].calls == [("add", 1, 2, A)]
    assert bench.loaded == [NANO]


def test_another_model_needs_another_predictor():
    bench = Bench()
    cpu = ModelChoice("nano", "cpu")
    assert not bench.engine.is_loaded(NANO)
    for choice in (NANO, cpu):
        list(bench.engine.run_frames(choice, source(), {(1, 2): A}, {2}))
        assert bench.engine.is_loaded(choice)
    assert bench.loaded == [NANO, cpu]
    assert len(bench.predictors) == 2


def test_after_a_bad_model_the_good_one_is_loaded_again():
    bench = Bench()
    list(bench.engine.run_frames(NANO, source(), {(1, 2): A}, {2}))
    with pytest.raises(ValueError, match="no checkpoint"):
        list(bench.engine.run_frames(ModelChoice("broken"), source(), {(1, 2): A}, {2}))
    list(bench.engine.run_frames(NANO, source(), {(1, 2): A}, {2}))
    assert bench.loaded == [NANO, NANO]


def test_after_an_error_a_new_predictor_goes_on_from_the_memory_before():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    memory = bench.engine.memory
    bench.predictors[0].error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="do not match"):
        list(bench.engine.run_frames(NANO, here, {(1, 2): A, (2, 2): A}, {2}))
    assert bench.engine.memory is memory
    list(bench.engine.run_frames(NANO, here, {(1, 2): A, (2, 2): A}, {2}))
    assert bench.predictors[1].calls == [("restore", (("add", 1, 2, A),)), ("add", 2, 2, A)]


def test_after_a_prompt_that_cannot_be_used_the_predictor_goes_on_from_the_memory_before():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    memory = bench.engine.memory
    (predictor,) = bench.predictors
    predictor.error = ValueError("The mask is too thin.")
    with pytest.raises(ValueError, match="too thin"):
        # the first object is removed before the second fails
        list(bench.engine.run_frames(NANO, here, {(2, 2): A}, {2}))
    assert bench.engine.memory is memory
    predictor.error = None
    list(bench.engine.run_frames(NANO, here, {(1, 2): A, (2, 2): B}, {2}))
    assert bench.predictors == [predictor]
    assert predictor.calls[1:] == [
        ("remove object", 1),
        ("restore", (("add", 1, 2, A),)),
        ("add", 2, 2, B),
    ]


def test_a_cancelled_run_keeps_the_predictor():
    bench = Bench()
    here = source()
    steps = bench.engine.propagate(NANO, here, {(1, 2): A, (2, 2): A})
    next(steps)
    steps.close()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A, (2, 2): A}, {2}))
    assert bench.predictors[0].calls == [("add", 1, 2, A), ("add", 2, 2, A)]


def test_frames_of_a_plane_a_stack_and_a_time_lapse():
    plane = StackSource(StackKey("i", (0, 1), None), np.eye(4), False, None).frames()
    assert (len(plane), plane.plane_shape) == (1, (4, 4))
    colours = StackSource(StackKey("i", (0, 1), None), np.ones((4, 6, 3)), True, None).frames()
    assert colours.plane(0).shape == (4, 6, 3)
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    stack = StackSource(StackKey("i", (2, 3), 1, ((0, 1),)), data, False, None).frames()
    np.testing.assert_array_equal(stack.plane(2), data[1, 2])
    side = StackSource(StackKey("i", (1, 3), 2, ((0, 1),)), data, False, None).frames()
    np.testing.assert_array_equal(side.plane(3), data[1, :, 3])


def test_a_run_starts_from_the_memory_that_it_is_given():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    memory = bench.engine.memory
    list(bench.engine.propagate(NANO, here, {(1, 2): A}))
    bench.engine.memory = memory
    list(bench.engine.run_frames(NANO, here, {(1, 2): B}, {2}))
    assert bench.predictors[0].calls == [
        ("add", 1, 2, A),
        ("propagate", "both", None, None, None),
        ("restore", (("add", 1, 2, A),)),
        ("add", 1, 2, B),
    ]
    bench.engine.memory = None
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    assert bench.predictors[0].calls[4:] == [("restore", ()), ("add", 1, 2, A)]


def test_a_run_that_does_nothing_leaves_the_memory_as_it_is():
    bench = Bench()
    here = source()
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    memory = bench.engine.memory
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    assert bench.engine.memory is memory


def test_going_back_to_a_stack_goes_on_from_its_memory():
    bench = Bench()
    here, there = source(), source(key=StackKey("image", (0, 2), 1))
    list(bench.engine.run_frames(NANO, here, {(1, 2): A}, {2}))
    memory = bench.engine.memory
    bench.engine.memory = None
    list(bench.engine.run_frames(NANO, there, {(1, 2): A}, {2}))
    bench.engine.memory = memory
    list(bench.engine.run_frames(NANO, here, {(1, 2): B}, {2}))
    assert bench.predictors[2].calls == [("restore", (("add", 1, 2, A),)), ("add", 1, 2, B)]


def test_memory_of_another_model_is_of_no_use():
    bench = Bench()
    list(bench.engine.run_frames(NANO, source(), {(1, 2): A}, {2}))
    cpu = ModelChoice("nano", "cpu")
    list(bench.engine.run_frames(cpu, source(), {(1, 2): A}, {2}))
    assert bench.engine.memory.model == cpu
    assert bench.predictors[1].calls == [("add", 1, 2, A)]


def test_memory_after_a_cancel():
    bench = Bench()
    here = source()
    steps = bench.engine.propagate(NANO, here, {(1, 2): A, (2, 2): A})
    next(steps)
    steps.close()
    assert list(bench.engine.memory.sent) == [(1, 2)]


def test_a_model_is_gone_before_the_next_one_is_loaded(tiny_model, discs):
    models = []

    def load(choice):
        assert not any(model() is not None for model in models)
        model = Model(tiny_model.network, tiny_model.device, tiny_model.dtype)
        models.append(weakref.ref(model))
        return model

    engine = Engine(load)
    prompts = {(1, 2): (PointPrompt((32.0, 30.0)),)}
    gc.collect()
    gc.disable()  # nothing is to wait for it
    try:
        for name in ("one", "other"):
            list(engine.propagate(ModelChoice(name), source(discs[0]), prompts, "forward"))
    finally:
        gc.enable()
    assert len(models) == 2


def test_after_an_undone_pass_the_model_answers_as_if_it_had_never_been(tiny_model, discs):
    here = source(discs[0])
    prompts = {(1, 2): (PointPrompt((32.0, 30.0)),), (2, 5): (PointPrompt((65.0, 75.0)),)}
    refined = {**prompts, (1, 3): (PointPrompt((33.0, 31.0)),)}

    def engine():
        return Engine(lambda choice: tiny_model)

    def logits(results):
        return [
            (result.frame, crop.origin, crop.logits.tobytes())
            for result in results
            for crop in result.crops
        ]

    def answers(engine):
        asked = [engine.run_frames(NANO, here, refined, {3})]
        asked.append(engine.propagate(NANO, here, refined, "forward", choices={(1, 2): 1}))
        return [logits(each) for each in asked]

    undone, never = engine(), engine()
    for each in (undone, never):
        list(each.propagate(NANO, here, prompts, "backward"))
    memory = undone.memory
    list(undone.propagate(NANO, here, prompts, "both"))
    list(undone.propagate(NANO, here, {(2, 5): prompts[2, 5]}, "both"))
    undone.memory = memory
    expected = answers(never)
    assert answers(undone) == expected
    undone.memory = memory
    steps = undone.propagate(NANO, here, refined, "forward")
    next(steps)
    steps.close()
    undone.memory = memory
    assert answers(undone) == expected


def test_a_plane_much_larger_than_the_model_s_input_is_looked_at_in_parts(tiny_model):
    plane = np.random.default_rng(0).integers(0, 255, (300, 320), dtype=np.uint8)
    here = StackSource(StackKey("image", (0, 1), None), plane, False, (0.0, 255.0))
    click = PointPrompt((210.0, 230.0))
    engine = Engine(lambda choice: tiny_model)
    (found,) = engine.run_frames(NANO, here, {(2, 0): (click,)}, {0})
    expected = LargeImagePredictor(tiny_model, plane, (0.0, 255.0)).predict([click])
    assert found.object_ids == (2,)
    np.testing.assert_array_equal(found.crops[0].logits, expected.best.logits)
    (carried,) = engine.propagate(NANO, here, {(2, 0): (click,)})
    assert carried.crops == found.crops
    small = StackSource(here.key, plane[:80, :80], False, (0.0, 255.0))
    whole = PointPrompt((50.0, 50.0))
    (found,) = engine.run_frames(NANO, small, {(1, 0): (whole,)}, {0})
    video = VideoPredictor(tiny_model, small.data[None], (0.0, 255.0))
    expected = video.add_prompts(1, 0, [whole])
    # intensities are scaled in two steps, and masks kept in half precision
    np.testing.assert_allclose(found.crops[0].logits, expected.crops[0].logits, atol=1e-5)


def test_a_large_plane_of_one_frame_is_seen_at_the_levels_of_its_pyramid(tiny_model):
    plane = np.random.default_rng(0).integers(0, 255, (300, 320), dtype=np.uint8)
    coarser = 255 - plane[::2, ::2]
    key = StackKey("image", (2, 3), 1, ((0, 1),))
    data, following = (np.stack([each * 0, each])[:, None] for each in (plane, coarser))
    here = StackSource(key, data, False, (0.0, 255.0), coarser=(following,))
    box = BoxPrompt((10.0, 10.0, 200.0, 210.0))
    (found,) = Engine(lambda choice: tiny_model).run_frames(NANO, here, {(2, 0): (box,)}, {0})
    expected, other = (
        LargeImagePredictor(tiny_model, levels, (0.0, 255.0)).predict([box]).best.logits
        for levels in ([plane, coarser], plane)
    )
    np.testing.assert_array_equal(found.crops[0].logits, expected)
    assert not np.array_equal(expected, other)


def test_volumes_of_a_film_share_one_budget(tiny_model, discs):
    film = np.stack([discs[0]] * 3)
    volumes = [source(film, key=StackKey("film", (2, 3), 1, ((0, time),))) for time in range(3)]
    click = {(1, 0): (PointPrompt((30.0, 30.0)),)}
    engine = Engine(lambda choice: tiny_model)

    def run(volume, memory):
        engine.memory = memory
        found = [result.masks for result in engine.propagate(NANO, volume, click, "forward")]
        return found, engine.memory

    def held(*memories):
        tracks = [track for memory in memories for track in memory.snapshot.tracks.values()]
        known = {m for t in tracks for m in (*t.conditioning.values(), *t.tracked.values())}
        return sum(memory.nbytes for memory in known)

    wanted, memory = run(volumes[0], None)
    whole = held(memory)  # of one volume
    engine = Engine(lambda choice: tiny_model)
    engine.memory_budget = 2 * whole  # half of it is for encoded planes
    memories = [run(volume, None)[1] for volume in volumes]
    assert whole / 2 < held(*memories) <= whole
    again, _ = run(volumes[0], memories[0])  # from disk
    np.testing.assert_array_equal(again, wanted[1:])  # it knows the click already


def test_an_object_that_was_deleted_is_taken_back_whatever_frame_is_asked_for():
    bench = Bench()
    list(bench.engine.run_frames(NANO, source(), {(1, 2): A, (2, 4): A}, {2, 4}))
    list(bench.engine.run_frames(NANO, source(), {(2, 4): B}, {4}))
    assert bench.predictors[0].calls[2:] == [("remove object", 1), ("add", 2, 4, B)]


def test_a_frame_run_tells_of_what_is_prompted_there_alone(tiny_model, discs):
    stack, truth = discs
    engine = Engine(lambda choice: tiny_model, Predictors())
    here = source(stack)
    masks = [(MaskPrompt(truth[frame] == number),) for number, frame in ((1, 0), (2, 3))]
    prompts = {(1, 0): masks[0], (2, 3): masks[1]}
    list(engine.run_frames(NANO, here, prompts, {0, 3}))
    passed = list(engine.propagate(NANO, here, prompts, objects=(2,)))
    assert {tuple(result.object_ids) for result in passed if result.frame != 0} == {(2,)}
    assert {tuple(result.object_ids) for result in engine.propagate(NANO, here, prompts)} == {
        (1, 2)
    }
    corrected = {**prompts, (2, 3): (MaskPrompt(truth[2] == 2),)}
    (result,) = engine.run_frames(NANO, here, corrected, {3})
    assert result.object_ids == (2,)
