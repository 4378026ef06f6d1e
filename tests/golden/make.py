"""Write golden.npz and published_names.txt from the published packages.

In the environment of `make parity`: .venv-parity/bin/python -m tests.golden.make
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from tests.golden.answers import FILE, FRAMES, PROMPTED, PROMPTS, SAM1_SIZE, SIZE, sampled
from tests.golden.names import Shapes, write_names
from tests.golden.sessions import SESSIONS, absences, presence, questions, two_objects
from tests.golden.weights import fill, planes
from tests.parity import hugging_face, modules, sam1
from tests.parity.published import exact_torch, sam2
from tests.parity.stacks import Published

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.model.sam2 import ABSENT_LOGIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sam2.sam2_image_predictor import SAM2ImagePredictor
    from segment_anything import SamPredictor
    from tests.golden.sessions import Steps
    from torch import nn

    from napari_sam2.inference.prompts import ModelPrompt

    Answers = dict[str, np.ndarray]

SAM2 = ("sam2.1_tiny", "sam2_tiny")
MARGIN = 1e-4  # from zero of any pixel of a prompted mask; rounding errors are of about 1e-5


def filled(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(torch.from_numpy(fill(name, tuple(tensor.shape))))
    return model


def names() -> dict[str, Shapes]:
    """Names and shapes as in the published files."""
    models = {
        **{f"sam2 {variant}": sam2(variant, SIZE) for variant in SAM2},
        **{f"transformers {v}": hugging_face.sam2_video(v, SIZE) for v in SAM2},
        "segment_anything sam_vit_b": sam1.segment_anything("sam_vit_b", 1024),
        "transformers sam_vit_b": hugging_face.sam1("sam_vit_b", 1024),
    }
    return {title: _saved_shapes(model) for title, model in models.items()}


def _saved_shapes(model: nn.Module) -> Shapes:
    if not hasattr(model, "save_pretrained"):
        return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with TemporaryDirectory() as folder:  # what is shared is written once
        model.save_pretrained(folder)
        with safe_open(Path(folder) / "model.safetensors", "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def sam2_answers(variant: str) -> Answers:
    model = filled(sam2(variant, SIZE))
    with torch.inference_mode():
        given = modules.given(SIZE)
        features = modules.published_features(model, given.image)
        parts = modules.published_parts(model, given, features)
    for name in (modules.CHOSEN, modules.CHOSEN_IOU):  # choices are left to the stack
        del parts[name]
    stacks = {session.__name__: sam2_stack(model, session) for session in SESSIONS}
    return sampled(parts | stacks | {"image predictor": sam2_image(model)})


class PublishedSession:
    """sam2's video predictor on a stack; see `Steps`."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self.masks: list[torch.Tensor] = []

    def prompt(self, object_id: int, frame: int, *prompts: ModelPrompt) -> None:
        self.published.prompt(object_id, frame, prompts)
        state = self.published.state
        prompted = state["temp_output_dict_per_obj"][state["obj_id_to_idx"][object_id]]
        logits = prompted["cond_frame_outputs"][frame]["pred_masks"]
        # as it enters memory
        nearest = F.interpolate(logits, scale_factor=4, mode="bilinear").abs().min()
        assert nearest > MARGIN, f"a pixel is {nearest:.1e} from zero: choose another prompt"

    def forward(self, start: int) -> None:
        self._propagate(start, False)

    def backward(self, start: int) -> None:
        self._propagate(start, True)

    def _propagate(self, start: int, reverse: bool) -> None:
        for _, masks in self.published.propagate(start, reverse):
            self.masks += [torch.from_numpy(masks[object_id]) for object_id in sorted(masks)]

    def remove_prompts(self, object_id: int, frame: int) -> None:
        model, state = self.published.model, self.published.state
        model.clear_all_prompts_in_frame(state, frame, object_id)

    def remove_object(self, object_id: int) -> None:
        self.published.model.remove_object(self.published.state, object_id)


