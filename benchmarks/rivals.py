"""This project and the published packages, asked for the same things with the same weights.

Tracking is timed with a full memory, as on most frames of a long stack: one frame is tracked, and
what was found there stands for the frames up to the one that is timed, in every package alike.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tests.parity import hugging_face, published

from napari_sam2 import ImagePredictor, PointPrompt, VideoPredictor
from napari_sam2.inference.encode import encode_images
from napari_sam2.inference.load import Model, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sam2.sam2_image_predictor import SAM2ImagePredictor

MOST = 8  # images encoded in one call
FULL = 16  # frames after which every memory and pointer is taken
FRAMES = FULL + 16
SHAPE = (256, 320)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def clicks(objects: int) -> dict[int, tuple[float, float]]:
    """Where each object is clicked on the first frame, as (row, column)."""
    random = np.random.default_rng(0)
    return {n + 1: tuple(random.uniform(20, 236, 2).tolist()) for n in range(objects)}


def sync() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Rival(ABC):
    """One package in one precision."""

    name: str
    half: bool
    clicks: bool = True  # whether it answers clicks on single images
    compiles: bool = False

    def precision(self) -> AbstractContextManager[object]:
        return torch.autocast(DEVICE.type, torch.bfloat16) if self.half else nullcontext()

    @abstractmethod
    def encode(self) -> None:
        """Encode the first frame."""

    def encode_batch(self, images: int) -> None:
        """Encode so many frames in one call."""
        raise NotImplementedError

    def click(self) -> None:
        """Answer a click on the first frame, encoded by the first call."""
        raise NotImplementedError

    @abstractmethod
    def prepare(self, objects: int) -> None:
        """Prompt objects on frame 0, track frame 1, and fill the memory."""

    @abstractmethod
    def track(self, frame: int) -> np.ndarray:
        """Encode a frame and track every object to it: logits (objects, S / 4, S / 4)."""


class Ours(Rival):
    """This project."""

    def __init__(self, model: Model, stack: np.ndarray, half: bool) -> None:
        self.name, self.half = _named("ours", half), half
        self.model = replace(model, dtype=torch.bfloat16 if half else torch.float32)
        self.stack = stack
        size = model.config.image_size
        self.images = torch.cat([published.model_image(plane, size) for plane in stack[:MOST]])
        self.images = self.images.to(DEVICE)

    def encode(self) -> None:
        self.encode_batch(1)

    def encode_batch(self, images: int) -> None:
        encode_images(self.model, self.images[:images])

    @cached_property
    def predictor(self) -> ImagePredictor:
        predictor = ImagePredictor(self.model)
        predictor.set_image(self.stack[0])
        return predictor

    def click(self) -> None:
        prediction = self.predictor.predict([PointPrompt((100.0, 120.0))], multimask=True)
        prediction.masks  # noqa: B018

    def prepare(self, objects: int) -> None:
        self.video = VideoPredictor(self.model, self.stack, memory_budget=2**33, store=None)
        for object_id, position in clicks(objects).items():
            self.video.add_prompts(object_id, 0, [PointPrompt(position)])
        for _ in self.video.propagate("forward", start=0, stop=1):
            pass
        for track in self.video._tracks.values():
            track.tracked.update(dict.fromkeys(range(2, FULL + 1), track.tracked[1]))

    def track(self, frame: int) -> np.ndarray:
        list(self.video.propagate("forward", start=frame, stop=frame))
        found = [track.tracked[frame].logits[0] for track in self.video._tracks.values()]
        return torch.stack(found).float().cpu().numpy()


class Sam2Package(Rival):
    """The sam2 package's video predictor."""

    def __init__(self, model: torch.nn.Module, stack: np.ndarray, half: bool) -> None:
        self.name = _named("sam2, compiled" if self.compiles else "sam2", half)
        self.half = half
        self.model, self.stack = model.to(DEVICE), stack
        size = model.image_size
        # on the device, where the package has them unless told otherwise
        self.images = torch.cat([published.model_image(plane, size) for plane in stack]).to(DEVICE)

    def encode(self) -> None:
        self.encode_batch(1)

    def encode_batch(self, images: int) -> None:
        with torch.inference_mode(), self.precision():
            self.model.forward_image(self.images[:images])

    @cached_property
    def predictor(self) -> SAM2ImagePredictor:
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        predictor = SAM2ImagePredictor(self.model)
        size = self.model.image_size  # it knows that of the published models alone
        predictor._bb_feat_sizes = [(size // stride,) * 2 for stride in (4, 8, 16)]
        predictor.set_image(np.repeat(self.stack[0][..., None], 3, axis=-1))
        return predictor

    def click(self) -> None:
        with self.precision():
            self.predictor.predict(np.array([[120.0, 100.0]]), np.array([1]), multimask_output=True)

    def prepare(self, objects: int) -> None:
        from sam2 import sam2_video_predictor

        sam2_video_predictor.torch = torch if self.half else published.exact_torch()
        sam2_video_predictor.tqdm = lambda frames, **_: frames
        sam2_video_predictor.load_video_frames = lambda **_: (self.images, *SHAPE)
        with self.precision():
            self.state = self.model.init_state("")
            for object_id, (row, column) in clicks(objects).items():
                self.model.add_new_points_or_box(
                    self.state, 0, object_id, points=[(column, row)], labels=[1]
                )
            list(self.model.propagate_in_video(self.state, 0, 1))
        for outputs in self.state["output_dict_per_obj"].values():
            known = outputs["non_cond_frame_outputs"]
            known.update(dict.fromkeys(range(2, FULL + 1), known[1]))

    def track(self, frame: int) -> np.ndarray:
        self.state["cached_features"].clear()
        with self.precision():
            list(self.model.propagate_in_video(self.state, frame, 0))
        outputs = self.state["output_dict_per_obj"].values()
        found = [each["non_cond_frame_outputs"][frame]["pred_masks"][0, 0] for each in outputs]
        return torch.stack(found).float().cpu().numpy()


class Sam2Compiled(Sam2Package):
    """The same, compiled whole: it compiles while it is first used."""

    compiles = True
    clicks = False


class Transformers(Rival):
    """The video model of the transformers package."""

    clicks = False

    def __init__(self, model: torch.nn.Module, stack: np.ndarray, half: bool) -> None:
        self.name, self.half = _named("transformers", half), half
        self.model = model.to(DEVICE)
        self.video = torch.cat([published.model_image(plane, model.image_size) for plane in stack])

    def encode(self) -> None:
        with torch.inference_mode(), self.precision():
            self.model.get_image_features(self.video[:1].to(DEVICE))

    def prepare(self, objects: int) -> None:
        from transformers.models.sam2_video import modeling_sam2_video

        self.session = modeling_sam2_video.Sam2VideoInferenceSession(
            self.video, *SHAPE, dtype=torch.float32, inference_device=DEVICE
        )
        for object_id, (row, column) in clicks(objects).items():
            scaled = torch.tensor([[[[column / SHAPE[1], row / SHAPE[0]]]]]) * self.model.image_size
            inputs = {"point_coords": scaled, "point_labels": torch.ones(1, 1, 1, dtype=torch.long)}
            self.session.add_point_inputs(self.session.obj_id_to_idx(object_id), 0, inputs)
            self.session.obj_with_new_inputs.append(object_id)
        with torch.inference_mode(), self.precision():
            for frame in (0, 1):
                self.model(self.session, frame_idx=frame)
        for outputs in self.session.output_dict_per_obj.values():
            known = outputs["non_cond_frame_outputs"]
            known.update(dict.fromkeys(range(2, FULL + 1), known[1]))

    def track(self, frame: int) -> np.ndarray:
        self.session.cache.clear_all()
        with torch.inference_mode(), self.precision():
            output = self.model(self.session, frame_idx=frame)
        return output.pred_masks[:, 0].float().cpu().numpy()


def pairs(
    variant: str, size: int, packages: list[str], precisions: list[str]
) -> Iterator[tuple[Ours, Rival]]:
    """Ours beside each package in each precision, with that package's weights."""
    stack = published.discs(FRAMES, SHAPE)
    for package in packages:
        with tempfile.TemporaryDirectory() as folder:
            if package.startswith("sam2"):
                theirs, kind = published.sam2(variant, size), Sam2Package
                path = Path(folder) / "weights.pt"
                torch.save({"model": theirs.state_dict()}, path)
                model = load_model(path, str(DEVICE), image_size=size)
                if package == "sam2-compiled":
                    theirs, kind = published.sam2_compiled(theirs, variant), Sam2Compiled
            else:
                theirs, kind = hugging_face.sam2_video(variant, size), Transformers
                model = hugging_face.read_by_ours(theirs, Path(folder), size)
        for half in (precision == "bfloat16" for precision in precisions):
            if half or not kind.compiles:
                yield Ours(model, stack, half), kind(theirs, stack, half)


def _named(package: str, half: bool) -> str:
    return f"{package}, {'bfloat16' if half else 'float32'}"
