"""Models of the transformers package with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tests.parity.published import model_image, perturb

from napari_sam2 import BoxPrompt, PointPrompt
from napari_sam2.inference.load import load_model
from napari_sam2.model.config import SAM1_VARIANTS, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from torch import nn

    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import ModelPrompt

SPREAD = {"initializer_range": 0.04}  # as transformers draws weights, all answers are alike


def sam2_video(variant: str, size: int, weights: bool = True) -> nn.Module:
    """A Sam2VideoModel, such as ``sam2.1_tiny``; names and shapes alone without ``weights``."""
    import transformers

    config = VARIANTS[variant]
    hiera = config.hiera
    grids = [[size // stride] * 2 for stride in (4, 8, 16)]
    backbone = transformers.Sam2HieraDetConfig(
        image_size=[size, size],
        hidden_size=hiera.width,
        num_attention_heads=hiera.heads,
        blocks_per_stage=list(hiera.depths),
        embed_dim_per_stage=list(hiera.widths),
        num_attention_heads_per_stage=[hiera.heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(hiera.windows),
        window_positional_embedding_background_size=list(hiera.background),
        global_attention_blocks=list(hiera.global_blocks),
        **SPREAD,
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=list(hiera.widths[::-1]),
        backbone_feature_sizes=grids,
        **SPREAD,
    )
    newer = config.version == "2.1"
    torch.manual_seed(0)
    model = transformers.Sam2VideoModel(
        transformers.Sam2VideoConfig(
            vision_config=vision,
            prompt_encoder_config={"image_size": size},
            image_size=size,
            memory_attention_rope_feat_sizes=grids[-1],
            enable_occlusion_spatial_embedding=newer,
            enable_temporal_pos_encoding_for_object_pointers=newer,
            **SPREAD,
        )
    )
    if not weights:
        return model
    _finish(model)
    # an absent object's masks are alike whatever led to them
    model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(30.0)
    return model


def sam1(variant: str, size: int, weights: bool = True) -> nn.Module:
    """A SamModel, such as ``sam_vit_b``, learned at a size."""
    import transformers

    vit = SAM1_VARIANTS[variant].vit
    torch.manual_seed(0)
    model = transformers.SamModel(
        transformers.SamConfig(
            vision_config={
                "hidden_size": vit.width,
                "num_hidden_layers": vit.depth,
                "num_attention_heads": vit.heads,
                "global_attn_indexes": list(vit.global_blocks),
                "image_size": size,
                **SPREAD,
            },
            prompt_encoder_config={"image_size": size, "image_embedding_size": size // 16},
            # that of segment_anything, whose weights these files hold
            mask_decoder_config={"layer_norm_eps": 1e-5},
            **SPREAD,
        )
    )
    if weights:
        _finish(model)
    return model


def _finish(model: nn.Module) -> None:
    model.eval().requires_grad_(False)
    perturb(model)
    # Random weights have two matrices where trained ones have one, twice; and SamModel's are a
    # hundred times those of trained ones, which would make sines of angles beyond float32.
    matrix = model.shared_image_embedding.positional_embedding
    matrix /= matrix.std()
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)


def propagated(
    model: nn.Module,
    stack: np.ndarray,
    first: int,
    prompts: Mapping[int, tuple[ModelPrompt, ...]],
) -> Iterator[tuple[int, dict[int, torch.Tensor]]]:
    """Masks (1, S / 4, S / 4) of objects prompted on one frame, forward and then backward.

    On several frames the package would track the others while it takes a prompt.
    """
    from transformers.models.sam2_video import modeling_sam2_video

    height, width = stack.shape[1:]
    size = model.image_size
    video = torch.cat([model_image(plane, size) for plane in stack])
    session = modeling_sam2_video.Sam2VideoInferenceSession(
        video, height, width, dtype=torch.float32, max_vision_features_cache_size=len(stack)
    )
    for object_id, own in prompts.items():
        points, labels = [], []
        for prompt in own:
            if isinstance(prompt, BoxPrompt):
                points += [prompt.box[1::-1], prompt.box[:1:-1]]
                labels += [2, 3]
            elif isinstance(prompt, PointPrompt):
                points.append(prompt.position[::-1])
                labels.append(int(prompt.positive))
        scaled = torch.tensor(points) / torch.tensor([width, height]) * size
        inputs = {"point_coords": scaled[None, None], "point_labels": torch.tensor([[labels]])}
        session.add_point_inputs(session.obj_id_to_idx(object_id), first, inputs)
        session.obj_with_new_inputs.append(object_id)
    with torch.inference_mode():
        model(session, frame_idx=first)
        for start, reverse in ((first, False), (len(stack) - 1, True)):
            for output in model.propagate_in_video_iterator(session, start, reverse=reverse):
                yield output.frame_idx, dict(zip(output.object_ids, output.pred_masks, strict=True))


def read_by_ours(model: nn.Module, folder: Path, image_size: int) -> Model:
    """What our loader makes of the file that transformers writes."""
    model.save_pretrained(folder)
    return load_model(folder / "model.safetensors", "cpu", "float32", image_size=image_size)
