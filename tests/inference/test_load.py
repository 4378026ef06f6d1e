from __future__ import annotations

import pytest
import torch

from napari_sam2 import load_model
from napari_sam2.inference.device import choose_device, choose_dtype
from napari_sam2.model.config import NANO


def test_the_bundled_model_loads(nano):
    assert nano.config == NANO
    assert nano.device.type == "cpu"
    assert nano.dtype == torch.float32
    assert not nano.network.training


def test_another_input_size(nano):
    smaller = load_model("nano", device="cpu", image_size=256)
    assert smaller.config.image_size == 256
    with pytest.raises(ValueError, match="multiple of 32"):
        load_model("nano", device="cpu", image_size=500)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_model(tmp_path / "nothing.pt", device="cpu")
    with pytest.raises(ValueError, match=r"sam2\.1_hiera_tiny\.pt"):
        load_model("sam2.1_tiny", device="cpu")
    with pytest.raises(ValueError, match="'xpu9' is not available"):
        choose_device("xpu9")
    with pytest.raises(ValueError, match="'int8'"):
        choose_dtype("int8", torch.device("cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(ValueError, match="'cuda' is not available"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")
