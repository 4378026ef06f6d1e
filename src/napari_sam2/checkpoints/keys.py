"""Names of tensors in published files, and ours.

A table per format: a pattern of the published name and what ours is, without the ending
``.weight`` or ``.bias``. ``[n]`` at the end of our name says that the tensor is row n of a larger
one.
"""

from __future__ import annotations

Table = tuple[tuple[str, str], ...]

_OURS = "mask_decoder.transformer.blocks"


def _meta_decoder(prompts: str, decoder: str, first: str, second: str) -> Table:
    """Prompt encoder and mask decoder in Meta's files; SAM 1 and 2 differ in a few words."""
    block = decoder + r".transformer.layers.(\d+)."
    return (
        (
            prompts + r".pe_layer.positional_encoding_gaussian_matrix",
            "prompt_encoder.fourier.matrix",
        ),
        (prompts + r".point_embeddings.(\d)", r"prompt_encoder.label_embedding[\1]"),
        (prompts + r".not_a_point_embed", "prompt_encoder.padding_embedding"),
        (prompts + r".no_mask_embed", "prompt_encoder.no_mask_embedding"),
        (prompts + r".mask_downscaling.(\d)", r"prompt_encoder.mask_convolutions.\1"),
        (block + r"self_attn.(\w+)", _OURS + r".\1.self_attention.\2"),
        (block + r"cross_attn_token_to_image.(\w+)", _OURS + r".\1.token_to_image.\2"),
        (block + r"cross_attn_image_to_token.(\w+)", _OURS + r".\1.image_to_token.\2"),
        (block + rf"mlp.{first}", _OURS + r".\1.expand"),
        (block + rf"mlp.{second}", _OURS + r".\1.contract"),
        (block + r"norm(\d)", _OURS + r".\1.norm\2"),
        (
            decoder + r".transformer.final_attn_token_to_image.(\w+)",
            r"mask_decoder.transformer.final_attention.\1",
        ),
        (decoder + r".transformer.norm_final_attn", "mask_decoder.transformer.final_norm"),
        (decoder + r".iou_token", "mask_decoder.score_token"),
        (decoder + r".mask_tokens", "mask_decoder.mask_tokens"),
        (decoder + r".output_upscaling.0", "mask_decoder.upsample1"),
        (decoder + r".output_upscaling.1", "mask_decoder.upsample_norm"),
        (decoder + r".output_upscaling.3", "mask_decoder.upsample2"),
        (
            decoder + r".output_hypernetworks_mlps.(\d).layers.(\d)",
            r"mask_decoder.mask_heads.\1.layers.\2",
        ),
        (decoder + r".iou_prediction_head.layers.(\d)", r"mask_decoder.score_head.layers.\1"),
    )


