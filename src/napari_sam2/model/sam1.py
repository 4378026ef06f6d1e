"""SAM 1 assembled (arXiv 2304.02643)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.promptable import Promptable
from napari_sam2.model.sam2 import Tracked
from napari_sam2.model.vit import Vit

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam2.model.config import Sam1Config
    from napari_sam2.model.mask_decoder import Decoded


class Sam1(Promptable):
    """The networks of SAM 1. It has no memory: what it knows, it knows of one image."""

    def __init__(self, config: Sam1Config) -> None:
        super().__init__(config)
        self.config = config
        self.image_encoder = Vit(config.vit, config.width, config.trained_size // 16)

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Encode (B, 3, S, S), normalised and padded with zeros."""
        embedding: Tensor = self.image_encoder(image)
        none = embedding.new_empty(len(embedding), 0, 0, 0)
        return ImageFeatures(embedding, none, none)

    def without_memory(self, features: ImageFeatures) -> Tensor:
        """The embedding that is decoded, (B, C, h, w)."""
        return features.embedding

    def settle(self, decoded: Decoded, ambiguous: bool) -> Tracked:
        """Choose one of the decoded masks."""
        chosen = decoded.best_candidate() if ambiguous else decoded.single(stability_fallback=False)
        pointers = self.pointers(chosen.tokens[:, 0])
        return Tracked(chosen.logits, chosen.scores[:, 0], pointers, self._presence(chosen.logits))

    def track_mask(self, features: ImageFeatures, mask: Tensor) -> Tracked:
        """Take masks (B, 1, S, S), 0 or 1, as the objects' own."""
        logits = self.mask_logits(mask)
        scores = mask.new_ones(len(mask))
        pointers = self.pointers(mask)
        return Tracked(logits, scores, pointers, self._presence(logits))

    @staticmethod
    def _presence(logits: Tensor) -> Tensor:
        """Whether there is a mask at all, as SAM 1 judges no presence: (B,), infinite logits."""
        anything = (logits > 0).flatten(1).any(dim=1)
        return torch.where(anything, torch.inf, -torch.inf)

    @staticmethod
    def pointers(tokens: Tensor) -> Tensor:
        """SAM 1 has no pointers: an empty tensor (B, 0)."""
        return tokens.new_empty(len(tokens), 0)
