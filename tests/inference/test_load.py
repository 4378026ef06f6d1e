from __future__ import annotations

import hashlib
import shutil

import pytest
import torch

from napari_sam2 import load_model
from napari_sam2.checkpoints.read import CheckpointError
from napari_sam2.checkpoints.registry import BASE, CHECKPOINTS, NANO_FILE, Checkpoint
from napari_sam2.inference.device import choose_device, choose_dtype
from napari_sam2.model.config import NANO


def test_the_bundled_model_loads(nano):
    assert nano.config == NANO
    assert nano.device.type == "cpu"
    assert nano.dtype == choose_dtype("auto", nano.device)
    assert not nano.network.training


def test_another_input_size(nano):
    smaller = load_model("nano", device="cpu", image_size=256)
    assert smaller.config.image_size == 256
    with pytest.raises(ValueError, match="multiple of 32"):
        load_model("nano", device="cpu", image_size=500)


def test_a_downloaded_model_loads_by_name(monkeypatch, tmp_path):
    sha256 = hashlib.sha256(NANO_FILE.read_bytes()).hexdigest()
    entry = Checkpoint("mine", "sam2.1", f"{BASE}/mine.safetensors", sha256)
    monkeypatch.setitem(CHECKPOINTS, "mine", entry)
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    shutil.copy(NANO_FILE, tmp_path / "mine.safetensors")
    assert load_model("mine", device="cpu").config == NANO
    (tmp_path / "mine.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"has the SHA-256.*napari-sam2 models download mine"):
        load_model("mine", device="cpu")


def test_another_model_in_the_place_of_one_without_checksum_is_named(monkeypatch, tmp_path):
    entry = Checkpoint("mine", "sam2.1", f"{BASE}/mine.safetensors")
    monkeypatch.setitem(CHECKPOINTS, "mine", entry)
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    path = tmp_path / "mine.safetensors"
    shutil.copy(NANO_FILE, path)
    with pytest.raises(CheckpointError, match="holds the weights of nano, not of mine") as caught:
        load_model("mine", device="cpu")
    assert f"Remove {path} and run: napari-sam2 models download mine" in str(caught.value)
    path.write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"not a readable.*\. Remove .* download mine\."):
        load_model("mine", device="cpu")
    shutil.copy(NANO_FILE, path)
    assert load_model(path, device="cpu").config == NANO


def test_a_model_that_is_not_downloaded_is_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    monkeypatch.delenv("NAPARI_SAM2_MIRROR", raising=False)
    with pytest.raises(ValueError, match=r"napari-sam2 models download sam2\.1_small") as caught:
        load_model("sam2.1_small", device="cpu")
    small = CHECKPOINTS["sam2.1_small"]
    for part in ("184 MB", small.url, small.file, str(tmp_path)):
        assert part in str(caught.value)


def test_mistakes_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_model(tmp_path / "nothing.pt", device="cpu")
    with pytest.raises(ValueError, match=r"sam2\.1_hiera_tiny\.pt"):
        load_model("sam2.1_tiny", device="cpu")
    with pytest.raises(ValueError, match="'xpu9' is not available"):
        choose_device("xpu9")
    with pytest.raises(ValueError, match="'int8'"):
        choose_dtype("int8", torch.device("cpu"))


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_a_processor_that_is_fast_at_bfloat16_computes_in_it(flags, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert choose_dtype("auto", torch.device("cpu")) == dtype
    assert choose_dtype("float32", torch.device("cpu")) == torch.float32


def test_a_torch_that_does_not_know_the_processor_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="'cuda' is not available"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")
