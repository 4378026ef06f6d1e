"""The modules of SAM 2, each fed with the same tensors on both sides.

Every function answers with lists of tensors under the names of the table's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING

import torch
from tests.golden.weights import planes, uniform

from napari_sam2.inference.video.memory_bank import attended
from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.sam2 import Memories

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_sam2.model.sam2 import Sam2

Parts = dict[str, list["Tensor"]]
Prompts = tuple["Tensor", "Tensor", "Tensor | None"]  # points, labels, mask logits

# One of four masks is chosen by comparing numbers, so in half precision the choice may differ.
CHOSEN = "mask after the stability fallback"
CHOSEN_IOU = "its IoU estimate"
BATCH = 2
CROWD = 128
FRAMES = 12
# Frame, whether the pass is reversed, prompted frames, tracked frames: prompted ones before and
# after, near and far, and gaps between the tracked.
MOMENTS = (
    (8, False, (1, 9), (2, 3, 5, 6, 7)),
    (2, True, (11, 0), (3, 4, 6, 8, 9)),
    (4, False, (7,), ()),  # prompted in the future alone: there is no pointer
)


@dataclass(frozen=True, eq=False)
class Given:
    """What both sides are fed with."""

    image: Tensor  # (1, 3, S, S)
    prompts: tuple[Prompts, ...]
    logits: Tensor  # (B, 1, S / 4, S / 4), of a mask to be remembered
    maps: Tensor  # (frames, B, M, h, w)
    pointers: Tensor  # (frames, B, C)


def given(size: int) -> Given:
    """Tensors for models whose input has a size."""
    grid = size // 16
    plane = torch.from_numpy(planes(1, size, size)[0]).float()
    points = size * (0.5 + 0.5 * noise("points", BATCH, 5, 2))
    fed_back = 12 * noise("fed back", BATCH, 1, 4 * grid, 4 * grid)
    logits = 5 * noise("logits", BATCH, 1, grid, grid)
    tracking = torch.zeros(BATCH, 1, 2), torch.full((BATCH, 1), -1)
    return Given(
        (plane.expand(1, 3, -1, -1) - 100) / 60,
        (
            (points[:, :1], torch.tensor([[1], [0]]), None),
            (points, torch.tensor([[2, 3, 1, 0, 1], [2, 3, 1, 1, 0]]), None),
            (points[:, :3], torch.tensor([[1, 0, 1], [1, 1, -1]]), fed_back),
            (*tracking, None),
            (*tracking, fed_back),
        ),
        torch.nn.functional.interpolate(logits, scale_factor=4, mode="bilinear"),
        1.7 * noise("maps", FRAMES, BATCH, 64, grid, grid),
        1.7 * noise("pointers", FRAMES, BATCH, 256),
    )


def crowd(size: int) -> tuple[Tensor, Tensor]:
    """Many pairs of points: a prompt has few scores, and few rounding errors tell little."""
    labels = torch.tensor([[1, 0], [1, 1], [2, 3], [1, -1]]).repeat(CROWD // 4, 1)
    return size * (0.5 + 0.5 * noise("crowd", CROWD, 2, 2)), labels


def noise(name: str, *shape: int) -> Tensor:
    """Numbers in -1 to 1, the same on every machine."""
    return torch.from_numpy(uniform(name, prod(shape)).reshape(shape).astype("float32"))


def published_features(model: nn.Module, image: Tensor) -> ImageFeatures:
    skip4, skip8, embedding = model.forward_image(image)["backbone_fpn"]
    return ImageFeatures(embedding, skip8, skip4)


def published_parts(model: nn.Module, given: Given, features: ImageFeatures) -> Parts:
    """What the published modules answer; all but the encoder are fed with ``features``."""
    parts = encoded(published_features(model, given.image))
    for points, labels, mask in given.prompts:
        sparse, dense = model.sam_prompt_encoder((points, labels), None, mask)
        _add(parts, {"prompt tokens": sparse, "dense prompt": dense})
        for multimask in (False, True):
            logits, scores, tokens, presence = model.sam_mask_decoder(
                features.embedding.expand(BATCH, -1, -1, -1),
                model.sam_prompt_encoder.get_dense_pe(),
                sparse,
                dense,
                multimask,
                repeat_image=False,
                high_res_features=[features.skip4, features.skip8],
            )
            _add_decoded(parts, multimask, logits, scores)
            _add(parts, {"object score": presence, "object pointer": model.obj_ptr_proj(tokens)})
    flat = features.embedding.expand(BATCH, -1, -1, -1).flatten(2).permute(2, 0, 1)
    sizes = [features.embedding.shape[-2:]]
    high = torch.nn.functional.interpolate(given.logits, scale_factor=4, mode="bilinear")
    for present, prompted in product((1.0, -1.0), (False, True)):
        score = torch.full((BATCH, 1), present)
        memory, positions = model._encode_new_memory([flat], sizes, high, score, prompted)
        _add(parts, {"memory": memory})
    position = model.image_encoder.neck.position_encoding(features.embedding)
    position = position.expand(BATCH, -1, -1, -1).flatten(2).permute(2, 0, 1)
    for frame, reverse, conditioning, tracked in MOMENTS:
        outputs = {
            kind: {
                known: {
                    "maskmem_features": given.maps[known],
                    "maskmem_pos_enc": positions,
                    "obj_ptr": given.pointers[known],
                }
                for known in frames
            }
            for kind, frames in (
                ("cond_frame_outputs", conditioning),
                ("non_cond_frame_outputs", tracked),
            )
        }
        conditioned = model._prepare_memory_conditioned_features(
            frame, False, [flat], [position], sizes, outputs, FRAMES, reverse
        )
        _add(parts, {"memory-conditioned": conditioned})
    return parts


def published_scores(
    model: nn.Module, features: ImageFeatures, points: Tensor, labels: Tensor
) -> Parts:
    """The published decoder's scores of many prompts."""
    sparse, dense = model.sam_prompt_encoder((points, labels), None, None)
    _, scores, _, presence = model.sam_mask_decoder(
        features.embedding,
        model.sam_prompt_encoder.get_dense_pe(),
        sparse,
        dense,
        multimask_output=True,
        repeat_image=True,
        high_res_features=[features.skip4, features.skip8],
    )
    return {"object score": [presence.float()], "IoU estimate": [scores.float()]}


