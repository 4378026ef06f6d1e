"""What runs on a GPU answers as on the processor."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from tests.conftest import TINY

from napari_sam2 import BoxPrompt, ImagePredictor, PointPrompt, VideoPredictor
from napari_sam2.inference.device import choose_device, choose_dtype, precision
from napari_sam2.inference.load import Model, load_model
from napari_sam2.training.config import Stage
from napari_sam2.training.dense import DenseHead
from napari_sam2.training.samples import Samples
from napari_sam2.training.steps import Chance, run_step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

PROMPTS = [[PointPrompt((30, 30))], [BoxPrompt((50, 54, 82, 86))]]


@pytest.fixture
def both() -> tuple[Model, Model]:
    """The bundled model on the processor and on the GPU, in float32."""
    models = [load_model("nano", device, "float32") for device in ("cpu", "cuda")]
    return models[0], models[1]


@pytest.mark.parametrize("prompts", PROMPTS, ids=["point", "box"])
def test_an_image_is_answered_as_on_the_processor(both, discs, prompts):
    masks = []
    for model in both:
        predictor = ImagePredictor(model)
        predictor.set_image(discs[0][0], (0.0, 255.0))
        masks.append(predictor.predict(prompts).masks)
    assert masks[0].any()
    assert (masks[0] == masks[1]).mean() > 0.999


def test_a_stack_is_tracked_as_on_the_processor(both, discs):
    found = []
    for model in both:
        video = VideoPredictor(model, discs[0])
        for object_id, prompts in enumerate(PROMPTS, 1):
            video.add_prompts(object_id, 0, prompts)
        found.append(np.stack([result.labels() for result in video.propagate("forward")]))
    assert set(np.unique(found[0])) == {0, 1, 2}
    assert (found[0] == found[1]).mean() > 0.999


def test_auto_computes_in_bfloat16_on_the_gpu():
    device = choose_device("auto")
    assert device.type == "cuda"
    assert choose_dtype("auto", device) == torch.bfloat16


@pytest.mark.parametrize("video", [0.0, 1.0])
def test_a_training_step_has_the_loss_of_the_processor(tiny_model, video):
    stage = Stage(
        "small", 1, 1e-3, size=64, images=2, objects=3, frames=3, video_share=video,
        correction_share=0.0, box_share=1.0,
    )  # fmt: skip
    batch = Samples([], {"generated": 1.0}, stage, seed=0)[0]
    torch.manual_seed(0)
    head = DenseHead(TINY.width)
    losses = []
    for device in map(torch.device, ("cpu", "cuda")):
        model = deepcopy(tiny_model.network).train().requires_grad_(True).to(device)
        for dtype in (torch.float32, choose_dtype("auto", device)):
            # boxes are drawn by each device's own generator: only the dense loss is the same
            with precision(device, dtype):
                step = run_step(
                    model, deepcopy(head).to(device), batch.to(device), stage, Chance.of(0, device)
                )
            step.loss.backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(gradient.isfinite().all() for gradient in gradients)
            losses.append(step.figures["dense"].item())
    assert losses == pytest.approx([losses[0]] * 4, rel=0.02)
