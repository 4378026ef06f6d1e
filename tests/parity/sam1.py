"""SAM 1: the networks of segment_anything and ours, fed with the same tensors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from tests.golden.weights import planes
from tests.parity.modules import noise
from tests.parity.published import model_image, perturb

from napari_sam2.model.config import SAM1_VARIANTS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_sam2.model.sam1 import Sam1

Parts = dict[str, list["Tensor"]]
BATCH = 2


def segment_anything(variant: str, size: int) -> nn.Module:
    """A model with random weights, such as ``sam_vit_b``, learned at a size."""
    from segment_anything import modeling

    vit = SAM1_VARIANTS[variant].vit
    torch.manual_seed(0)
    model = modeling.Sam(
        modeling.ImageEncoderViT(
            img_size=size,
            embed_dim=vit.width,
            depth=vit.depth,
            num_heads=vit.heads,
            global_attn_indexes=vit.global_blocks,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
        ),
        modeling.PromptEncoder(256, (size // 16,) * 2, (size,) * 2, 16),
        modeling.MaskDecoder(
            transformer_dim=256, transformer=modeling.TwoWayTransformer(2, 256, 8, 2048)
        ),
    )
    perturb(model)
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class Case:
    """Prompts as segment_anything takes them, which tells boxes from points."""

    points: tuple[Tensor, Tensor] | None  # (B, P, 2) and labels (B, P)
    boxes: Tensor | None = None  # (B, 4)
    logits: Tensor | None = None  # (B, 1, S / 4, S / 4)

    def ours(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """As ours takes them: a box is two points, and places are shifted by half a pixel."""
        clicks = [] if self.points is None else [self.points]
        if self.boxes is not None:
            clicks.insert(0, (self.boxes.reshape(-1, 2, 2), torch.tensor([[2, 3]] * BATCH)))
        if not clicks:
            return None, None, self.logits
        points, labels = (torch.cat(parts, dim=1) for parts in zip(*clicks, strict=True))
        return points + 0.5, labels, self.logits


def cases(size: int) -> tuple[Case, ...]:
    points = size * (0.5 + 0.5 * noise("points", BATCH, 3, 2)), torch.tensor([[1, 0, 1], [1, 1, 0]])
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.3, 0.1, 0.9, 0.8]]) * size
    logits = 12 * noise("fed back", BATCH, 1, size // 4, size // 4)
    return (
        Case(points),
        Case(None, boxes),
        Case(points, boxes),
        Case(points, logits=logits),
        Case(None, logits=logits),
    )


def image_of(size: int) -> Tensor:
    return model_image(planes(1, size, size)[0], size)


def published_parts(model: nn.Module, size: int) -> Parts:
    """What segment_anything answers."""
    embedding = model.image_encoder(image_of(size))
    parts: Parts = {"image embedding": [embedding], "mask logits": [], "IoU estimate": []}
    place = model.prompt_encoder.get_dense_pe()
    for case in cases(size):
        sparse, dense = model.prompt_encoder(case.points, case.boxes, case.logits)
        for multimask in (False, True):
            logits, scores = model.mask_decoder(embedding, place, sparse, dense, multimask)
            parts["mask logits"].append(logits)
            parts["IoU estimate"].append(scores)
    return parts


def our_parts(network: Sam1, size: int) -> Parts:
    """The same of ours."""
    features = network.encode_image(image_of(size))
    parts: Parts = {"image embedding": [features.embedding], "mask logits": [], "IoU estimate": []}
    for case in cases(size):
        decoded = network.decode(features.embedding, features, *case.ours())
        for chosen in (decoded.single(stability_fallback=False), decoded.candidates()):
            parts["mask logits"].append(chosen.logits)
            parts["IoU estimate"].append(chosen.scores)
    return parts