def _hugging_face_decoder(first: str, second: str) -> Table:
    """The same in the files of the transformers package."""
    block = r"mask_decoder.transformer.layers.(\d+)."
    convolutions = "prompt_encoder.mask_convolutions"
    return (
        # the same matrix twice, for the image and for the prompts
        (r"shared_image_embedding.positional_embedding", "prompt_encoder.fourier.matrix"),
        (r"prompt_encoder.shared_embedding.positional_embedding", "prompt_encoder.fourier.matrix"),
        (r"prompt_encoder.point_embed", "prompt_encoder.label_embedding"),
        (r"prompt_encoder.point_embed.(\d)", r"prompt_encoder.label_embedding[\1]"),
        (r"prompt_encoder.not_a_point_embed", "prompt_encoder.padding_embedding"),
        (r"prompt_encoder.no_mask_embed", "prompt_encoder.no_mask_embedding"),
        (r"prompt_encoder.mask_embed.conv1", convolutions + ".0"),
        (r"prompt_encoder.mask_embed.layer_norm1", convolutions + ".1"),
        (r"prompt_encoder.mask_embed.conv2", convolutions + ".3"),
        (r"prompt_encoder.mask_embed.layer_norm2", convolutions + ".4"),
        (r"prompt_encoder.mask_embed.conv3", convolutions + ".6"),
        (block + r"self_attn.(\w+)", _OURS + r".\1.self_attention.\2"),
        (block + r"cross_attn_token_to_image.(\w+)", _OURS + r".\1.token_to_image.\2"),
        (block + r"cross_attn_image_to_token.(\w+)", _OURS + r".\1.image_to_token.\2"),
        (block + rf"mlp.{first}", _OURS + r".\1.expand"),
        (block + rf"mlp.{second}", _OURS + r".\1.contract"),
        (block + r"layer_norm(\d)", _OURS + r".\1.norm\2"),
        (
            r"mask_decoder.transformer.final_attn_token_to_image.(\w+)",
            r"mask_decoder.transformer.final_attention.\1",
        ),
        (
            r"mask_decoder.transformer.layer_norm_final_attn",
            "mask_decoder.transformer.final_norm",
        ),
        (r"mask_decoder.iou_token", "mask_decoder.score_token"),
        (r"mask_decoder.mask_tokens", "mask_decoder.mask_tokens"),
        (r"mask_decoder.upscale_conv(\d)", r"mask_decoder.upsample\1"),
        (r"mask_decoder.upscale_layer_norm", "mask_decoder.upsample_norm"),
        *_three_layers(
            r"mask_decoder.output_hypernetworks_mlps.(\d)", r"mask_decoder.mask_heads.\1"
        ),
        *_three_layers("mask_decoder.iou_prediction_head", "mask_decoder.score_head"),
    )


def _three_layers(published: str, ours: str) -> Table:
    return (
        (published + ".proj_in", ours + ".layers.0"),
        (published + ".layers.0", ours + ".layers.1"),
        (published + ".proj_out", ours + ".layers.2"),
    )


_BLOCK = r"image_encoder.trunk.blocks.(\d+)."
_MEMORY = r"memory_attention.layers.(\d+)."
_FUSER = r"memory_encoder.fuser.layers.(\d+)."

