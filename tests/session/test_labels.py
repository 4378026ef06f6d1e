import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.session.labels import MaskOverlay, label_image, write_labels
from napari_sam2.session.values import FrameChange, ObjectMask, StackKey

SHAPE = (2, 3, 5, 6)  # t, z, y, x
ALONG_Z = StackKey("image", (2, 3), 1, ((0, 0),))
# along z at both times, along t through the same planes, and along y across them
STACKS = (
    ALONG_Z,
    StackKey("image", (2, 3), 1, ((0, 1),)),
    StackKey("image", (2, 3), 0, ((1, 1),)),
    StackKey("image", (1, 3), 2, ((0, 0),)),
)
OBJECTS = (1, 2, 300)


def mask(rows, columns, logit=5.0):
    shape = rows.stop - rows.start, columns.stop - columns.start
    crop = MaskCrop(np.full(shape, logit, np.float16), (rows.start, columns.start))
    return ObjectMask(crop, 1.0, True)


def change(before, after, frame=0, stack=ALONG_Z):
    return FrameChange(stack, frame, before, after)


BOX = mask(slice(1, 4), slice(1, 4))
INSIDE = np.s_[0, 0, 1:4, 1:4]


@pytest.fixture
def labels():
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 0, 2] = 9
    return labels


def test_a_covered_label_comes_back(labels):
    first, overlay = labels.copy(), MaskOverlay()
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    assert (labels[INSIDE] == 1).all()
    assert (labels == 9).sum() == 3
    smaller = mask(slice(1, 4), slice(1, 3))
    overlay.write(labels, change({1: BOX}, {1: smaller}), protect=False)
    assert labels[0, 0, :, 3].tolist() == [0, 0, 9, 0, 0]
    overlay.write(labels, change({1: smaller}, {}), protect=False)
    np.testing.assert_array_equal(labels, first)


@pytest.mark.parametrize(("number", "dtype"), [(65535, np.uint16), (70001, np.uint32)])
def test_no_number_is_too_large_for_labels_of_an_image(number, dtype):
    found = label_image({ALONG_Z: {0: {number: BOX}}}, SHAPE)
    assert found.dtype == dtype
    assert (found[INSIDE] == number).all()
    assert label_image({}, SHAPE).dtype == np.uint16


def test_protection_is_switched_on_and_off(labels):
    overlay, expected = MaskOverlay(), labels.copy()
    write_labels(expected, change({}, {1: BOX}))
    same = change({1: BOX}, {1: BOX})
    for protect in (False, True, False):
        overlay.write(labels, same, protect)
        assert (labels[0, 0, 2, 1:4] == (9 if protect else 1)).all()
    overlay.write(labels, same, protect=True)
    np.testing.assert_array_equal(labels, expected)


def test_between_objects_the_larger_logit_wins_over_a_covered_label(labels):
    overlay = MaskOverlay()
    both = {1: BOX, 2: mask(slice(2, 4), slice(2, 6), logit=6.0)}
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    overlay.write(labels, change({1: BOX}, both), protect=False)
    assert labels[0, 0, 2].tolist() == [9, 1, 2, 2, 2, 2]
    overlay.write(labels, change(both, {1: BOX}), protect=False)
    assert labels[0, 0, 2].tolist() == [9, 1, 1, 1, 9, 9]


def test_what_somebody_has_written_over_a_mask_stays(labels):
    overlay = MaskOverlay()
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    labels[0, 0, 2, 1], labels[0, 0, 2, 2] = 7, 0
    overlay.write(labels, change({1: BOX}, {}), protect=False)
    assert labels[0, 0, 2].tolist() == [9, 7, 0, 9, 9, 9]


def test_a_label_with_the_number_of_an_object_is_that_objects(labels):
    labels[0, 0, 3] = 2
    overlay = MaskOverlay()
    elsewhere = mask(slice(0, 1), slice(4, 6))
    overlay.write(labels, change({}, {1: BOX, 2: elsewhere}), protect=False)
    assert labels[0, 0, :, 1].tolist() == [0, 1, 1, 2, 0]


def test_a_number_that_the_array_cannot_hold_is_left_out(labels):
    first, overlay = labels.copy(), MaskOverlay()
    overlay.write(labels, change({}, {300: BOX}), protect=False)
    np.testing.assert_array_equal(labels, first)
    overlay.write(labels, change({300: BOX}, {1: BOX, 300: BOX}), protect=False)
    assert (labels[INSIDE] == 1).all()


def test_what_is_remembered_is_no_more_than_what_is_covered(labels):
    overlay = MaskOverlay()
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    (pixels,) = overlay._covered.values()
    np.testing.assert_array_equal(pixels.where, [[0, 0, 2, column] for column in (1, 2, 3)])
    overlay.write(labels, change({1: BOX}, {}), protect=False)
    assert not overlay._covered


def test_a_write_that_fails_forgets_nothing(labels):
    first, overlay = labels.copy(), MaskOverlay()
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    labels.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        overlay.write(labels, change({1: BOX}, {}), protect=False)
    labels.flags.writeable = True
    overlay.write(labels, change({1: BOX}, {}), protect=False)
    np.testing.assert_array_equal(labels, first)


def test_the_same_object_in_crossing_stacks_gives_the_label_back(labels):
    first, overlay = labels.copy(), MaskOverlay()
    across = StackKey("image", (1, 3), 2, ((0, 0),))
    row = {1: mask(slice(0, 2), slice(0, 4))}
    overlay.write(labels, change({}, {1: BOX}), protect=False)
    overlay.write(labels, change({}, row, 2, across), protect=False)
    overlay.write(labels, change(row, {}, 2, across), protect=False)
    overlay.write(labels, change({1: BOX}, {}), protect=False)
    np.testing.assert_array_equal(labels, first)


@st.composite
def masks(draw, shape):
    found = {}
    for number in draw(st.sets(st.sampled_from(OBJECTS))):
        logits = hnp.arrays(np.float16, shape, elements=st.sampled_from([-1.0, 0.0, 2.0, 3.0]))
        crop = MaskCrop(draw(logits), (0, 0))
        found[number] = ObjectMask(crop, 1.0, True)
    return found


@st.composite
def writes(draw):
    """A stack, one of its frames, and the masks that it shows from now on."""
    stack = draw(st.sampled_from(STACKS))
    frame = draw(st.integers(0, SHAPE[stack.frame_axis] - 1))
    first, second = stack.plane_axes
    return stack, frame, draw(masks((SHAPE[first], SHAPE[second])))


@pytest.mark.parametrize("kind", ["numpy", "zarr"])
@settings(max_examples=60, deadline=None)
@given(
    first=hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 7, 8, 255])),
    steps=st.lists(st.tuples(writes(), st.booleans()), max_size=8),
    data=st.data(),
)
def test_taking_everything_away_restores_the_array(kind, first, steps, data):
    labels = first.copy() if kind == "numpy" else zarr.array(first, chunks=(1, 2, 3, 3))
    overlay, shown = MaskOverlay(), {}
    for (stack, frame, after), protect in steps:
        overlay.write(
            labels, FrameChange(stack, frame, shown.get((stack, frame), {}), after), protect
        )
        shown[stack, frame] = after
    for stack, frame in data.draw(st.permutations(list(shown))):
        overlay.write(labels, FrameChange(stack, frame, shown[stack, frame], {}), protect=False)
    np.testing.assert_array_equal(np.asarray(labels[:]), first)
    assert not overlay._covered
