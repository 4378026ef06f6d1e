"""Generated sequences: objects that can be seen, and labels that say where."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from napari_sam2.training.config import Stage
from napari_sam2.training.generated import generated_sequence
from napari_sam2.training.samples import Samples


@pytest.mark.parametrize("seed", range(12))
def test_images_and_labels_are_whole(seed):
    image, labels = generated_sequence(np.random.default_rng(seed), 3, 96)
    assert image.shape == labels.shape == (3, 96, 96)
    assert 0 <= image.min() < image.max() <= 1
    assert np.isfinite(image).all()
    again, _ = generated_sequence(np.random.default_rng(seed), 3, 96)
    np.testing.assert_array_equal(image, again)


def test_objects_can_be_told_from_the_background():
    seen = []
    for seed in range(30):
        image, labels = generated_sequence(np.random.default_rng(seed), 1, 96)
        inside, outside = image[labels > 0], image[labels == 0]
        if len(inside) > 200 and len(outside) > 200:
            seen.append(abs(inside.mean() - outside.mean()) / (image.std() + 1e-6))
    assert np.median(seen) > 0.4


def test_objects_appear_and_vanish():
    counts = [
        {
            (int(label), bool((labels[0] == label).any()), bool((labels[-1] == label).any()))
            for label in np.unique(labels[labels > 0])
        }
        for labels in (generated_sequence(np.random.default_rng(s), 6, 96)[1] for s in range(12))
    ]
    found = {(first, last) for objects in counts for _, first, last in objects}
    assert found >= {(True, True), (True, False), (False, True)}


def divisions(labels):
    """How many objects are followed on the next frame by two that were not there before."""
    count = 0
    for before, after in itertools.pairwise(labels):
        gone, new = set(np.unique(before)) - set(np.unique(after)), np.unique(after)
        for mother in gone - {0}:
            there = np.unique(after[before == mother])
            count += np.isin(there, new[~np.isin(new, before)]).sum() == 2
    return count


def test_objects_divide_as_time_runs_either_way():
    films = [generated_sequence(np.random.default_rng(seed), 6, 96)[1] for seed in range(24)]
    assert sum(divisions(labels) > 2 for labels in films) >= 2
    assert sum(divisions(labels[::-1]) > 2 for labels in films) >= 2


def test_batches_of_generated_sequences():
    stage = Stage("any", steps=4, learning_rate=1e-3, size=64, images=2, objects=3, frames=3,
                  videos=1, video_share=0.5)  # fmt: skip
    samples = Samples([], {"generated": 1.0}, stage, seed=0)
    for step in range(4):
        batch = samples[step]
        assert batch.images.shape[2:] == (3, 64, 64)
        assert batch.masks(0).flatten(1).any(dim=1).all()
        masks = torch.stack([batch.masks(frame) for frame in range(batch.images.shape[1])], dim=1)
        assert (masks.sum(dim=(1, 2, 3)) > 0).all()
