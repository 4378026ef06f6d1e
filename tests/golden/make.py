"""Write golden.npz and published_names.txt from the published packages.

In the environment of `make parity`: .venv-parity/bin/python -m tests.golden.make
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.golden.answers import FILE, FRAMES, PROMPTED, PROMPTS, SAM1_SIZE, SIZE, sampled
from tests.golden.names import Shapes, write_names
from tests.golden.weights import fill, planes
from tests.parity import hugging_face, modules, sam1
from tests.parity.published import exact_torch, sam2
from tests.parity.stacks import Published

if TYPE_CHECKING:
    from torch import nn

    Answers = dict[str, np.ndarray]

SAM2 = ("sam2.1_tiny", "sam2_tiny")


def filled(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(torch.from_numpy(fill(name, tuple(tensor.shape))))
    return model


def names() -> dict[str, Shapes]:
    """Names and shapes as in the published files."""
    models = {
        **{f"sam2 {variant}": sam2(variant, SIZE) for variant in SAM2},
        **{f"transformers {v}": hugging_face.sam2_video(v, SIZE) for v in SAM2},
        "segment_anything sam_vit_b": sam1.segment_anything("sam_vit_b", 1024),
        "transformers sam_vit_b": hugging_face.sam1("sam_vit_b", 1024),
    }
    return {title: _saved_shapes(model) for title, model in models.items()}


def _saved_shapes(model: nn.Module) -> Shapes:
    if not hasattr(model, "save_pretrained"):
        return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with TemporaryDirectory() as folder:  # what is shared is written once
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def sam2_answers(variant: str) -> Answers:
    model = filled(sam2(variant, SIZE))
    with torch.inference_mode():
        given = modules.given(SIZE)
        features = modules.published_features(model, given.image)
        parts = modules.published_parts(model, given, features)
    for name in (modules.CHOSEN, modules.CHOSEN_IOU):  # choices are left to the stack
        del parts[name]
    return sampled(parts) | sampled({"stack": sam2_stack(model, planes(FRAMES))})


def sam2_stack(model: nn.Module, stack: np.ndarray) -> list[torch.Tensor]:
    from sam2 import sam2_video_predictor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sam2_video_predictor, "torch", exact_torch())
        predictor = Published(model, stack, patch)
        for object_id, prompts in PROMPTS.items():
            predictor.prompt(object_id, PROMPTED, prompts)
        return [
            torch.from_numpy(mask)
            for start, reverse in ((PROMPTED, False), (FRAMES - 1, True))
            for _, masks in predictor.propagate(start, reverse)
            for mask in masks.values()
        ]


def transformers_answers(variant: str) -> Answers:
    from transformers.models.sam2_video import modeling_sam2_video

    model = filled(hugging_face.sam2_video(variant, SIZE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_sam2_video, "torch", exact_torch())
        stack = planes(FRAMES)
        passes = hugging_face.propagated(model, stack, PROMPTED, PROMPTS)
        found = [mask for _, masks in passes for mask in masks.values()]
    shape = stack.shape[1:]
    upsampled = [
        torch.nn.functional.interpolate(mask[None], shape, mode="bilinear") for mask in found
    ]
    return sampled({"stack": upsampled})


def sam1_answers() -> Answers:
    model = filled(sam1.segment_anything("sam_vit_b", SAM1_SIZE))
    with torch.inference_mode():
        return sampled(sam1.published_parts(model, SAM1_SIZE))


def answers() -> Answers:
    found = {
        **{f"sam2 {variant}": sam2_answers(variant) for variant in SAM2},
        "transformers sam2.1_tiny": transformers_answers("sam2.1_tiny"),
        "segment_anything sam_vit_b": sam1_answers(),
    }
    return {f"{title}, {part}": found[title][part] for title in found for part in found[title]}


if __name__ == "__main__":
    write_names(names())
    np.savez_compressed(FILE, **answers())
    print(f"wrote {FILE}, {FILE.stat().st_size} bytes")