def our_scores(network: Sam2, features: ImageFeatures, points: Tensor, labels: Tensor) -> Parts:
    """The same of ours."""
    decoded = network.decode(features.embedding, features, points + 0.5, labels)
    scores = decoded.candidates().scores
    return {"object score": [decoded.presence[:, None].float()], "IoU estimate": [scores.float()]}


def our_parts(network: Sam2, given: Given, features: ImageFeatures) -> Parts:
    """The same of ours."""
    parts = encoded(network.encode_image(given.image))
    for points, labels, mask in given.prompts:
        points = points + 0.5  # the published prompt encoder does so itself
        grid = features.embedding.shape[-2:]
        dense = network.prompt_encoder.dense(mask, grid)
        tokens = network.prompt_encoder.points(points, labels, grid)
        _add(parts, {"prompt tokens": tokens, "dense prompt": dense.expand(BATCH, -1, -1, -1)})
        embedding = features.embedding
        decoded = network.decode(embedding, features, points, labels, mask)
        for multimask in (False, True):
            chosen = decoded.candidates() if multimask else decoded.single(True)
            _add_decoded(parts, multimask, chosen.logits, chosen.scores)
            pointer = network.pointer_projection(chosen.tokens)
            _add(parts, {"object score": chosen.presence[:, None], "object pointer": pointer})
    for present, prompted in product((True, False), (False, True)):
        seen = torch.full((BATCH,), present)
        memory = network.encode_memory(features.expand(BATCH), given.logits, seen, prompted)
        _add(parts, {"memory": memory})
    for moment in MOMENTS:
        conditioned = network.with_memory(features, memories(given, *moment))
        _add(parts, {"memory-conditioned": conditioned})
    return parts


def memories(
    given: Given,
    frame: int,
    reverse: bool,
    conditioning: tuple[int, ...],
    tracked: tuple[int, ...],
) -> Memories:
    """What our rules choose of the given memories."""
    chosen = attended(frame, conditioning, tracked, FRAMES, reverse)
    offsets = torch.tensor([back for _, back in chosen.pointers], dtype=torch.float32)
    return Memories(
        torch.stack([given.maps[known] for known, _ in chosen.maps], dim=1),
        torch.tensor([time for _, time in chosen.maps]),
        given.pointers[[known for known, _ in chosen.pointers]].transpose(0, 1),
        offsets / (FRAMES - 1),
    )


def encoded(features: ImageFeatures) -> Parts:
    """What an image encoder answers."""
    maps = [features.skip8.float(), features.skip4.float()]
    return {"image embedding": [features.embedding.float()], "finer maps": maps}


def _add_decoded(parts: Parts, multimask: bool, logits: Tensor, scores: Tensor) -> None:
    name = "mask logits" if multimask else CHOSEN
    _add(parts, {name: logits, "IoU estimate" if multimask else CHOSEN_IOU: scores})


def _add(parts: Parts, found: dict[str, Tensor]) -> None:
    for name, tensor in found.items():
        parts.setdefault(name, []).append(tensor.float())
