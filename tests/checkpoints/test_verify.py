from __future__ import annotations

import hashlib

import pytest
import torch

from napari_sam2.checkpoints.read import write_checkpoint
from napari_sam2.checkpoints.registry import BASE, Checkpoint
from napari_sam2.checkpoints.verify import verify, verify_nano
from napari_sam2.model.config import NANO
from napari_sam2.model.sam2 import Sam2


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "own.safetensors"
    torch.manual_seed(0)
    write_checkpoint(path, "nano", Sam2(NANO).state_dict())
    return path


def entry(name="nano", sha256=None, size=None, parameters=None):
    url = f"{BASE}/own.safetensors"
    return Checkpoint(name, "sam2.1", url, sha256, size, parameters=parameters)


def test_what_was_checked_is_said(weights):
    data = weights.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    assert verify(entry(sha256=sha256, size=len(data)), weights) == "checksum right"
    assert verify(entry(), weights) == "no checksum known: shapes right"
    assert verify(entry(size=len(data)), weights) == "no checksum known: size and shapes right"
    # as if there were four bytes for each
    entries = entry(parameters=len(data) // 4 - 1)
    assert verify(entries, weights) == "no checksum known: size and shapes right"


def test_what_is_wrong_is_said(weights, tmp_path):
    with pytest.raises(ValueError, match=r"has the SHA-256 [0-9a-f]{64}, but nano .* has 0000"):
        verify(entry(sha256="0" * 64), weights)
    with pytest.raises(ValueError, match=r"but nano as published has 5$"):
        verify(entry(size=5), weights)
    size = weights.stat().st_size
    for parameters in (size // 4 + 1, int(size / 4.05)):
        few, many = 4 * parameters + 1, 4 * parameters + 4 * parameters // 100 - 1
        with pytest.raises(ValueError, match=f"{size} bytes, but nano .* has {few} to {many}"):
            verify(entry(parameters=parameters), weights)
    with pytest.raises(ValueError, match=r"holds the weights of nano, not of sam2\.1_tiny"):
        verify(entry("sam2.1_tiny"), weights)
    cut = tmp_path / "own.safetensors"
    cut.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        verify(entry(), cut)
    with pytest.raises(FileNotFoundError):
        verify(entry(), tmp_path / "nothing")


def test_the_bundled_model_is_right():
    assert verify_nano() == "bundled, no checksum known: shapes right"
