"""A tiny random model and a stack of moving discs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_sam2.checkpoints.registry import NANO_FILE
from napari_sam2.inference.load import Model, load_model
from napari_sam2.model.config import HieraConfig, Sam1Config, Sam2Config, VitConfig
from napari_sam2.model.sam1 import Sam1
from napari_sam2.model.sam2 import Sam2
from napari_sam2.training.data import data_folder

if TYPE_CHECKING:
    from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # each worker has one core

TINY = Sam2Config(
    name="random",
    hiera=HieraConfig(16, 1, (1, 1, 1, 1), (2,), (8, 4, 4, 4), (7, 7)),
    image_size=64,
    width=64,
    memory_width=32,
    memory_layers=2,
    memory_feedforward=64,
    decoder_feedforward=64,
)

TINY_SAM1 = Sam1Config(
    name="random",
    vit=VitConfig(32, 2, 2, (1,)),
    image_size=64,
    trained_size=64,
    width=32,
    decoder_feedforward=32,
)


@pytest.fixture(autouse=True)
def _own_feature_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's cache folder is not for tests, and each test encodes for itself."""
    monkeypatch.setenv("NAPARI_SAM2_FEATURES", str(tmp_path.with_name(f"{tmp_path.name} features")))


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    """Random weights; every object is seen as present."""
    torch.manual_seed(0)
    network = Sam2(TINY).eval().requires_grad_(False)
    network.mask_decoder.presence_head.layers[-1].bias.fill_(10.0)
    return Model(network, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def tiny_sam1() -> Model:
    """SAM 1 with random weights."""
    torch.manual_seed(0)
    network = Sam1(TINY_SAM1).eval().requires_grad_(False)
    return Model(network, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def nano() -> Model:
    """The bundled model."""
    assert NANO_FILE.exists()
    return load_model("nano", device="cpu")


@pytest.fixture(scope="session")
def discs() -> tuple[np.ndarray, np.ndarray]:
    """A stack (8, 96, 96) of two bright discs that move, and its labels."""
    rows, columns = np.mgrid[:96, :96]
    labels = np.zeros((8, 96, 96), dtype=np.uint8)
    for frame, plane in enumerate(labels):
        plane[(rows - 30 - frame) ** 2 + (columns - 30) ** 2 < 12**2] = 1
        plane[(rows - 65) ** 2 + (columns - 70 + frame) ** 2 < 15**2] = 2
    noise = np.random.default_rng(0).integers(0, 30, labels.shape)
    return (noise + 20 + 150 * (labels > 0)).astype(np.uint8), labels


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real images; skips where it is not there."""
    try:
        return data_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
