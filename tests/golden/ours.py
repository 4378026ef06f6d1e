"""Our models, filled like the published ones whose answers are stored."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from tests.golden.names import read_names
from tests.golden.sessions import questions
from tests.golden.weights import fill, planes
from tests.parity.stacks import plane_logits

from napari_sam2 import ImagePredictor
from napari_sam2.checkpoints.convert import convert
from napari_sam2.checkpoints.keys import (
    HUGGING_FACE_SAM1,
    HUGGING_FACE_SAM2,
    META_SAM1,
    META_SAM2,
)
from napari_sam2.checkpoints.read import expected_shapes, make_network
from napari_sam2.inference.load import Model
from napari_sam2.model.config import SAM1_VARIANTS, VARIANTS

if TYPE_CHECKING:
    from napari_sam2 import VideoPredictor
    from napari_sam2.inference.prompts import ModelPrompt
    from napari_sam2.inference.video.video_predictor import Direction

TABLES = {
    ("sam2", "sam2"): META_SAM2,
    ("transformers", "sam2"): HUGGING_FACE_SAM2,
    ("segment_anything", "sam1"): META_SAM1,
    ("transformers", "sam1"): HUGGING_FACE_SAM1,
}


@cache
def model(title: str, image_size: int) -> Model:
    """A model for one of the titles of `read_names`, through the names of that file."""
    package, _, variant = title.partition(" ")
    config = (VARIANTS | SAM1_VARIANTS)[variant]
    shapes = dict(read_names()[title])
    if config.family == "sam1":  # learned at another size
        config = replace(config, image_size=image_size, trained_size=image_size)
        grid = image_size // 16
        for name, shape in shapes.items():
            if name.endswith("pos_embed"):
                shapes[name] = (1, grid, grid, shape[-1])
            elif "rel_pos" in name and shape[0] == 127:
                shapes[name] = (2 * grid - 1, shape[-1])
    else:
        config = config.with_image_size(image_size)
    published = {name: torch.from_numpy(fill(name, shape)) for name, shape in shapes.items()}
    expected = expected_shapes(config)
    state, unknown = convert(published, TABLES[package, config.family], expected)
    assert not unknown
    network = make_network(config)
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return Model(network, torch.device("cpu"), torch.float32)


class OurSession:
    """Our video predictor on a stack; see `Steps`."""

    def __init__(self, predictor: VideoPredictor) -> None:
        self.predictor = predictor
        self.masks: list[torch.Tensor] = []

    def prompt(self, object_id: int, frame: int, *prompts: ModelPrompt) -> None:
        self.predictor.add_prompts(object_id, frame, prompts)

    def forward(self, start: int) -> None:
        self._propagate("forward", start)

    def backward(self, start: int) -> None:
        self._propagate("backward", start)

    def _propagate(self, direction: Direction, start: int) -> None:
        for result in self.predictor.propagate(direction, start=start):
            for object_id in sorted(result.object_ids):
                logits = plane_logits(self.predictor, object_id, result.frame)
                self.masks.append(torch.from_numpy(logits))

    def remove_prompts(self, object_id: int, frame: int) -> None:
        self.predictor.remove_prompts(object_id, frame)

    def remove_object(self, object_id: int) -> None:
        self.predictor.remove_object(object_id)


def asked(model: Model, size: int) -> list[torch.Tensor]:
    """Mask logits and scores of the questions about an image."""
    predictor = ImagePredictor(model)
    predictor.set_image(planes(1, size, size)[0])
    found, last = [], None
    for prompts, multimask, refine in questions(size):
        last = predictor.predict(prompts, multimask, last if refine else None)
        found += [torch.from_numpy(last.logits), torch.from_numpy(last.scores)]
    return found
