from __future__ import annotations

import torch

from napari_sam2.inference.feature_store import FeatureStore
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


def test_what_leaves_memory_comes_back_from_the_store(tmp_path):
    store = FeatureStore(tmp_path, torch.device("cpu"))
    cache = FeatureCache(encode, budget=1200, store=store)
    for frame in (0, 1, 2, 0, 1, 2):
        assert cache[frame].embedding[0, 0, 0, 0] == frame
    assert cache.encoded == 3


def test_half_is_kept_after_shrinking():
    cache = FeatureCache(encode, budget=10**6)
    for frame in range(6):
        cache[frame]
    assert cache.shrink()
    assert list(cache._kept) == [3, 4, 5]
    assert cache.shrink()
    assert list(cache._kept) == [5]
    assert not cache.shrink()


def test_shrinking_takes_no_memory(tmp_path, monkeypatch):
    cache = FeatureCache(encode, 10**6, FeatureStore(tmp_path, torch.device("cpu")))
    for frame in range(4):
        cache[frame]

    def put(*_):
        raise MemoryError

    monkeypatch.setattr(cache.store, "put", put)
    assert cache.shrink()
    assert list(cache._kept) == [2, 3]
