import numpy as np
import pytest

from napari_sam2.sample_data.nuclei import dividing_nuclei, still_nuclei

SMALL = (16, 96, 96)


@pytest.fixture(scope="module")
def timelapse():
    return dividing_nuclei((5, 16, 128, 128), count=5, divisions=2, seed=3, radius=5.0)


def test_same_seed_same_stack():
    first = still_nuclei(SMALL, count=3, seed=5, radius=5.0)
    again = still_nuclei(SMALL, count=3, seed=5, radius=5.0)
    other = still_nuclei(SMALL, count=3, seed=6, radius=5.0)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[1] != other[1]).any()


def test_stack_has_the_asked_shape_dtype_and_labels():
    image, truth = still_nuclei(SMALL, count=3, seed=0, radius=5.0)
    assert image.shape == truth.shape == SMALL
    assert image.dtype == truth.dtype == np.uint16
    np.testing.assert_array_equal(np.unique(truth), [0, 1, 2, 3])


def test_nuclei_are_brighter_than_their_surroundings():
    image, truth = still_nuclei((24, 128, 128), count=6, seed=1, radius=6.0)
    background = np.percentile(image[truth == 0], 90)
    for label in range(1, 7):
        assert np.median(image[truth == label]) > 1.5 * background


def test_each_nucleus_is_one_piece():
    from skimage.measure import label as connected

    _, truth = still_nuclei((24, 128, 128), count=6, seed=1, radius=6.0)
    for label in range(1, 7):
        pieces = np.bincount(connected(truth == label).ravel())[1:]
        # a neighbour may cut off a voxel or two
        assert pieces.max() > 0.98 * pieces.sum()


def test_labels_are_constant_until_a_nucleus_divides(timelapse):
    _, truth, parents = timelapse
    seen = {label: np.flatnonzero((truth == label).any((1, 2, 3))) for label in range(1, 10)}
    for label, times in seen.items():
        assert (np.diff(times) == 1).all()
        if label not in parents:
            assert times[0] == 0
        if label not in parents.values():
            assert times[-1] == len(truth) - 1
    assert truth.max() == 9


def test_daughters_begin_where_and_when_their_mother_ends(timelapse):
    _, truth, parents = timelapse
    assert sorted(parents) == [6, 7, 8, 9]
    for daughter, mother in parents.items():
        last = np.flatnonzero((truth == mother).any((1, 2, 3)))[-1]
        first = np.flatnonzero((truth == daughter).any((1, 2, 3)))[0]
        assert first == last + 1
        before = np.argwhere(truth[last] == mother)
        after = np.argwhere(truth[first] == daughter)
        assert 0.25 < len(after) / len(before) < 0.7
        distance = (after.mean(0) - before.mean(0)) * (1.0, 0.5, 0.5)
        assert np.linalg.norm(distance) < 10.0


def test_nuclei_move_less_than_their_own_size_in_one_step(timelapse):
    _, truth, parents = timelapse
    for label in set(range(1, 6)) - set(parents.values()):
        centres = np.array([np.argwhere(plane == label).mean(0) for plane in truth])
        steps = np.linalg.norm(np.diff(centres, axis=0) * (1.0, 0.5, 0.5), axis=1)
        assert 0 < steps.max() < 5.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (3, 8, 32, 32), "count": 50, "divisions": 0}, "do not fit"),
        ({"shape": (3, 16, 96, 96), "count": 2, "divisions": 3}, "cannot divide"),
        ({"shape": (1, 16, 96, 96), "count": 2, "divisions": 1}, "two time points"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dividing_nuclei(**arguments, seed=0)
