"""Names of tensors in published files, and ours.

A table per format: a pattern of the published name and what ours is. ``[n]`` at the end of our
name says that the tensor is row n of a larger one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

Table = tuple[tuple[str, str], ...]

_BLOCK = r"image_encoder.trunk.blocks.(\d+)."
_TWO_WAY = r"sam_mask_decoder.transformer.layers.(\d+)."
_MEMORY = r"memory_attention.layers.(\d+)."
_FUSER = r"memory_encoder.fuser.layers.(\d+)."

# What Meta's .pt files of SAM 2 call things.
META_SAM2: Table = (
    (r"image_encoder.trunk.patch_embed.proj", "image_encoder.trunk.patch_embedding"),
    (r"image_encoder.trunk.pos_embed", "image_encoder.trunk.position_background"),
    (r"image_encoder.trunk.pos_embed_window", "image_encoder.trunk.position_window"),
    (_BLOCK + r"norm(\d)", r"image_encoder.trunk.blocks.\1.norm\2"),
    (_BLOCK + r"attn.qkv", r"image_encoder.trunk.blocks.\1.qkv"),
    (_BLOCK + r"attn.proj", r"image_encoder.trunk.blocks.\1.output"),
    (_BLOCK + r"mlp.layers.0", r"image_encoder.trunk.blocks.\1.expand"),
    (_BLOCK + r"mlp.layers.1", r"image_encoder.trunk.blocks.\1.contract"),
    (_BLOCK + r"proj", r"image_encoder.trunk.blocks.\1.shortcut"),
    # published coarse to fine, ours fine to coarse
    (r"image_encoder.neck.convs.0.conv", "image_encoder.lateral.3"),
    (r"image_encoder.neck.convs.1.conv", "image_encoder.lateral.2"),
    (r"image_encoder.neck.convs.2.conv", "image_encoder.lateral.1"),
    (r"image_encoder.neck.convs.3.conv", "image_encoder.lateral.0"),
    (r"sam_mask_decoder.conv_s0", "image_encoder.skip4"),
    (r"sam_mask_decoder.conv_s1", "image_encoder.skip8"),
    (
        r"sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "prompt_encoder.fourier.matrix",
    ),
    (r"sam_prompt_encoder.point_embeddings.(\d)", r"prompt_encoder.label_embedding[\1]"),
    (r"sam_prompt_encoder.not_a_point_embed", "prompt_encoder.padding_embedding"),
    (r"sam_prompt_encoder.no_mask_embed", "prompt_encoder.no_mask_embedding"),
    (r"sam_prompt_encoder.mask_downscaling.(\d)", r"prompt_encoder.mask_convolutions.\1"),
    (_TWO_WAY + r"self_attn.(\w+)", r"mask_decoder.transformer.blocks.\1.self_attention.\2"),
    (
        _TWO_WAY + r"cross_attn_token_to_image.(\w+)",
        r"mask_decoder.transformer.blocks.\1.token_to_image.\2",
    ),
    (
        _TWO_WAY + r"cross_attn_image_to_token.(\w+)",
        r"mask_decoder.transformer.blocks.\1.image_to_token.\2",
    ),
    (_TWO_WAY + r"mlp.layers.0", r"mask_decoder.transformer.blocks.\1.expand"),
    (_TWO_WAY + r"mlp.layers.1", r"mask_decoder.transformer.blocks.\1.contract"),
    (_TWO_WAY + r"norm(\d)", r"mask_decoder.transformer.blocks.\1.norm\2"),
    (
        r"sam_mask_decoder.transformer.final_attn_token_to_image.(\w+)",
        r"mask_decoder.transformer.final_attention.\1",
    ),
    (r"sam_mask_decoder.transformer.norm_final_attn", "mask_decoder.transformer.final_norm"),
    (r"sam_mask_decoder.iou_token", "mask_decoder.score_token"),
    (r"sam_mask_decoder.mask_tokens", "mask_decoder.mask_tokens"),
    (r"sam_mask_decoder.obj_score_token", "mask_decoder.presence_token"),
    (r"sam_mask_decoder.output_upscaling.0", "mask_decoder.upsample1"),
    (r"sam_mask_decoder.output_upscaling.1", "mask_decoder.upsample_norm"),
    (r"sam_mask_decoder.output_upscaling.3", "mask_decoder.upsample2"),
    (
        r"sam_mask_decoder.output_hypernetworks_mlps.(\d).layers.(\d)",
        r"mask_decoder.mask_heads.\1.layers.\2",
    ),
    (r"sam_mask_decoder.iou_prediction_head.layers.(\d)", r"mask_decoder.score_head.layers.\1"),
    (r"sam_mask_decoder.pred_obj_score_head.layers.(\d)", r"mask_decoder.presence_head.layers.\1"),
    (_MEMORY + r"self_attn.(\w+)", r"memory_attention.layers.\1.self_attention.\2"),
    (_MEMORY + r"cross_attn_image.(\w+)", r"memory_attention.layers.\1.cross_attention.\2"),
    (_MEMORY + r"linear1", r"memory_attention.layers.\1.expand"),
    (_MEMORY + r"linear2", r"memory_attention.layers.\1.contract"),
    (_MEMORY + r"norm(\d)", r"memory_attention.layers.\1.norm\2"),
    (r"memory_attention.norm", "memory_attention.norm"),
    (r"memory_encoder.mask_downsampler.encoder.(\d+)", r"memory_encoder.mask_downsampler.\1"),
    (r"memory_encoder.pix_feat_proj", "memory_encoder.embedding_projection"),
    (_FUSER + r"dwconv", r"memory_encoder.fuser.\1.depthwise"),
    (_FUSER + r"norm", r"memory_encoder.fuser.\1.norm"),
    (_FUSER + r"pwconv1", r"memory_encoder.fuser.\1.expand"),
    (_FUSER + r"pwconv2", r"memory_encoder.fuser.\1.contract"),
    (_FUSER + r"gamma", r"memory_encoder.fuser.\1.scale"),
    (r"memory_encoder.out_proj", "memory_encoder.output"),
    (r"mask_downsample", "mask_downsample"),
    (r"obj_ptr_proj.layers.(\d)", r"pointer_projection.layers.\1"),
    (r"obj_ptr_tpos_proj", "pointer_time"),
    (r"maskmem_tpos_enc", "memory_time"),
    (r"no_mem_embed", "no_memory_embedding"),
    (r"no_mem_pos_enc", "no_memory_position"),
    (r"no_obj_ptr", "no_object_pointer"),
    (r"no_obj_embed_spatial", "absent_embedding"),
)

_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "output"}
# These are embeddings (n, C) in published files; their ".weight" is not part of our name.
_EMBEDDING = re.compile(r"(?:label|padding|no_mask)_embedding(?:\[\d\])?$|_tokens?$")


def translate(name: str, table: Table) -> str | None:
    """Our name of a published tensor, None when the table does not know it."""
    stem, dot, kind = name.rpartition(".")
    if kind not in ("weight", "bias"):
        stem, dot, kind = name, "", ""
    for pattern, ours in table:
        match = re.fullmatch(pattern.replace(".", r"\."), stem)
        if match:
            head, _, last = match.expand(ours).rpartition(".")
            last = _PROJECTIONS.get(last, last)
            stem = f"{head}.{last}" if head else last
            return stem if _EMBEDDING.search(stem) else stem + dot + kind
    return None


def convert(
    state: Mapping[str, Tensor], table: Table, expected: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename a published state dict.

    Parameters
    ----------
    state : mapping of str to Tensor
        As published.
    table : Table
        The format's names.
    expected : mapping of str to sequence of int
        Shapes of our tensors; leading axes of length one are dropped to fit.

    Returns
    -------
    converted : dict of str to Tensor
        Under our names.
    unknown : list of str
        Published names that the table does not know.
    """
    converted: dict[str, Tensor] = {}
    rows: dict[str, dict[int, Tensor]] = {}
    unknown = []
    for name, tensor in state.items():
        ours = translate(name, table)
        if ours is None:
            unknown.append(name)
        elif ours.endswith("]"):
            whole, _, row = ours[:-1].partition("[")
            rows.setdefault(whole, {})[int(row)] = tensor.reshape(-1)
        else:
            converted[ours] = tensor
    for whole, found in rows.items():
        if sorted(found) == list(range(len(found))):
            converted[whole] = torch.stack([found[row] for row in range(len(found))])
    for name, tensor in converted.items():
        shape = tuple(expected.get(name, tensor.shape))
        if tuple(n for n in tensor.shape if n != 1) == tuple(n for n in shape if n != 1):
            converted[name] = tensor.reshape(shape)
    return converted, unknown
