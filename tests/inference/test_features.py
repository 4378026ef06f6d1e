from __future__ import annotations

import torch

from napari_sam2.inference.features import FeatureCache
from napari_sam2.model.neck import ImageFeatures


def encode(frame):
    return ImageFeatures(*(torch.full((1, 1, 10, 10), float(frame)) for _ in range(3)))


def test_the_budget_holds_and_the_least_used_frame_goes():
    cache = FeatureCache(encode, budget=3 * 1200)
    for frame in (0, 1, 2, 0, 3):
        assert cache[frame].embedding[0, 0, 0, 0] == frame
    assert cache.encoded == 4
    assert list(cache._kept) == [2, 0, 3]
    cache[1]
    assert cache.encoded == 5


def test_one_frame_is_kept_whatever_the_budget():
    cache = FeatureCache(encode, budget=0)
    cache[0]
    cache[0]
    assert cache.encoded == 1