# What Meta's .pt files of SAM 2 call things.
META_SAM2: Table = (
    *_meta_decoder("sam_prompt_encoder", "sam_mask_decoder", "layers.0", "layers.1"),
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
    (r"sam_mask_decoder.obj_score_token", "mask_decoder.presence_token"),
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

_HF_BLOCK = r"vision_encoder.backbone.blocks.(\d+)."
_HF_FUSER = r"memory_encoder.memory_fuser.layers.(\d+)."

# What the transformers package calls the same model in its model.safetensors.
HUGGING_FACE_SAM2: Table = (
    *_hugging_face_decoder("proj_in", "proj_out"),
    (
        r"vision_encoder.backbone.patch_embed.projection",
        "image_encoder.trunk.patch_embedding",
    ),
    (r"vision_encoder.backbone.pos_embed", "image_encoder.trunk.position_background"),
    (r"vision_encoder.backbone.pos_embed_window", "image_encoder.trunk.position_window"),
    (_HF_BLOCK + r"layer_norm(\d)", r"image_encoder.trunk.blocks.\1.norm\2"),
    (_HF_BLOCK + r"attn.qkv", r"image_encoder.trunk.blocks.\1.qkv"),
    (_HF_BLOCK + r"attn.proj", r"image_encoder.trunk.blocks.\1.output"),
    (_HF_BLOCK + r"mlp.proj_in", r"image_encoder.trunk.blocks.\1.expand"),
    (_HF_BLOCK + r"mlp.proj_out", r"image_encoder.trunk.blocks.\1.contract"),
    (_HF_BLOCK + r"proj", r"image_encoder.trunk.blocks.\1.shortcut"),
    (r"vision_encoder.neck.convs.0", "image_encoder.lateral.3"),
    (r"vision_encoder.neck.convs.1", "image_encoder.lateral.2"),
    (r"vision_encoder.neck.convs.2", "image_encoder.lateral.1"),
    (r"vision_encoder.neck.convs.3", "image_encoder.lateral.0"),
    (r"mask_decoder.conv_s0", "image_encoder.skip4"),
    (r"mask_decoder.conv_s1", "image_encoder.skip8"),
    (r"mask_decoder.obj_score_token", "mask_decoder.presence_token"),
    *_three_layers("mask_decoder.pred_obj_score_head", "mask_decoder.presence_head"),
    (_MEMORY + r"self_attn.(\w+)", r"memory_attention.layers.\1.self_attention.\2"),
    (_MEMORY + r"cross_attn_image.(\w+)", r"memory_attention.layers.\1.cross_attention.\2"),
    (_MEMORY + r"linear1", r"memory_attention.layers.\1.expand"),
    (_MEMORY + r"linear2", r"memory_attention.layers.\1.contract"),
    (_MEMORY + r"layer_norm(\d)", r"memory_attention.layers.\1.norm\2"),
    (r"memory_attention.layer_norm", "memory_attention.norm"),
    # convolution, norm and activation are numbered one after the other in ours
    *(
        (
            rf"memory_encoder.mask_downsampler.layers.{layer}.{kind}",
            f"memory_encoder.mask_downsampler.{3 * layer + place}",
        )
        for layer in range(4)
        for place, kind in enumerate(("conv", "layer_norm"))
    ),
    (r"memory_encoder.mask_downsampler.final_conv", "memory_encoder.mask_downsampler.12"),
    (r"memory_encoder.feature_projection", "memory_encoder.embedding_projection"),
    (_HF_FUSER + r"depthwise_conv", r"memory_encoder.fuser.\1.depthwise"),
    (_HF_FUSER + r"layer_norm", r"memory_encoder.fuser.\1.norm"),
    (_HF_FUSER + r"pointwise_conv1", r"memory_encoder.fuser.\1.expand"),
    (_HF_FUSER + r"pointwise_conv2", r"memory_encoder.fuser.\1.contract"),
    (_HF_FUSER + r"scale", r"memory_encoder.fuser.\1.scale"),
    (r"memory_encoder.projection", "memory_encoder.output"),
    (r"mask_downsample", "mask_downsample"),
    *_three_layers("object_pointer_proj", "pointer_projection"),
    (r"temporal_positional_encoding_projection_layer", "pointer_time"),
    (r"memory_temporal_positional_encoding", "memory_time"),
    (r"no_memory_embedding", "no_memory_embedding"),
    (r"no_memory_positional_encoding", "no_memory_position"),
    (r"no_object_pointer", "no_object_pointer"),
    (r"occlusion_spatial_embedding_parameter", "absent_embedding"),
)


def _vit(prefix: str, blocks: str, norm: str) -> Table:
    block = rf"{prefix}.{blocks}.(\d+)."
    ours = r"image_encoder.blocks.\1."
    return (
        (prefix + r".pos_embed", "image_encoder.position"),
        (block + norm + r"(\d)", ours + r"norm\2"),
        (block + r"attn.qkv", ours + "qkv"),
        (block + r"attn.proj", ours + "output"),
        (block + r"attn.rel_pos_h", ours + "relative_rows"),
        (block + r"attn.rel_pos_w", ours + "relative_columns"),
        (block + r"mlp.lin1", ours + "expand"),
        (block + r"mlp.lin2", ours + "contract"),
    )


# The same two for SAM 1.
META_SAM1: Table = (
    *_vit("image_encoder", "blocks", "norm"),
    (r"image_encoder.patch_embed.proj", "image_encoder.patch_embedding"),
    (r"image_encoder.neck.(\d)", r"image_encoder.neck.\1"),
    *_meta_decoder("prompt_encoder", "mask_decoder", "lin1", "lin2"),
)
HUGGING_FACE_SAM1: Table = (
    *_vit("vision_encoder", "layers", "layer_norm"),
    (r"vision_encoder.patch_embed.projection", "image_encoder.patch_embedding"),
    (r"vision_encoder.neck.conv1", "image_encoder.neck.0"),
    (r"vision_encoder.neck.layer_norm1", "image_encoder.neck.1"),
    (r"vision_encoder.neck.conv2", "image_encoder.neck.2"),
    (r"vision_encoder.neck.layer_norm2", "image_encoder.neck.3"),
    *_hugging_face_decoder("lin1", "lin2"),
)
