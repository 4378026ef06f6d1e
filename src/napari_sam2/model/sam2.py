"""SAM 2 assembled (arXiv 2408.00714)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.layers import Mlp
from napari_sam2.model.memory_attention import MemoryAttention
from napari_sam2.model.memory_encoder import MemoryEncoder
from napari_sam2.model.neck import ImageEncoder, ImageFeatures
from napari_sam2.model.position import sine_grid, sine_time
from napari_sam2.model.promptable import MASK_BIAS, MASK_SCALE, Promptable

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam2Config
    from napari_sam2.model.mask_decoder import Decoded
    from napari_sam2.model.position import Part

ABSENT_LOGIT = -1024.0  # mask logit of an object that is not on the frame


@dataclass(frozen=True, eq=False)
class Tracked:
    """A batch of objects on one frame."""

    logits: Tensor  # (B, 1, 4 h, 4 w), ABSENT_LOGIT where absent
    scores: Tensor  # (B,), predicted IoU
    pointers: Tensor  # (B, C)
    presence: Tensor  # (B,), logit

    @property
    def present(self) -> Tensor:
        """Whether each object is on the frame, (B,) bool."""
        return self.presence > 0


@dataclass(frozen=True, eq=False)
class Memories:
    """What a batch of objects remembers, keys and values of the memory attention."""

    maps: Tensor  # (B, n, M, h, w)
    map_times: Tensor  # (B, n) or (n,), index into the learned temporal encoding
    pointers: Tensor  # (B, p, C)
    pointer_offsets: Tensor  # (B, p) or (p,), frames back in time over the longest offset


class Sam2(Promptable):
    """The networks of SAM 2 and the steps that a predictor is made of."""

    def __init__(self, config: Sam2Config) -> None:
        super().__init__(config)
        self.config = config
        width, memory_width = config.width, config.memory_width
        self.image_encoder = ImageEncoder(config)
        self.memory_encoder = MemoryEncoder(config)
        self.memory_attention = MemoryAttention(config)
        self.mask_downsample = nn.Conv2d(1, 1, 4, stride=4)
        self.pointer_projection = Mlp(width, width, width, width)
        self.no_object_pointer = nn.Parameter(0.02 * torch.randn(width))
        self.memory_time = nn.Parameter(0.02 * torch.randn(config.memories, memory_width))
        self.no_memory_embedding = nn.Parameter(0.02 * torch.randn(width))
        # published files hold it, no published configuration uses it
        self.no_memory_position = nn.Parameter(0.02 * torch.randn(width))
        newer = config.version == "2.1"
        self.absent_embedding = nn.Parameter(0.02 * torch.randn(memory_width)) if newer else None
        self.pointer_time = nn.Linear(width, memory_width) if newer else None

    def look_at(self, part: Part | None) -> None:
        """Take images for a part of the input from now on, or for all of it: positions follow."""
        self.memory_attention.part = part
        self.image_encoder.trunk.part = self.prompt_encoder.fourier.part = part

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Encode (B, 3, S, S), normalised."""
        features: ImageFeatures = self.image_encoder(image)
        return features

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """Embedding of a frame on which an object starts, (B, C, h, w)."""
        return features.embedding + self.no_memory_embedding[:, None, None]

    def with_memory(self, features: ImageFeatures, memories: Memories) -> Tensor:
        """Embedding of a frame conditioned on what each object of a batch remembers."""
        batch, count = memories.maps.shape[:2]
        height, width = memories.maps.shape[-2:]
        memory_width = self.config.memory_width

        position = sine_grid(memory_width, height, width, memories.maps, self.memory_attention.part)
        time = self.memory_time[memories.map_times][..., None, None]  # ([B,] n, M, 1, 1)
        maps = memories.maps.permute(0, 1, 3, 4, 2).reshape(batch, -1, memory_width)
        keys = (memories.maps + position + time).permute(0, 1, 3, 4, 2)
        keys = keys.reshape(batch, count * height * width, memory_width)

        # a pointer is split into tokens as wide as a memory
        split = self.config.width // memory_width
        pointers = memories.pointers.reshape(batch, -1, memory_width)
        pointer_keys = pointers
        if self.pointer_time is not None:
            encoded = sine_time(memories.pointer_offsets, self.config.width)
            encoded = self.pointer_time(encoded.to(self.pointer_time.weight.dtype))
            encoded = encoded[..., None, :].expand(*encoded.shape[:-1], split, -1)
            pointer_keys = pointers + encoded.flatten(-3, -2)
        conditioned: Tensor = self.memory_attention(
            features.embedding,
            torch.cat([keys, pointer_keys.to(keys.dtype)], dim=1),
            torch.cat([maps, pointers.to(maps.dtype)], dim=1),
            pointers.shape[1],
        )
        return conditioned

    def track(
        self,
        embedding: Tensor,
        features: ImageFeatures,
        points_xy: Tensor | None = None,
        labels: Tensor | None = None,
        mask_logits: Tensor | None = None,
    ) -> Tracked:
        """Decode prompts into one mask and one pointer an object; same arguments as `decode`."""
        decoded = self.decode(embedding, features, points_xy, labels, mask_logits)
        # no point, or one, may mean several things
        return self.settle(decoded, ambiguous=points_xy is None or points_xy.shape[1] <= 1)

    def follow(self, features: ImageFeatures, memories: Memories) -> tuple[Tracked, Tensor]:
        """Find a batch of objects on a frame by what they remember; also, their memories of it."""
        tracked = self.track(self.with_memory(features, memories), features)
        return tracked, self.encode_memory(
            features, tracked.logits, tracked.present, prompted=False
        )

    def settle(self, decoded: Decoded, ambiguous: bool) -> Tracked:
        """Choose one of the decoded masks, and take it away where the object is absent."""
        if ambiguous:
            chosen = decoded.best_candidate()
        else:
            chosen = decoded.single(stability_fallback=not self.training)
        present = decoded.presence > 0
        return Tracked(
            torch.where(present[:, None, None, None], chosen.logits, ABSENT_LOGIT),
            chosen.scores[:, 0],
            torch.where(
                present[:, None], self.pointers(chosen.tokens[:, 0]), self.no_object_pointer
            ),
            decoded.presence,
        )

    def track_mask(self, features: ImageFeatures, mask: Tensor) -> Tracked:
        """Take masks (B, 1, S, S), 0 or 1, as the objects' own; only pointers are computed."""
        logits = self.mask_logits(mask)
        fed = self.mask_downsample(mask)
        # a given mask is not ambiguous: its pointer is that of the single mask
        prompted = self.settle(self.decode(features.embedding, features, None, None, fed), False)
        present = mask.flatten(1).any(dim=1)
        pointers = torch.where(present[:, None], prompted.pointers, self.no_object_pointer)
        presence = present * MASK_SCALE + MASK_BIAS
        return Tracked(logits, torch.ones_like(presence), pointers, presence)

    def pointers(self, tokens: Tensor) -> Tensor:
        """Pointers (..., C) of the mask tokens of objects that are present."""
        pointers: Tensor = self.pointer_projection(tokens)
        return pointers

    def encode_memory(
        self, features: ImageFeatures, logits: Tensor, present: Tensor, prompted: bool
    ) -> Tensor:
        """Memories (B, M, h, w) of masks (B, 1, 4 h, 4 w) on one frame.

        ``prompted`` masks are made binary first: what a person marked is certain.
        """
        size = (4 * logits.shape[-2], 4 * logits.shape[-1])
        logits = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        probability = (logits > 0).float() if prompted else logits.sigmoid()
        memory: Tensor = self.memory_encoder(
            features.embedding, probability * MASK_SCALE + MASK_BIAS
        )
        if self.absent_embedding is not None:
            absent = (~present)[:, None, None, None]
            memory = memory + absent * self.absent_embedding[:, None, None]
        return memory
