"""Tracks that divide, from masks that are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2 import OverTime, StackSegmenter
from napari_sam2.inference.automatic import over_time
from napari_sam2.sample_data.nuclei import dividing_nuclei

SHAPE = (64, 96)


def shuffled(plane, limits):
    numbers = np.random.default_rng(int(plane.sum())).permutation(np.arange(1, 100))
    return np.where(plane, numbers[plane], 0)


def film(*frames):
    """Labels of discs; for each frame a dict of label to (row, column, radius)."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros((len(frames), *SHAPE), np.uint8)
    for plane, discs in zip(labels, frames, strict=True):
        for label, (row, column, radius) in discs.items():
            plane[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = label
    return labels


def track(truth, link=None):
    return StackSegmenter(shuffled, link or OverTime()).segment(truth)


def renamed(truth, found):
    """The number of each true label; fails where it is not the same everywhere."""
    numbers = {}
    for label in np.unique(truth)[1:]:
        own = np.unique(found.labels[truth == label])
        assert len(own) == 1, label
        numbers[int(label)] = int(own[0])
    assert len(set(numbers.values())) == len(numbers)
    return numbers


@pytest.mark.parametrize("seed", [0, 1])
def test_generated_nuclei_are_tracked_through_their_divisions(seed):
    _, truth, parents = dividing_nuclei((8, 1, 128, 128), count=4, divisions=3, seed=seed)
    found = track(truth[:, 0])
    numbers = renamed(truth[:, 0], found)
    wanted = {numbers[daughter]: numbers[mother] for daughter, mother in parents.items()}
    assert found.parents == wanted
    assert found.graph == {daughter: [mother] for daughter, mother in wanted.items()}
    frames, labels = np.nonzero(
        np.stack([np.bincount(plane.ravel(), minlength=11) for plane in found.labels])[:, 1:]
    )
    assert sorted(zip(labels + 1, frames, strict=True)) == [
        (number, frame) for number, frame, *_ in found.tracks
    ]


def test_neighbours_that_move_far_are_not_exchanged():
    truth = film(*({1: (20, 20 + 9 * t, 8), 2: (20, 42 + 9 * t, 8)} for t in range(4)))
    assert track(truth).parents == {}
    renamed(truth, track(truth))


def test_a_missed_frame_is_filled_in_on_the_way():
    truth = film(*({1: (20, 20 + 6 * t, 8)} for t in range(5)))
    holed = truth.copy()
    holed[2] = 0
    found = track(holed)
    np.testing.assert_array_equal(found.labels, truth)
    assert [1, 2, 20, 32] in found.tracks.tolist()
    assert track(holed, OverTime(gap=0)).labels.max() == 2


def test_one_that_comes_into_view_beside_another_is_no_daughter():
    here = {1: (20, 40, 10)}
    truth = film(here, here, {**here, 2: (20, 57, 6)}, {**here, 2: (20, 57, 6)})
    found = track(truth)
    assert found.parents == {}
    renamed(truth, found)


def test_of_two_that_go_on_from_one_but_are_no_daughters_the_nearer_does():
    here = {1: (20, 40, 10)}
    truth = film(here, here, {2: (20, 25, 6), 1: (20, 41, 10)}, {2: (20, 25, 6), 1: (20, 41, 10)})
    truth[2:][truth[2:] > 0] = 3 - truth[2:][truth[2:] > 0]  # the farther one is the first label
    found = track(truth)
    assert found.labels[0, 20, 40] == found.labels[3, 20, 41]
    assert found.parents == {}


def test_a_mask_that_falls_into_two_for_a_frame_is_no_division():
    whole, parts = {1: (30, 40, 12)}, {2: (30, 33, 6), 3: (30, 48, 6)}
    found = track(film(whole, whole, parts, whole, whole))
    assert found.parents == {}
    assert len(track(film(whole, whole, parts)).parents) == 2


def test_without_divisions_a_daughter_is_another_object():
    mother, daughters = {1: (30, 40, 12)}, {2: (30, 31, 8), 3: (30, 49, 8)}
    truth = film(mother, mother, daughters, daughters)
    assert len(track(truth).parents) == 2
    found = track(truth, OverTime(divisions=False))
    assert found.parents == {}
    assert set(np.unique(found.labels)) == {0, 1, 2}


def test_tracks_that_are_too_short_are_left_out():
    truth = film(*({1: (20, 20, 8), **({2: (45, 70, 8)} if t == 2 else {})} for t in range(5)))
    assert track(truth).labels.max() == 1
    assert track(truth, OverTime(least_frames=1)).labels.max() == 2


def test_nothing_found_is_no_track():
    for frames in (1, 3):
        found = track(np.zeros((frames, *SHAPE), np.uint8))
        assert not found.labels.any()
        assert found.tracks.shape == (0, 4)


def test_a_single_frame_with_objects_is_linked_to_nothing():
    found = track(film({1: (20, 20, 8)}), OverTime(least_frames=1))
    assert found.labels.max() == 1


@pytest.mark.parametrize("settings", [{"max_distance": 0}, {"gap": -1}, {"least_frames": -1}])
def test_settings_without_a_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        OverTime(**settings)


def test_without_laptrack_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setattr(over_time, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'napari-sam2\[tracking\]'"):
        OverTime()
