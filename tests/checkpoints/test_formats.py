"""Files of the published formats, told apart by the names and shapes of their tensors."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from tests.golden.names import read_names

from napari_sam2.checkpoints.read import CheckpointError, expected_shapes, read_checkpoint

NAMES = read_names()
TITLES = list(NAMES)


OTHER = {"conv.weight": torch.zeros(2, 2), "conv.bias": torch.zeros(2)}


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
        # micro-sam: the decoder of its own for instances lies beside SAM
        lambda s: {"model_state": prefixed("sam.", s), "decoder_state": OTHER},
        lambda s: {"model_state": prefixed("module.sam.", s), "best_metric": np.float64(0.5)},
        lambda s: {**s, "decoder_state": OTHER, "epoch": 3},
        # Lightning: the loss is part of what is saved
        lambda s: {"state_dict": {**prefixed("model.", s), "loss.weight": torch.ones(2)}},
        lambda s: {"state_dict": {**prefixed("model.sam2.", s), **prefixed("model.head.", OTHER)}},
        # counters and averages
        lambda s: {**s, "steps": torch.tensor(3)},
        lambda s: {"ema": {**s, "decay": torch.tensor(0.5)}, "model": s, "lr": torch.tensor(0.1)},
    ],
)
def test_wrapped_and_prefixed_weights_are_unwrapped(title, wrap, tmp_path):
    config, state = read(tmp_path, wrap(state_of(title)))
    assert config.name == title.split()[1]
    assert state.keys() == expected_shapes(config).keys()


def test_of_weights_and_their_average_the_weights_are_taken(tmp_path):
    state = state_of("sam2 sam2.1_tiny")
    ones = {name: torch.ones(1).expand(tensor.shape) for name, tensor in state.items()}
    _, taken = read(tmp_path, {"ema": {**state, "decay": torch.tensor(0.5)}, "model": ones})
    assert all((tensor == 1).all() for tensor in taken.values())


def test_without_a_prefix_what_is_too_many_is_extra(tmp_path):
    """What belongs to the model and what stands beside it cannot be told apart."""
    state = {**state_of("sam2 sam2.1_tiny"), "loss.weight": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"are: 1 extra \(loss\.weight\)\."):
        read(tmp_path, state)
    state = prefixed("model.sam2.", {**state_of("sam2 sam2.1_tiny"), "head.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"are: 1 extra \(model\.sam2\.head\.weight\)\."):
        read(tmp_path, state)


def test_a_prefix_without_end_is_no_trap(tmp_path):
    with pytest.raises(CheckpointError, match=r"1 extra \((module\.)+a\)"):
        read(tmp_path, {"module." * 3000 + "a": torch.ones(2)})


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


@pytest.mark.parametrize("shape", [(1, 0, 0, 768), (1, 64, 32, 768), (1, 10**6, 10**6, 768), (0,)])
def test_a_position_embedding_of_no_image_size_is_named(shape, tmp_path):
    state = state_of("segment_anything sam_vit_b")
    state["image_encoder.pos_embed"] = torch.zeros(1).expand(shape)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, state)
    said = f"are: 1 of another shape (image_encoder.pos_embed {shape} instead of (1, 64, 64, 768))"
    assert said in str(error.value)


POINTS = "sam_prompt_encoder.point_embeddings"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({f"{POINTS}.2.weight": torch.zeros(5)}),
         f"are: 1 of another shape ({POINTS}.2.weight (5,) instead of (1, 256))."),
        (lambda s: s.pop(f"{POINTS}.2.weight"),
         "are: 1 missing (prompt_encoder.label_embedding[2])."),
        (lambda s: s.update({f"{POINTS}.7.weight": torch.zeros(1, 256)}),
         f"are: 1 extra ({POINTS}.7.weight)."),
        (lambda s: s.update({f"{POINTS}.{row}.weight": torch.zeros(1, 5) for row in range(4)}),
         f"are: 4 of another shape ({POINTS}.0.weight (1, 5) instead of (1, 256), "),
    ],
)  # fmt: skip
def test_rows_are_named_one_by_one(change, message, tmp_path):
    state = state_of("sam2 sam2.1_tiny")
    change(state)
    with pytest.raises(CheckpointError) as error:
        read(tmp_path, prefixed("model.", state))
    assert message.replace(POINTS, f"model.{POINTS}") in str(error.value)


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
    # ours is the name of what is missing, the file's own that of what is there
    assert re.search(r"1 missing \(\S*norm2\.weight\)", message)
    assert "1 extra (head.weight)" in message
    assert f"1 of another shape ({second} (5,) instead of" in message


def test_two_matrices_that_must_be_one_are_named(tmp_path):
    """The transformers package keeps the positions' matrix twice; a model has one."""
    state = state_of("transformers sam2.1_tiny")
    twice = [name for name in state if name.endswith("positional_embedding")]
    state[twice[1]] = torch.ones(state[twice[1]].shape)
    with pytest.raises(CheckpointError, match=rf"1 extra \({re.escape(twice[1])}\)"):
        read(tmp_path, state)
    state[twice[1]] = state[twice[0]].half()
    assert read(tmp_path, state)[0].name == "sam2.1_tiny"
