from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
import torch

from napari_sam2 import PointPrompt, VideoPredictor
from napari_sam2.inference.feature_store import FeatureStore, default_store
from napari_sam2.inference.load import Model
from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.sam2 import Sam2

CPU = torch.device("cpu")


def features(value, dtype=torch.float32):
    torch.manual_seed(value)
    return ImageFeatures(*(torch.randn(1, 4, 8, 8).to(dtype) for _ in range(3)))


def assert_equal(first, second):
    for name, tensor in vars(first).items():
        other = getattr(second, name)
        assert other.dtype == tensor.dtype
        assert torch.equal(other, tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_come_back_bit_for_bit(tmp_path, dtype):
    store = FeatureStore(tmp_path / "new", CPU)
    assert store.get("a") is None
    store.put("a", features(1, dtype))
    assert_equal(store.get("a"), features(1, dtype))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.features"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-5], lambda b: b[:40] + b"x" + b[41:], lambda b: b""]
)
def test_a_damaged_entry_is_removed(tmp_path, damage):
    store = FeatureStore(tmp_path, CPU)
    store.put("a", features(1))
    path = tmp_path / "a.features"
    path.write_bytes(damage(path.read_bytes()))
    assert store.get("a") is None
    assert not path.exists()
    store.put("a", features(1))
    assert_equal(store.get("a"), features(1))


def test_the_least_recently_used_make_room(tmp_path):
    store = FeatureStore(tmp_path, CPU)
    store.put("a", features(1))
    size = (tmp_path / "a.features").stat().st_size
    store.budget = int(2.5 * size)
    store.put("b", features(2))
    for age, name in enumerate(("b", "a")):
        os.utime(tmp_path / f"{name}.features", (1000 - age, 1000 - age))
    store.get("a")
    store.put("c", features(3))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "c"]


def test_what_another_process_is_writing_stays_until_it_is_abandoned(tmp_path):
    unfinished = tmp_path / ".b.1.part.features"
    unfinished.write_bytes(bytes(10_000))
    store = FeatureStore(tmp_path, CPU, budget=12_000)
    store.put("a", features(1))
    assert unfinished.exists()
    os.utime(unfinished, (1000, 1000))
    store.put("c", features(2))
    store.budget = 5_000
    store.put("d", features(3))
    assert not unfinished.exists()


def test_a_full_disk_is_told_once_and_ends_the_storing(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, CPU, budget=10)
    with pytest.warns(UserWarning, match=r"could not be kept .*NAPARI_SAM2_FEATURES"):
        store.put("a", features(1))
    store.budget = 10**9
    store.put("b", features(1))
    assert not list(tmp_path.iterdir())


def _put_and_get(folder, start):
    store = FeatureStore(folder, CPU, budget=20_000)
    for step in range(60):
        key = (start + step) % 20
        store.put(str(key), features(key))
        found = store.get(str((key * 7) % 20))
        if found is not None:
            assert_equal(found, features((key * 7) % 20))


def test_two_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_put_and_get, args=(tmp_path, 10 * n)) for n in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert not list(tmp_path.glob("*.part*"))


def test_only_a_cpu_stores_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM2_FEATURES", str(tmp_path))
    assert default_store(CPU).folder == tmp_path
    assert default_store(torch.device("cuda")) is None
    monkeypatch.setenv("NAPARI_SAM2_FEATURES", "off")
    assert default_store(CPU) is None


def test_another_predictor_finds_what_was_encoded(tiny_model, discs, tmp_path):
    store = FeatureStore(tmp_path, CPU)

    def encoded(model=tiny_model, stack=discs[0], limits=None):
        video = VideoPredictor(model, stack, limits, memory_budget=0, store=store)
        video.add_prompts(1, 0, [PointPrompt((30, 30))])
        masks = [result.masks for result in video.propagate("forward")]
        return video.features.encoded, masks

    count, masks = encoded()
    again, same = encoded()
    # the last frame never left memory, and what never left it was not stored
    assert (count, again) == (8, 1)
    for one, other in zip(masks, same, strict=True):
        np.testing.assert_array_equal(one, other)
    assert encoded(limits=(0.0, 200.0))[0] == 8
    assert encoded(stack=discs[0][:, ::-1])[0] == 8
    torch.manual_seed(1)
    network = Sam2(tiny_model.config).eval().requires_grad_(False)
    assert encoded(Model(network, CPU, torch.float32))[0] == 8


def test_masks_from_stored_features_are_the_same_bit_by_bit(nano, discs, tmp_path):
    store = FeatureStore(tmp_path, CPU)
    logits = []
    for expected in (3, 0):
        video = VideoPredictor(nano, discs[0][:3], memory_budget=10**9, store=store)
        video.add_prompts(1, 0, [PointPrompt((30, 30))])
        list(video.propagate("forward"))
        assert video.features.encoded == expected
        logits.append([video._tracks[1].get(frame).logits for frame in range(3)])
        for frame in range(3):
            store.put(video._planes.key(frame), video.features[frame])
    for one, other in zip(*logits, strict=True):
        assert torch.equal(one, other)
