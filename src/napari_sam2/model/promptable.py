"""What SAM 1 and SAM 2 share: prompts and an image embedding to masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.mask_decoder import Decoded, MaskDecoder
from napari_sam2.model.prompt_encoder import PromptEncoder

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam1Config, Sam2Config
    from napari_sam2.model.neck import ImageFeatures

# A mask enters a memory as probability x scale + bias; a given mask becomes logits the same way.
MASK_SCALE, MASK_BIAS = 20.0, -10.0


class Promptable(nn.Module):
    """A prompt encoder and a mask decoder."""

    def __init__(self, config: Sam1Config | Sam2Config) -> None:
        super().__init__()
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)

    @staticmethod
    def mask_logits(mask: Tensor) -> Tensor:
        """Logits (B, 1, S / 4, S / 4) that given masks (B, 1, S, S), 0 or 1, stand for."""
        return F.interpolate(
            mask * MASK_SCALE + MASK_BIAS, scale_factor=0.25, mode="bilinear", antialias=True
        )

    def decode(
        self,
        embedding: Tensor,  # (B or 1, C, h, w)
        features: ImageFeatures,  # of the same frame, for the skips
        points_xy: Tensor | None,  # (B, P, 2), model pixels; None: no points
        labels: Tensor | None,  # (B, P)
        mask_logits: Tensor | None = None,  # (B, 1, 4 h, 4 w)
    ) -> Decoded:
        """Decode prompts into four masks an object."""
        grid = embedding.shape[-2], embedding.shape[-1]
        if points_xy is None or labels is None:
            batch = len(embedding) if mask_logits is None else len(mask_logits)
            prompts = self.prompt_encoder.no_points(batch)
        else:
            batch = len(points_xy)
            prompts = self.prompt_encoder.points(points_xy, labels, grid)
        dense = self.prompt_encoder.dense(mask_logits, grid)
        features = features.expand(batch) if len(features.skip8) == 1 else features
        decoded: Decoded = self.mask_decoder(
            (embedding + dense).expand(batch, -1, -1, -1),
            features.skip8,
            features.skip4,
            self.prompt_encoder.fourier.grid(*grid)[None],
            prompts,
        )
        return decoded
