"""The transformer in which prompts and image attend to each other (arXiv 2304.02643)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam2.model.gpu import lowered
from napari_sam2.model.layers import Attention

if TYPE_CHECKING:
    from napari_sam2.model.config import Sam1Config, Sam2Config

HEADS = 8


class TwoWayBlock(nn.Module):
    """Tokens to tokens, tokens to image, feed-forward, image to tokens."""

    def __init__(self, width: int, feedforward: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, HEADS)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = Attention(width, HEADS, inner=width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feedforward)
        self.contract = nn.Linear(feedforward, width)
        self.norm3 = nn.LayerNorm(width)
        self.image_to_token = Attention(width, HEADS, inner=width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, image: Tensor, prompts: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        # tokens (B, T, C), image (B, HW, C); prompts and position are added to queries and keys
        if self.first:
            # the tokens still are the prompts, so nothing is added, to them or afterwards
            tokens = self.norm1(self.self_attention(tokens, tokens, tokens))
        else:
            query = tokens + prompts
            tokens = self.norm1(tokens + self.self_attention(query, query, tokens))
        key = lowered(image + position)
        tokens = self.norm2(tokens + self.token_to_image(tokens + prompts, key, image))
        tokens = self.norm3(tokens + self.contract(F.relu(self.expand(tokens))))
        image = self.norm4(image + self.image_to_token(key, tokens + prompts, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, config: Sam1Config | Sam2Config) -> None:
        super().__init__()
        width = config.width
        self.blocks = nn.ModuleList(
            TwoWayBlock(width, config.decoder_feedforward, first=index == 0) for index in range(2)
        )
        self.final_attention = Attention(width, HEADS, inner=width // 2)
        self.final_norm = nn.LayerNorm(width)

    def forward(self, image: Tensor, position: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        # image (B, C, h, w), position (1, C, h, w), prompts (B, T, C) -> (B, T, C), (B, hw, C)
        image = image.flatten(2).transpose(1, 2)
        position = position.flatten(2).transpose(1, 2)
        tokens = prompts
        for block in self.blocks:
            tokens, image = block(tokens, image, prompts, position)
        attended = self.final_attention(tokens + prompts, image + position, image)
        return self.final_norm(tokens + attended), image
