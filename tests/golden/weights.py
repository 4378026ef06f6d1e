"""Weights and planes that any machine makes alike, from nothing but names and shapes.

So a published model can be filled, its answers stored, and ours filled and compared without the
published package. No random generator: their streams may change from one version to the next.
"""

from __future__ import annotations

import re
import zlib
from math import prod

import numpy as np

# As tests/parity/published.py enlarges them, so that attention is not uniform.
GAINS = {
    r"memory_attention\..*(q_proj|k_proj)\.weight": 1.7,
    r"mask_decoder\..*(q_proj|k_proj)\.weight": 1.7,
    r"(obj_ptr_proj|object_pointer_proj)\.(layers\.2|proj_out)\.weight": 3.0,
    r"mask_decoder\.output_hypernetworks_mlps\..*\.(layers\.2|proj_out)\.\w+": 1.0,
}
# One tensor, under two names in transformers' files.
FOURIER = re.compile(r"positional_embedding$|gaussian_matrix$")
EMBEDDING = re.compile(
    r"(_embed|point_embeddings\.\d|_tokens?|pos_embed_window|rel_pos_[hw]|pos_enc|positional_encoding"
    r"|no_obj_ptr|no_object_pointer|no_memory_embedding|_spatial|_parameter)(\.weight)?$"
)
PRESENCE = re.compile(r"pred_obj_score_head\.(layers\.2|proj_out)\.bias")


def uniform(name: str, count: int) -> np.ndarray:
    """Numbers in -1 to 1, float64, that look random: splitmix64 of their index."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + (np.uint64(zlib.crc32(name.encode())) << 32)
        x = (x + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> 27)) * np.uint64(0x94D049BB133111EB)
        x ^= x >> 31
    return (x >> 40).astype(np.float64) * 2.0**-23 - 1


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights of a tensor of a published model, float32."""
    fourier = FOURIER.search(name)
    values = uniform("fourier" if fourier else name, prod(shape)).reshape(shape)
    if fourier:
        return (1.7 * values).astype(np.float32)
    if PRESENCE.search(name):  # present throughout
        return np.full(shape, 8.0, dtype=np.float32)
    if name.endswith(("gamma", "scale")):
        values = 0.5 + 0.1 * values
    elif len(shape) == 1:
        norm = name.endswith("weight")
        values = (1.0 if norm else 0.0) + 0.1 * values
    elif EMBEDDING.search(name):
        values *= 0.5
    else:  # a variance of one over the number of inputs keeps the signal's size
        transposed = "upscal" in name and len(shape) == 4
        values *= (3 / (shape[0] if transposed else prod(shape[1:]))) ** 0.5
    for pattern, gain in GAINS.items():
        if re.search(pattern, name):
            values *= gain
    return values.astype(np.float32)


def planes(count: int, height: int = 96, width: int = 120) -> np.ndarray:
    """A disc that moves over noise, uint8."""
    rows, columns = np.mgrid[:height, :width]
    noise = uniform("planes", count * height * width).reshape(count, height, width)
    stack = (30 + 30 * noise).astype(np.uint8)
    for frame, plane in enumerate(stack):
        plane[(rows - 30 - 4 * frame) ** 2 + (columns - 40 - 3 * frame) ** 2 < 18**2] += 150
    return stack
