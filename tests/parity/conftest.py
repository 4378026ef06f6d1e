"""Published models with random weights: what ours must equal."""

from __future__ import annotations

import copy
from types import ModuleType

import pytest
import torch

PRESENCE_GAIN, PRESENCE_BIAS = -50.0, 6.27
SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


def published(variant: str, image_size: int | None = None) -> torch.nn.Module:
    """The sam2 package's video predictor of a variant, such as ``sam2.1_tiny``."""
    from sam2 import build_sam, sam2_video_predictor

    family, _, size = variant.partition("_")
    overrides = ["++model.add_all_frames_to_correct_as_cond=true"]
    if image_size is not None:
        grid = image_size // 16
        overrides += [f"++model.image_size={image_size}"] + [
            f"++model.memory_attention.layer.{attention}.feat_sizes=[{grid},{grid}]"
            for attention in ("self_attention", "cross_attention")
        ]
    torch.manual_seed(0)
    model = build_sam.build_sam2_video_predictor(
        f"configs/{family}/{family}_hiera_{SIZES[size]}.yaml",
        device="cpu",
        hydra_overrides_extra=overrides,
    )
    _perturb(model)
    # the package keeps memories in bfloat16 even in float32: its module gets another bfloat16
    exact = ModuleType("torch")
    exact.__dict__.update(torch.__dict__)
    exact.bfloat16 = torch.float32
    sam2_video_predictor.torch = exact
    return model


def _perturb(model: torch.nn.Module) -> None:
    """Move every parameter away from zeros and ones, so that each of them matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim <= 1 or not parameter.any():
                parameter += 0.1 * noise
            elif "embed" in name or "token" in name:
                parameter += 0.02 * noise
            if name.endswith("gamma"):
                parameter.copy_(0.5 + 0.1 * noise)
        # random weights see all objects alike: spread the scores so that objects are present on
        # some frames and absent on others
        last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
        last.weight *= PRESENCE_GAIN
        last.bias.fill_(PRESENCE_BIAS)


@pytest.fixture(scope="session")
def published_tiny(tmp_path_factory):
    """The published tiny model with random weights, and the file they are saved in."""
    pytest.importorskip("sam2", reason="the published package is not installed: run make parity")
    model = published("sam2.1_tiny", image_size=512)
    path = tmp_path_factory.mktemp("weights") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": copy.deepcopy(model.state_dict())}, path)
    return model, path
