"""From an image embedding and prompts to masks, their scores and the object's presence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.layers import LayerNorm2d, Mlp
from napari_sam2.model.two_way_transformer import TwoWayTransformer

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam1Config, Sam2Config

MASK_TOKENS = 4  # one for an unambiguous prompt, three candidates for an ambiguous one

# The single mask is replaced by the best candidate where shifting its threshold by this much
# leaves less than this share of it (sam2's published configuration).
STABILITY_DELTA = 0.05
STABILITY_THRESHOLD = 0.98


@dataclass(frozen=True, eq=False)
class Decoded:
    """Masks of a batch of objects; m is 4 as decoded, 3 or 1 once selected."""

    logits: Tensor  # (B, m, 4 h, 4 w)
    scores: Tensor  # (B, m), predicted IoU
    tokens: Tensor  # (B, m, C)
    presence: Tensor  # (B,), logit of "the object is on this image"; infinite in SAM 1

    def candidates(self) -> Decoded:
        """The three masks of an ambiguous prompt."""
        return Decoded(self.logits[:, 1:], self.scores[:, 1:], self.tokens[:, 1:], self.presence)

    def best_candidate(self) -> Decoded:
        """The candidate with the highest predicted IoU, m = 1."""
        choice = self.scores[:, 1:].argmax(dim=1) + 1
        return self._pick(choice, choice)

    def single(self, stability_fallback: bool) -> Decoded:
        """The mask of an unambiguous prompt, m = 1; the best candidate where it is unstable.

        The token stays that of the single mask, also where the fallback takes the candidate.
        """
        choice = torch.zeros(len(self.logits), dtype=torch.long, device=self.logits.device)
        if not stability_fallback:
            return self._pick(choice, choice)
        single = self.logits[:, 0].flatten(1)
        inner = (single > STABILITY_DELTA).sum(dim=1)
        outer = (single > -STABILITY_DELTA).sum(dim=1)
        stability = torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
        best = self.scores[:, 1:].argmax(dim=1) + 1
        return self._pick(torch.where(stability < STABILITY_THRESHOLD, best, choice), choice)

    def _pick(self, mask: Tensor, token: Tensor) -> Decoded:
        batch = torch.arange(len(mask), device=mask.device)
        return Decoded(
            self.logits[batch, mask][:, None],
            self.scores[batch, mask][:, None],
            self.tokens[batch, token][:, None],
            self.presence,
        )


class MaskDecoder(nn.Module):
    """Two-way transformer, upsampling, one small network a mask.

    SAM 2 adds to SAM 1's the encoder's finer maps, a token for the object's presence, and a sigmoid
    that keeps scores between 0 and 1.
    """

    def __init__(self, config: Sam1Config | Sam2Config) -> None:
        super().__init__()
        width = config.width
        newer = config.family == "sam2"
        self.presence_token = nn.Parameter(torch.randn(1, width)) if newer else None
        self.score_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(MASK_TOKENS, width))
        self.transformer = TwoWayTransformer(config)
        self.upsample1 = nn.ConvTranspose2d(width, width // 4, 2, stride=2)
        self.upsample_norm = LayerNorm2d(width // 4)
        self.upsample2 = nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2)
        self.mask_heads = nn.ModuleList(
            Mlp(width, width, width, width // 8) for _ in range(MASK_TOKENS)
        )
        self.score_head = Mlp(width, width, width, MASK_TOKENS)
        self.presence_head = Mlp(width, width, width, 1) if newer else None

    def forward(
        self,
        embedding: Tensor,  # (B, C, h, w), prompts' dense embedding already added
        skip8: Tensor,  # (B, C / 4, 2 h, 2 w)
        skip4: Tensor,  # (B, C / 8, 4 h, 4 w)
        position: Tensor,  # (1, C, h, w)
        prompts: Tensor,  # (B, P, C)
    ) -> Decoded:
        own = torch.cat([self.score_token, self.mask_tokens])
        if self.presence_token is not None:
            own = torch.cat([self.presence_token, own])
        tokens = torch.cat([own.expand(len(prompts), -1, -1).to(prompts.dtype), prompts], dim=1)
        tokens, image = self.transformer(embedding, position, tokens)
        image = image.transpose(1, 2).unflatten(2, embedding.shape[-2:])

        upsampled = self.upsample1(image)
        if self.presence_token is not None:
            upsampled = upsampled + skip8
        upsampled = self.upsample2(F.gelu(self.upsample_norm(upsampled)))
        if self.presence_token is not None:
            upsampled = upsampled + skip4
        upsampled = F.gelu(upsampled)  # (B, C / 8, 4 h, 4 w)
        presence = torch.full((len(prompts),), torch.inf, device=prompts.device)
        if self.presence_head is not None:
            presence = self.presence_head(tokens[:, 0])[:, 0]
            tokens = tokens[:, 1:]
        mask_tokens = tokens[:, 1 : 1 + MASK_TOKENS]
        weights = torch.stack(
            [head(mask_tokens[:, index]) for index, head in enumerate(self.mask_heads)], dim=1
        )  # (B, 4, C / 8)
        logits = (weights @ upsampled.flatten(2)).unflatten(2, upsampled.shape[-2:])
        scores = self.score_head(tokens[:, 0])
        if self.presence_head is not None:
            scores = scores.sigmoid()
        return Decoded(logits, scores, mask_tokens, presence)
