"""SAM 1 assembled (arXiv 2304.02643)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.mask_decoder import Decoded, MaskDecoder
from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.prompt_encoder import PromptEncoder
from napari_sam2.model.sam2 import MASK_BIAS, MASK_SCALE, Tracked
from napari_sam2.model.vit import Vit

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam1Config


class Sam1(nn.Module):
    """The networks of SAM 1. It has no memory: what it knows, it knows of one image."""

    def __init__(self, config: Sam1Config) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = Vit(config.vit, config.width, config.trained_size // 16)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Encode (B, 3, S, S), normalised and padded with zeros."""
        embedding: Tensor = self.image_encoder(image)
        none = embedding.new_empty(len(embedding), 0, 0, 0)
        return ImageFeatures(embedding, none, none)

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """The embedding that is decoded, (B, C, h, w)."""
        return features.embedding

    def decode(
        self,
        embedding: Tensor,  # (B or 1, C, h, w)
        features: ImageFeatures,  # of the same image; unused, as SAM 1 has no skips
        points_xy: Tensor | None,  # (B, P, 2), model pixels; None: no points
        labels: Tensor | None,  # (B, P)
        mask_logits: Tensor | None = None,  # (B, 1, 4 h, 4 w)
    ) -> Decoded:
        """Decode prompts into four masks an object."""
        batch = len(embedding) if mask_logits is None else len(mask_logits)
        if points_xy is None or labels is None:
            points_xy = embedding.new_zeros(batch, 0, 2)
            labels = torch.zeros(batch, 0, dtype=torch.long, device=embedding.device)
        batch, grid = len(points_xy), (embedding.shape[-2], embedding.shape[-1])
        dense = self.prompt_encoder.dense(mask_logits, grid)
        decoded: Decoded = self.mask_decoder(
            (embedding + dense).expand(batch, -1, -1, -1),
            features.skip8,
            features.skip4,
            self.prompt_encoder.fourier.grid(*grid)[None],
            self.prompt_encoder.points(points_xy, labels, grid),
        )
        return decoded

    def settle(self, decoded: Decoded, ambiguous: bool) -> Tracked:
        """Choose one of the decoded masks."""
        chosen = decoded.best_candidate() if ambiguous else decoded.single(stability_fallback=False)
        pointers = self.pointers(chosen.tokens[:, 0])
        return Tracked(chosen.logits, chosen.scores[:, 0], pointers, decoded.presence)

    def track_mask(self, features: ImageFeatures, mask: Tensor) -> Tracked:
        """Take masks (B, 1, S, S), 0 or 1, as the objects' own."""
        logits = F.interpolate(
            mask * MASK_SCALE + MASK_BIAS, scale_factor=0.25, mode="bilinear", antialias=True
        )
        scores = mask.new_ones(len(mask))
        return Tracked(logits, scores, self.pointers(features.embedding), scores)

    @staticmethod
    def pointers(tokens: Tensor) -> Tensor:
        """SAM 1 has no pointers: an empty tensor (B, 0)."""
        return tokens.new_empty(len(tokens), 0)
