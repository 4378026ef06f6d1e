from __future__ import annotations

import pytest
import torch

from napari_sam2.checkpoints.convert import translate
from napari_sam2.checkpoints.keys import META_SAM2
from napari_sam2.checkpoints.read import (
    CheckpointError,
    expected_shapes,
    read_checkpoint,
    write_checkpoint,
)
from napari_sam2.model.config import NANO, VARIANTS
from napari_sam2.model.sam2 import Sam2


@pytest.fixture(scope="module")
def nano_state():
    torch.manual_seed(0)
    return Sam2(NANO).state_dict()


def test_what_is_written_is_read_again(tmp_path, nano_state):
    path = tmp_path / "own.safetensors"
    write_checkpoint(path, "nano", nano_state)
    config, state = read_checkpoint(path)
    assert config == NANO
    assert state.keys() == nano_state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, nano_state[name], atol=1e-3, rtol=1e-3)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_parameter_counts_are_the_published_ones(variant):
    published = {
        "sam2_tiny": 38_945_986, "sam2_small": 46_043_842, "sam2_base_plus": 80_833_666,
        "sam2_large": 224_430_130, "sam2.1_tiny": 38_962_498, "sam2.1_small": 46_060_354,
        "sam2.1_base_plus": 80_850_178, "sam2.1_large": 224_446_642, "nano": 5_878_210,
    }  # fmt: skip
    buffer = "prompt_encoder.fourier.matrix"
    shapes = expected_shapes(VARIANTS[variant])
    total = sum(torch.Size(s).numel() for name, s in shapes.items() if name != buffer)
    assert total == published[variant]


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("image_encoder.trunk.blocks.11.attn.proj.weight",
         "image_encoder.trunk.blocks.11.output.weight"),
        ("image_encoder.trunk.pos_embed", "image_encoder.trunk.position_background"),
        ("sam_prompt_encoder.point_embeddings.2.weight", "prompt_encoder.label_embedding[2]"),
        ("sam_mask_decoder.iou_token.weight", "mask_decoder.score_token"),
        ("memory_attention.layers.3.cross_attn_image.k_proj.bias",
         "memory_attention.layers.3.cross_attention.key.bias"),
        ("memory_encoder.fuser.layers.1.gamma", "memory_encoder.fuser.1.scale"),
        ("an_unknown_part.weight", None),
    ],
)  # fmt: skip
def test_names_are_translated(published, ours):
    assert translate(published, META_SAM2) == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("memory_time"), "1 missing \\(memory_time\\)"),
        (lambda s: s.update(more=torch.ones(1)), "1 extra \\(more\\)"),
        (lambda s: s.update(memory_time=torch.ones(2, 3)),
         "of another shape \\(memory_time \\(2, 3\\) instead of \\(7, 64\\)\\)"),
    ],
)  # fmt: skip
def test_wrong_tensors_are_listed(tmp_path, nano_state, change, message):
    state = dict(nano_state)
    change(state)
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, "nano", state)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_safetensors_file_of_others_is_compared(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"missing .* 1 extra \(a\)"):
        read_checkpoint(tmp_path / "other.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_checkpoint(tmp_path / "bad.safetensors")
