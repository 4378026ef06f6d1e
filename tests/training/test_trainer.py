"""Whole runs of a tiny model on two discs."""

from __future__ import annotations

import csv
import shutil
import signal
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from skimage.io import imread
from tests.conftest import TINY

from napari_sam2.checkpoints.read import write_checkpoint
from napari_sam2.inference.load import load_model
from napari_sam2.model.config import VARIANTS
from napari_sam2.training import saving, trainer
from napari_sam2.training.config import ModelConfig, Stage, TrainingConfig
from napari_sam2.training.errors import TrainingError
from napari_sam2.training.sources import DataSource
from napari_sam2.training.trainer import Trainer

try:
    import resource
except ImportError:  # Windows
    resource = None

SMALL = Stage(
    "small", steps=4, learning_rate=1e-3, size=64, images=2, objects=3, videos=1, frames=3,
    diameters=(14, 30),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    monkeypatch.setitem(VARIANTS, "random", TINY)


@pytest.fixture
def run(tmp_path, discs):
    """A run's configuration on discs in a file."""
    for name, array in zip(("raw", "truth"), discs, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", array)
    source = DataSource("discs", "raw.tif", "truth.tif", train_planes="0:5", validation_planes="6:")

    def run(*stages, model=None, **options):
        model = model or ModelConfig("scratch", "random")
        return TrainingConfig(stages, (source,), model, folder=tmp_path, **options)

    return run


@pytest.fixture
def pretrained(tmp_path, tiny_model):
    """The file of a model to start from."""
    path = tmp_path / "start.safetensors"
    write_checkpoint(path, "random", tiny_model.network.state_dict(), torch.float32)
    return str(path)


@pytest.mark.parametrize(("place", "optimizer"), [((0, 2), "adamw"), ((1, 2), "muon")])
def test_a_run_resumes_where_it_stopped(run, tmp_path, monkeypatch, place, optimizer):
    stages = replace(SMALL, name="a", prompts=False), replace(SMALL, name="b", video_share=0.5)
    config = run(*stages, optimizer=optimizer)
    whole = Trainer(config, tmp_path / "whole")
    whole.run()

    broken = Trainer(config, tmp_path / "broken", save_every=0.0)
    steps = broken._train

    def fail_midway(stage, batch):
        if (broken.stage, broken.step) == place:
            raise KeyboardInterrupt
        return steps(stage, batch)

    monkeypatch.setattr(broken, "_train", fail_midway)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = Trainer(config, tmp_path / "broken")
    assert (resumed.stage, resumed.step) == place
    resumed.run()
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_run_leaves_a_model_curves_and_pictures(run, tmp_path, capsys):
    dense = replace(SMALL, name="dense", steps=1, prompts=False)
    config = run(dense, SMALL, name="better", picture_every=2)
    path = Trainer(config, tmp_path / "out").run()
    assert path == tmp_path / "out" / "better.safetensors"
    load_model(path, device="cpu")
    with (tmp_path / "out" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["stage"] for row in rows} == {"dense", "small"}
    assert {"loss", "click"} <= {row["figure"] for row in rows}
    pictures = sorted((tmp_path / "out" / "pictures").iterdir())
    assert [p.name for p in pictures] == [
        "1_dense_000001.png", "2_small_000002.png", "2_small_000004.png"
    ]  # fmt: skip
    assert imread(pictures[0]).std() > 10
    printed = capsys.readouterr().out
    assert "s left" in printed
    assert "of the foreground" in printed
    assert "on planes kept out of training" in printed
    again = Trainer(config, tmp_path / "out")
    assert again.stage == 2  # complete


def test_positions_stay_as_fine_per_pixel_when_the_size_changes(run, tmp_path):
    config = run(replace(SMALL, steps=1), replace(SMALL, steps=1, size=128))
    trained = Trainer(config, tmp_path / "out")
    matrix = trained.model.prompt_encoder.fourier.matrix.clone()
    path = trained.run()
    torch.testing.assert_close(trained.model.prompt_encoder.fourier.matrix, 2 * matrix)
    # the file is for the model's own size
    exported = load_model(path, device="cpu").network.prompt_encoder.fourier.matrix
    torch.testing.assert_close(exported, matrix, atol=1e-3, rtol=1e-3)


def test_a_model_tuned_at_another_size_keeps_its_own(run, tmp_path, pretrained, tiny_model):
    config = run(replace(SMALL, steps=1, size=128), model=ModelConfig(pretrained))
    trained = Trainer(config, tmp_path / "out")
    before = tiny_model.network.prompt_encoder.fourier.matrix
    path = trained.run()
    torch.testing.assert_close(trained.model.prompt_encoder.fourier.matrix, 2 * before)
    exported = load_model(path, device="cpu")
    assert exported.config.image_size == TINY.image_size
    torch.testing.assert_close(
        exported.network.prompt_encoder.fourier.matrix, before, atol=1e-3, rtol=1e-3
    )


def test_windows_may_be_parts_of_the_input(run, tmp_path, pretrained, tiny_model, monkeypatch):
    seen = []
    step = trainer.run_step

    def watched(model, head, batch, *rest):
        seen.append((model.image_encoder.trunk.part, batch.images.shape[-1]))
        return step(model, head, batch, *rest)

    def drawn(model, *rest):
        pictured.append(model.config.image_size)
        return draw(model, *rest)

    pictured, draw = [], trainer.draw_predictions
    monkeypatch.setattr(trainer, "run_step", watched)
    monkeypatch.setattr(trainer, "draw_predictions", drawn)
    config = run(
        replace(SMALL, steps=12, whole=128, video_share=0.5),
        model=ModelConfig(pretrained),
        picture_every=6,
    )
    trained = Trainer(config, tmp_path / "out")
    before = tiny_model.network.prompt_encoder.fourier.matrix
    path = trained.run()
    parts, sizes = zip(*seen, strict=True)
    assert set(sizes) == {64}
    assert pictured == [128, 128]
    assert {part.side for part in parts} == {0.5}
    assert {part.top for part in parts} == {part.left for part in parts} == {0.0, 0.25, 0.5}
    # positions are those of the whole: twice the side that the model has by itself
    torch.testing.assert_close(trained.model.prompt_encoder.fourier.matrix, 2 * before)
    assert trained.model.image_encoder.trunk.part is None
    load_model(path, device="cpu")


@pytest.mark.parametrize("adapt", ["all", "decoder", "adapters", "memory"])
def test_what_learns_and_what_does_not(run, tmp_path, pretrained, tiny_model, adapt):
    stage = replace(SMALL, steps=2, video_share=0.5, learning_rate=1e-2)
    if adapt == "memory":
        stage = replace(stage, video_share=1.0)
    config = run(stage, model=ModelConfig(pretrained, adapt=adapt, rank=2))
    trained = Trainer(config, tmp_path / "out")
    path = trained.run()
    learning = sum(p.numel() for p in trained._parameters())
    groups = [group for one in trained.optimizers for group in one.param_groups]
    assert sum(len(group["params"]) for group in groups) == len(trained._parameters())
    assert learning < sum(p.numel() for p in trained.model.parameters()) or adapt == "all"
    before = tiny_model.network.state_dict()
    after = load_model(path, device="cpu").network.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if (after[name] - before[name]).abs().max() > 1e-3}
    encoder = {name for name in changed if name.startswith("image_encoder.")}
    assert changed - encoder
    if adapt in ("decoder", "memory"):
        assert not encoder
    if adapt == "memory":
        assert all("decoder" not in name or "presence" in name for name in changed)
    if adapt == "adapters":
        ends = ("qkv.weight", "output.weight", "expand.weight", "contract.weight")
        assert encoder
        assert all(name.endswith(ends) for name in encoder)


def test_adapters_are_merged_exactly(run, tmp_path, pretrained):
    stage = replace(SMALL, steps=2, learning_rate=1e-2)
    config = run(stage, model=ModelConfig(pretrained, adapt="adapters", rank=2))
    trained = Trainer(config, tmp_path / "out")
    trained.run()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        one = trained.model.eval().encode_image(image).embedding
        other = trainer.merged(trained.model).encode_image(image).embedding
    torch.testing.assert_close(one, other)
    resumed = Trainer(config, tmp_path / "out")
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


@pytest.mark.parametrize("variant", ["sam2.1_tiny", "sam2_small", "nano"])
def test_published_variants_are_exported_under_their_name(run, tmp_path, variant, monkeypatch):
    small = replace(TINY, name=variant, version="2.0" if "2_" in variant else "2.1")
    monkeypatch.setitem(VARIANTS, variant, small)
    config = run(replace(SMALL, steps=1), model=ModelConfig("scratch", variant))
    path = Trainer(config, tmp_path / "out").run()
    assert load_model(path, device="cpu").config.name == variant


def test_gradients_of_several_batches_are_added(run, tmp_path):
    config = run(replace(SMALL, steps=2, box_share=0.0, correction_share=0.0), accumulate=3)
    trained = Trainer(config, tmp_path / "out")
    counts = []
    train = trained._train
    trained._train = lambda stage, batches: counts.append(len(batches)) or train(stage, batches)
    trained.run()
    assert counts == [3, 3]


@pytest.mark.skipif(resource is None, reason="needs a limit on the size of files")
def test_a_full_disk_leaves_the_last_checkpoint(run, tmp_path):
    trained = Trainer(run(SMALL), tmp_path / "out")
    trained._save()
    before = trained.checkpoint.read_bytes()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 20, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"the one before is intact.*Make room") as caught:
            trained._save()
        with pytest.raises(TrainingError, match="Make room"):
            trained.export(tmp_path / "out" / "model.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert trained.checkpoint.read_bytes() == before
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names.isdisjoint({"checkpoint.partial.pt", "model.safetensors"})
    assert not any(".part" in name for name in names)


def test_a_disk_with_too_little_room_is_refused_at_once(run, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: usage(1, 1, 10**6))
    with pytest.raises(TrainingError, match="1 MB are free"):
        Trainer(run(SMALL), tmp_path / "out")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
        MemoryError(),
    ],
)
def test_too_little_memory_names_what_to_lower(run, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(trainer, "run_step", fail)
    with pytest.raises(TrainingError, match=r"size = 64, images = 2, objects = 3.*Lower one"):
        Trainer(run(SMALL), tmp_path / "out").run()


def test_a_run_that_learns_nothing_is_stopped(run, tmp_path):
    config = run(replace(SMALL, steps=60), picture_every=0)
    trained = Trainer(config, tmp_path / "out")
    with torch.no_grad():
        trained.model.no_memory_embedding.fill_(float("nan"))
    with pytest.raises(TrainingError, match="Lower the learning_rate of the stage 'small'"):
        trained.run()
    assert trained.step < 30


def test_another_run_is_not_resumed(run, tmp_path):
    Trainer(run(SMALL), tmp_path / "out")._save()
    Trainer(run(replace(SMALL, objects=2)), tmp_path / "out")  # for less memory
    with pytest.raises(TrainingError, match="another run: its stages"):
        Trainer(run(replace(SMALL, steps=9)), tmp_path / "out")
    (tmp_path / "out" / "checkpoint.pt").write_bytes(b"none")
    with pytest.raises(TrainingError, match="damaged"):
        Trainer(run(SMALL), tmp_path / "out")


def test_objects_that_no_window_can_show_are_found_at_once(run, tmp_path):
    config = run(SMALL)
    (source,) = config.data
    config = replace(config, data=(replace(source, smallest_on_plane=5000),))
    with pytest.raises(ValueError, match="Set the stage's diameters"):
        Trainer(config, tmp_path / "out").run()
    assert not (tmp_path / "out" / "curves.csv").exists()


def test_data_that_only_validate_are_not_enough(run, tmp_path):
    config = run(SMALL)
    config = replace(config, data=(replace(config.data[0], train_planes=""),))
    with pytest.raises(ValueError, match="no images to learn from"):
        Trainer(config, tmp_path / "out").run()


def test_sam1_cannot_be_trained(run, tmp_path, monkeypatch, tiny_sam1):
    monkeypatch.setattr("napari_sam2.training.adapt.load_model", lambda *_, **__: tiny_sam1)
    with pytest.raises(ValueError, match="training is for SAM 2"):
        Trainer(run(SMALL, model=ModelConfig("sam_vit_b")), tmp_path / "out")


def test_presence_is_calibrated_where_asked_for(run, tmp_path, capsys):
    config = run(replace(SMALL, steps=1), calibrate_presence="discs")
    Trainer(config, tmp_path / "out").run()
    assert "presence -1.0: mean 3D IoU" in capsys.readouterr().out


def test_one_seed_gives_the_same_weights(run, tmp_path):
    one, other = (
        Trainer(run(replace(SMALL, steps=2), seed=seed), tmp_path / name)
        for seed, name in ((3, "one"), (3, "other"))
    )
    one.run()
    shutil.rmtree(tmp_path / "one")
    other.run()
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
