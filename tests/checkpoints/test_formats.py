"""Files of the published formats, told apart by the names and shapes of their tensors."""

from __future__ import annotations

import re

import pytest
import torch
from tests.golden.names import read_names

from napari_sam2.checkpoints.read import CheckpointError, expected_shapes, read_checkpoint

NAMES = read_names()
TITLES = list(NAMES)


def state_of(title: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Tensors that take no room, in memory and in a file."""
    return {name: torch.zeros(1, dtype=dtype).expand(shape) for name, shape in NAMES[title].items()}


def read(folder, content):
    torch.save(content, folder / "weights.pt")
    assert (folder / "weights.pt").stat().st_size < 1_000_000
    return read_checkpoint(folder / "weights.pt")


def prefixed(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def test_the_list_is_complete():
    counts = {title: len(shapes) for title, shapes in NAMES.items()}
    assert counts == {
        "sam2 sam2.1_tiny": 471,
        "sam2 sam2_tiny": 468,
        "transformers sam2.1_tiny": 469,
        "transformers sam2_tiny": 466,
        "segment_anything sam_vit_b": 314,
        "transformers sam_vit_b": 314,
    }


@pytest.mark.parametrize("title", TITLES)
def test_every_format_is_recognised(title, tmp_path):
    config, state = read(tmp_path, {"model": state_of(title)})
    assert config.name == title.split()[1]
    assert {name: tuple(t.shape) for name, t in state.items()} == expected_shapes(config)


@pytest.mark.parametrize("title", ["sam2 sam2.1_tiny", "segment_anything sam_vit_b"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"model": s, "epoch": 3, "optimizer": {"lr": [1e-4]}},
        lambda s: {"model": {"state_dict": s}},
        lambda s: prefixed("module.", s),
        lambda s: {"state_dict": prefixed("module.", s)},
        lambda s: {"state_dict": prefixed("_orig_mod.module.", s)},
        lambda s: {"model_state": prefixed("sam.", s)},
        lambda s: {"state_dict": prefixed("model.sam2.", s)},
    ],
)
def test_wrapped_and_prefixed_weights_are_unwrapped(title, wrap, tmp_path):
    config, state = read(tmp_path, wrap(state_of(title)))
    assert config.name == title.split()[1]
    assert state.keys() == expected_shapes(config).keys()


def test_half_precision_is_widened(tmp_path):
    _, state = read(tmp_path, state_of("sam2 sam2.1_tiny", torch.float16))
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


@pytest.mark.parametrize("title", ["segment_anything sam_vit_b", "transformers sam_vit_b"])
def test_sam1_of_another_image_size(title, tmp_path):
    state = state_of(title)
    for name, tensor in state.items():
        if name.endswith("pos_embed"):
            state[name] = tensor[:, :32, :32]
        elif "rel_pos" in name and len(tensor) == 127:
            state[name] = tensor[:63]
    config, _ = read(tmp_path, state)
    assert (config.name, config.image_size, config.trained_size) == ("sam_vit_b", 512, 512)


@pytest.mark.parametrize("title", TITLES)
def test_wrong_tensors_are_named(title, tmp_path):
    variant = title.split()[1]
    first, second = [name for name in NAMES[title] if name.endswith("norm2.weight")][:2]
    state = state_of(title)
    del state[first]
    state["head.weight"] = torch.zeros(3)
    state[second] = torch.zeros(5)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, state)
    message = str(error.value)
    assert f"nearest variant, {variant}" in message
    # ours is the name of what is missing, the file's own that of what is too many
    assert re.search(r"1 missing \(\S*norm2\.weight\)", message)
    assert "1 extra (head.weight)" in message
    assert re.search(r"1 of another shape \(\S*norm2\.weight \(5,\) instead of", message)


def test_two_matrices_that_must_be_one_are_named(tmp_path):
    """The transformers package keeps the positions' matrix twice; a model has one."""
    state = state_of("transformers sam2.1_tiny")
    twice = [name for name in state if name.endswith("positional_embedding")]
    state[twice[1]] = torch.ones(state[twice[1]].shape)
    with pytest.raises(CheckpointError, match=rf"1 extra \({re.escape(twice[1])}\)"):
        read(tmp_path, state)