def sam2_stack(model: nn.Module, session: Callable[[Steps], None]) -> list[torch.Tensor]:
    from sam2 import sam2_video_predictor

    last = model.sam_mask_decoder.pred_obj_score_head.layers[-1]
    with pytest.MonkeyPatch.context() as patch, presence(session, last):
        patch.setattr(sam2_video_predictor, "torch", exact_torch())
        steps = PublishedSession(Published(model, planes(FRAMES), patch))
        session(steps)
    absent = [bool((mask == ABSENT_LOGIT).all()) for mask in steps.masks]
    assert set(absent) == ({False, True} if session is absences else {False})
    return steps.masks


def sam2_image(model: nn.Module) -> list[torch.Tensor]:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(model)
    # the package's list is that of 1024 pixels
    predictor._bb_feat_sizes = [(SIZE // stride,) * 2 for stride in (4, 8, 16)]
    predictor.set_image(np.repeat(planes(1, SIZE, SIZE)[0][..., None], 3, axis=2))
    return asked(predictor, SIZE)


def sam1_image(model: nn.Module) -> list[torch.Tensor]:
    from segment_anything import SamPredictor

    predictor = SamPredictor(model)
    plane = planes(1, SAM1_SIZE, SAM1_SIZE)[0]
    predictor.set_torch_image(torch.from_numpy(plane).float().expand(1, 3, -1, -1), plane.shape)
    return asked(predictor, SAM1_SIZE)


def asked(predictor: SAM2ImagePredictor | SamPredictor, size: int) -> list[torch.Tensor]:
    """Mask logits and scores of the questions about an image."""
    found, best = [], None
    for prompts, multimask, refine in questions(size):
        points = [p for p in prompts if isinstance(p, PointPrompt)]
        boxes = [p.box for p in prompts if isinstance(p, BoxPrompt)]
        masks = [p.mask for p in prompts if isinstance(p, MaskPrompt)]
        if masks:  # the published predictors take logits at a quarter of the size
            mask = torch.from_numpy(masks[0] * 20.0 - 10.0)[None, None]
            mask = F.interpolate(mask, scale_factor=0.25, mode="bilinear", antialias=True)
        _, scores, logits = predictor.predict(
            np.array([p.position[::-1] for p in points]),
            np.array([int(p.positive) for p in points]),
            np.array(boxes[0])[[1, 0, 3, 2]] if boxes else None,
            mask[0].float().numpy() if masks else best if refine else None,
            multimask,
        )
        best = logits[[int(scores.argmax())]]
        found += [torch.from_numpy(logits), torch.from_numpy(scores)]
    return found


def transformers_answers(variant: str) -> Answers:
    from transformers.models.sam2_video import modeling_sam2_video

    model = filled(hugging_face.sam2_video(variant, SIZE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_sam2_video, "torch", exact_torch())
        stack = planes(FRAMES)
        passes = hugging_face.propagated(model, stack, PROMPTED, PROMPTS)
        found = [mask for _, masks in passes for mask in masks.values()]
    shape = stack.shape[1:]
    upsampled = [F.interpolate(mask[None], shape, mode="bilinear") for mask in found]
    return sampled({two_objects.__name__: upsampled})


def sam1_answers() -> Answers:
    model = filled(sam1.segment_anything("sam_vit_b", SAM1_SIZE))
    with torch.inference_mode():
        parts = sam1.published_parts(model, SAM1_SIZE)
    return sampled(parts | {"image predictor": sam1_image(model)})


def answers() -> Answers:
    found = {
        **{f"sam2 {variant}": sam2_answers(variant) for variant in SAM2},
        "transformers sam2.1_tiny": transformers_answers("sam2.1_tiny"),
        "segment_anything sam_vit_b": sam1_answers(),
    }
    return {f"{title}, {part}": found[title][part] for title in found for part in found[title]}


if __name__ == "__main__":
    write_names(names())
    np.savez_compressed(FILE, **answers())
    print(f"wrote {FILE}, {FILE.stat().st_size} bytes")
