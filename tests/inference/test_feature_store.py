from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_sam2 import PointPrompt, VideoPredictor
from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference.feature_store import FeatureStore, default_store
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.load import Model
from napari_sam2.inference.planes import ShownPlanes
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


def test_a_full_disk_is_told_once_and_ends_the_storing(tmp_path):
    store = FeatureStore(tmp_path, CPU, budget=10)
    with pytest.warns(UserWarning, match=r"could not be kept .*NAPARI_SAM2_FEATURES"):
        store.put("a", features(1))
    store.budget = 10**9
    store.put("b", features(1))
    assert not list(tmp_path.iterdir())
    with warnings.catch_warnings(action="error"):  # nor is it by the next predictor
        FeatureStore(tmp_path, CPU, budget=10).put("a", features(1))
    store = FeatureStore(tmp_path, CPU)
    store.put("a", features(1))
    assert_equal(store.get("a"), features(1))


def test_nothing_is_removed_in_vain(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, CPU)
    for name in "abc":
        store.put(name, features(1))
    disk = SimpleNamespace(total=10**9, free=10**8 - 20_000)  # less than the spare
    monkeypatch.setattr("napari_sam2.inference.feature_store.shutil.disk_usage", lambda _: disk)
    with pytest.warns(UserWarning, match="do not fit"):
        store.put("d", features(2))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "b", "c"]
    disk.free = 10**8 - 1000
    FeatureStore(tmp_path, CPU).put("e", features(2))
    assert len(list(tmp_path.iterdir())) == 2


def test_what_another_process_reads_on_windows_stays(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, CPU)
    for age, name in enumerate("cba"):
        store.put(name, features(1))
        os.utime(tmp_path / f"{name}.features", (1000 - age, 1000 - age))
    store.budget = int(3.5 * (tmp_path / "a.features").stat().st_size)
    unlink = os.unlink

    def used(path):
        if "a.features" in str(path):
            raise PermissionError
        unlink(path)

    monkeypatch.setattr(os, "unlink", used)
    store.put("d", features(2))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_the_folder_is_not_looked_through_for_each_entry(tmp_path, monkeypatch):
    scans = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scans.append(path) or scandir(path))
    store = FeatureStore(tmp_path, CPU)
    for name in range(70):
        store.put(str(name), features(1))
    assert len(scans) == 2
    size = (tmp_path / "1.features").stat().st_size
    store.budget = 80 * size
    other = FeatureStore(tmp_path, CPU)
    for name in range(70, 200):
        store.put(str(name), features(1))
        other.put(f"other {name}", features(1))
    assert len(list(tmp_path.iterdir())) < 80 + 64
    assert len(scans) < 40


def test_a_folder_that_others_own_is_read(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, CPU)
    store.put("a", features(1))

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refused)
    assert_equal(store.get("a"), features(1))


def test_threads_may_store_the_same(tmp_path):
    path, both_write = tmp_path / "a.features", threading.Barrier(2)

    def write(content):
        with replacing(path) as partial:
            partial.write_bytes(content)
            both_write.wait(10)
            assert partial.read_bytes() == content
        return path.read_bytes()

    with ThreadPoolExecutor(2) as executor:
        found = set(executor.map(write, (b"one", b"other")))
    assert found <= {b"one", b"other"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_changes_the_features_changes_the_key(tiny_model, discs, monkeypatch):
    source = FrameSource(discs[0])

    def key(device="cpu", frame=0, limits=(0.0, 255.0)):
        model = Model(tiny_model.network, torch.device(device), torch.float32)
        return ShownPlanes(model, source, limits).key(frame)

    keys = [key(), key("cuda"), key(frame=1), key(limits=(0.0, 200.0))]
    monkeypatch.setattr("napari_sam2.inference.planes.ENCODING", 2)
    keys.append(key())
    assert len(set(keys)) == 5


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
