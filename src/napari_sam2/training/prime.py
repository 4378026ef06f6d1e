"""Weights to start from: a decoder that sees where a prompt points, a memory that knows where.

Two things keep a decoder with random weights from ever using its prompts. Dense targets leave
the image embedding twenty times as large as the encoding of positions, which drowns in it; and
queries and keys that are drawn independently match a prompt's position with none of the image's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_sam2.model.layers import Attention

if TYPE_CHECKING:
    from napari_sam2.model.neck import ImageFeatures
    from napari_sam2.model.sam2 import Sam2
    from napari_sam2.training.dense import DenseHead

POSITION_DEVIATION = 0.7  # of sines and cosines
GAIN = 2.0  # of queries and keys: a prompt's own place gets most of its attention
NEAR_PAIRS = 10  # channel pairs an axis that turn fast enough to tell near places apart
NEARNESS = 2.0
LABEL_SCALE = 0.3  # what a prompt is must not outweigh where it is


def prime_for_prompts(model: Sam2, head: DenseHead, features: ImageFeatures) -> None:
    """Prepare a model whose encoder has learned from dense targets to learn from prompts.

    Parameters
    ----------
    model : Sam2
        Its encoder's outputs are scaled to the size of the position encoding, and its decoder's
        queries and keys are tied.
    head : DenseHead
        Scaled the other way, so that it predicts what it did.
    features : ImageFeatures
        Of typical images, to measure with.
    """
    encoder = model.image_encoder
    with torch.no_grad():
        for outputs, value, inputs in (
            ((encoder.lateral[2], encoder.lateral[3]), features.embedding, head.from16),
            ((encoder.skip8,), features.skip8, head.from8),
            ((encoder.skip4,), features.skip4, head.from4),
        ):
            scale = POSITION_DEVIATION / value.float().std()
            for convolution in outputs:
                for parameter in convolution.parameters():
                    parameter.mul_(scale)
            inputs.weight /= scale
        for name, attention in model.mask_decoder.transformer.named_modules():
            if not isinstance(attention, Attention) or name.endswith("self_attention"):
                continue
            nn.init.orthogonal_(attention.query.weight, GAIN)
            attention.key.weight.copy_(attention.query.weight)
            attention.query.bias.zero_()
            attention.key.bias.zero_()
        prompts = model.prompt_encoder
        for embedding in (
            prompts.label_embedding,
            prompts.padding_embedding,
            prompts.no_mask_embedding,
        ):
            embedding.mul_(LABEL_SCALE)


def prime_for_memory(model: Sam2, features: ImageFeatures) -> None:
    """Prepare a model that answers prompts to learn to remember.

    Equal biases of queries and keys, turned by the rotary encoding, are most alike where the
    places are the same: a frame first looks at what was at the same place, which is where an
    object mostly still is.

    Parameters
    ----------
    model : Sam2
        Its memory attention is changed: the biases, and the size of what comes out.
    features : ImageFeatures
        Of typical images: what comes out shall be as large as an embedding without memory.
    """
    quarter = model.config.width // 4  # channel pairs that turn with one axis
    bias = torch.zeros(model.config.width)
    bias[: 2 * NEAR_PAIRS : 2] = NEARNESS
    bias[2 * quarter : 2 * (quarter + NEAR_PAIRS) : 2] = NEARNESS
    with torch.no_grad():
        for name, attention in model.memory_attention.named_modules():
            if isinstance(attention, Attention) and name.endswith("cross_attention"):
                attention.query.bias.copy_(bias)
                attention.key.bias.copy_(bias)
        model.memory_attention.norm.weight.fill_(features.embedding.float().std())
