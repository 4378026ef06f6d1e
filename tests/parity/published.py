"""Published models with random weights, such that every weight and every rule shows in the masks.

Weights as they are drawn make attention nearly uniform: a wrong pointer or a wrong place in time
would move a logit by less than the tolerance. So the queries, keys and last layers are enlarged to
about what training makes of them.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
SAM2_VARIANTS = [f"{family}_{size}" for family in ("sam2", "sam2.1") for size in SIZES]

GAINS = {
    r"memory_attention\..*(q_proj|k_proj)\.weight": 3.0,
    r"mask_decoder\..*(q_proj|k_proj)\.weight": 3.0,
    r"(obj_ptr_proj|object_pointer_proj)\.(layers\.2|proj_out)\.weight": 10.0,
    r"(obj_ptr_tpos_proj|temporal_positional_encoding_projection_layer)\.weight": 5.0,
    r"maskmem_tpos_enc|memory_temporal_positional_encoding": 10.0,
    r"mask_decoder\.output_hypernetworks_mlps\..*\.(layers\.2|proj_out)\.\w+": 20.0,
}


def sam2(variant: str, image_size: int, absences: bool = False) -> nn.Module:
    """The sam2 package's video predictor of a variant, such as ``sam2.1_tiny``.

    An absent object's masks are alike whatever led to them, so objects are absent on some frames
    only where a test asks for it.
    """
    torch.manual_seed(0)
    model = _built(variant, image_size)
    perturb(model)
    _spread_scores(model, presence=1.0 if absences else 40.0)
    return model.requires_grad_(False)


def sam2_compiled(model: nn.Module, variant: str) -> nn.Module:
    """The package's fully compiled predictor with the weights of another one, for CUDA."""
    compiled = _built(variant, model.image_size, vos_optimized=True)
    compiled.load_state_dict(model.state_dict())
    return compiled.requires_grad_(False)


def _built(variant: str, image_size: int, **options: object) -> nn.Module:
    from sam2 import build_sam

    family, _, size = variant.partition("_")
    grid = image_size // 16
    model = build_sam.build_sam2_video_predictor(
        f"configs/{family}/{family}_hiera_{SIZES[size]}.yaml",
        device="cpu",
        hydra_overrides_extra=[
            f"++model.image_size={image_size}",
            *(
                f"++model.memory_attention.layer.{attention}.feat_sizes=[{grid},{grid}]"
                for attention in ("self_attention", "cross_attention")
            ),
            # on purpose ours always does so: see docs/parity.md
            "++model.add_all_frames_to_correct_as_cond=true",
        ],
        **options,
    )
    model.fill_hole_area = 0  # needs an extension that the package's wheel lacks
    return model


def perturb(model: nn.Module) -> None:
    """Move every parameter away from zeros and ones, and enlarge what `GAINS` names."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith(("gamma", "scale")):
                parameter.copy_(0.5 + 0.1 * noise)
            elif parameter.ndim <= 1 or not parameter.any():
                parameter += 0.1 * noise
            elif "embed" in name or "token" in name:
                parameter += 0.02 * noise
            for pattern, gain in GAINS.items():
                if re.search(pattern, name):
                    parameter *= gain


@torch.no_grad()
def _spread_scores(model: nn.Module, presence: float) -> None:
    """Random weights see all prompts alike: let scores differ, and each candidate win at times."""
    size = model.image_size
    random = torch.Generator().manual_seed(2)
    decoder = model.sam_mask_decoder
    scores, presences = [], []
    for plane in discs(3):
        skip4, skip8, embedding = model.forward_image(model_image(plane, size))["backbone_fpn"]
        points = size * torch.rand(16, 1, 2, generator=random)
        sparse, dense = model.sam_prompt_encoder((points, torch.ones(16, 1)), None, None)
        _, found, _, present = decoder.predict_masks(
            embedding + model.no_mem_embed.reshape(-1, 1, 1),
            model.sam_prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            repeat_image=True,
            high_res_features=[skip4, skip8],
        )
        scores.append(found.logit())
        presences.append(present)
    _centre(decoder.iou_prediction_head.layers[-1], torch.cat(scores), 0.0, 1.0)
    _centre(decoder.pred_obj_score_head.layers[-1], torch.cat(presences), presence, 3.0)


def _centre(last: nn.Linear, found: torch.Tensor, mean: float, deviation: float) -> None:
    """Change a last layer so that what it answered has this mean and deviation."""
    gain = deviation / found.std(dim=0)
    last.weight *= gain[:, None]
    last.bias.copy_(gain * (last.bias - found.mean(dim=0)) + mean)


@contextmanager
def scaled(gain: float, *layers: nn.Linear) -> Iterator[None]:
    """Let layers answer with less for a while: the same layer of ours and of theirs."""
    kept = [(layer.weight.clone(), layer.bias.clone()) for layer in layers]
    try:
        for layer in layers:
            layer.weight *= gain
            layer.bias *= gain
        yield
    finally:
        for layer, (weight, bias) in zip(layers, kept, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)


def model_image(plane: np.ndarray, size: int) -> torch.Tensor:
    """A uint8 plane (Y, X) as the published models see it, (1, 3, S, S)."""
    image = torch.from_numpy(plane / np.float32(255)).expand(1, 3, -1, -1)
    image = F.interpolate(image, size=(size, size), mode="bilinear", antialias=True)
    mean, deviation = (
        torch.tensor(values).reshape(3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return (image - mean) / deviation


def exact_torch() -> ModuleType:
    """A torch whose bfloat16 is float32: both packages keep memories in bfloat16, always."""
    exact = ModuleType("torch")
    exact.__dict__.update(torch.__dict__)
    exact.bfloat16 = torch.float32
    return exact


def discs(frames: int, shape: tuple[int, int] = (96, 120)) -> np.ndarray:
    """Two discs that move over noise, uint8 of shape (frames, Y, X)."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = random.integers(0, 60, (frames, *shape))
    for frame, plane in enumerate(planes):
        # there and back again, so that a long stack keeps them in sight
        turn = abs((frame + 10) % 20 - 10)
        for row, column, radius in ((30 + 2 * turn, 40, 14), (60, 90 - 3 * turn, 18)):
            plane[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] += 150
    return planes.astype(np.uint8)
