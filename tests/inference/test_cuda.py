"""What runs on a GPU answers as on the processor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import TINY

from napari_sam2 import BoxPrompt, ImagePredictor, PointPrompt, VideoPredictor
from napari_sam2.inference.device import choose_device, choose_dtype, precision
from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.graphs import USES, Graphs
from napari_sam2.inference.load import Model, load_model
from napari_sam2.model import gpu, layers
from napari_sam2.model.config import VARIANTS
from napari_sam2.model.gpu import turned_at_once
from napari_sam2.model.memory_attention import MemoryAttention
from napari_sam2.model.position import rotary_table, rotate, rotate_in_place
from napari_sam2.training.config import Stage
from napari_sam2.training.dense import DenseHead
from napari_sam2.training.samples import Samples
from napari_sam2.training.steps import Chance, run_step

FRAMES = 24  # the sizes stay the same from frame 16 on, so that some are replayed

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


def stack_of(frames: int, shape: tuple[int, int] = (96, 120)) -> np.ndarray:
    """Three discs that move."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = np.random.default_rng(0).integers(0, 60, (frames, *shape))
    for frame, plane in enumerate(planes):
        for row, column in ((20 + frame, 30), (60, 90 - frame), (70, 20 + frame)):
            plane[(rows - row) ** 2 + (columns - column) ** 2 < 100] += 150
    return planes.astype(np.uint8)


CLICKS = {1: (20, 30), 2: (60, 90), 3: (70, 20)}


def tracked(model: Model, stack: np.ndarray, objects: int) -> VideoPredictor:
    video = VideoPredictor(model, stack, store=None)
    for object_id in range(1, objects + 1):
        video.add_prompts(object_id, 0, [PointPrompt(CLICKS[object_id])])
    list(video.propagate("forward"))
    return video


def logits_of(video: VideoPredictor) -> torch.Tensor:
    tracks = video._tracks.values()
    return torch.stack([torch.stack([t.get(f).logits for f in range(FRAMES)]) for t in tracks])


def eager(model: Model) -> Model:
    other = replace(model)
    other.graphs.on = False
    return other


def assert_alike(found: torch.Tensor, wanted: torch.Tensor, dtype: str) -> None:
    if dtype == "float32":
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    else:  # rounding errors grow from frame to frame
        assert ((found > 0) == (wanted > 0)).float().mean() > 0.995
        assert (found - wanted).abs().median() < 0.1


@pytest.fixture(params=["float32", "bfloat16"])
def graphed(request) -> Model:
    return load_model("nano", "cuda", request.param)


def name_of(model: Model) -> str:
    return str(model.dtype).removeprefix("torch.")


@pytest.mark.parametrize("objects", [1, 3])
def test_graphs_track_as_without(graphed, objects):
    stack = stack_of(FRAMES)
    wanted = logits_of(tracked(eager(graphed), stack, objects))
    assert_alike(logits_of(tracked(graphed, stack, objects)), wanted, name_of(graphed))
    names = {key[0] for key in graphed.graphs._kept}
    assert graphed.graphs.on
    assert names == {"encode", "follow"}
    # now the graphs are there from the start: a second predictor, and planes of another shape
    assert_alike(logits_of(tracked(graphed, stack, objects)), wanted, name_of(graphed))
    other = stack_of(FRAMES, (120, 140))
    wanted = logits_of(tracked(eager(graphed), other, objects))
    assert_alike(logits_of(tracked(graphed, other, objects)), wanted, name_of(graphed))


def test_graphs_encode_as_without(graphed):
    plane = stack_of(1)[0]
    wanted = encode_plane(eager(graphed), plane, (0.0, 255.0))
    for other in range(2 * USES):  # what another plane gave before is not found again
        encode_plane(graphed, np.full_like(plane, other), (0.0, 255.0))
        found = encode_plane(graphed, plane, (0.0, 255.0))
    assert len(graphed.graphs._kept) == 1
    for first, second in zip(vars(found).values(), vars(wanted).values(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-2)


def test_what_graphs_gave_stays(graphed):
    """Features and memories of earlier frames are not those of the graph's last replay."""
    video = tracked(graphed, stack_of(FRAMES), 2)
    memories = [memory for track in video._tracks.values() for memory in track.tracked.values()]
    kept = [(m.logits.clone(), m.map.clone(), m.pointer.clone()) for m in memories]
    features = video.features[FRAMES - 1]
    embedding = features.embedding.clone()
    snapshot = video.snapshot()
    video.add_prompts(1, FRAMES - 2, [PointPrompt((5, 5))])
    list(video.propagate())
    tracked(graphed, stack_of(FRAMES)[::-1].copy(), 2)
    for memory, tensors in zip(memories, kept, strict=True):
        for now, then in zip((memory.logits, memory.map, memory.pointer), tensors, strict=True):
            assert torch.equal(now, then)
    assert torch.equal(features.embedding, embedding)
    video.restore(snapshot)
    again = [memory for track in video._tracks.values() for memory in track.tracked.values()]
    assert again == memories


def test_a_click_between_replays_is_answered_as_without(graphed):
    masks = []
    for model in (eager(graphed), graphed):
        video = tracked(model, stack_of(FRAMES), 2)
        run = video.propagate("backward", start=FRAMES - 1)
        found = []
        for _ in range(4):
            next(run)
            found.append(video.add_prompts(3, FRAMES - 1, [PointPrompt((70, 43))]).masks)
        found += [result.masks for result in run]
        masks.append(np.concatenate([each.ravel() for each in found]))
    assert (masks[0] == masks[1]).mean() > 0.995


def test_what_cannot_be_captured_runs_without(caplog):
    graphs = Graphs(torch.nn.Identity(), torch.device("cuda"), torch.float32)

    def asks(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x * x.sum().item(),)

    x = torch.ones(3, device="cuda")
    with torch.inference_mode():
        for _ in range(2 * USES):
            (found,) = graphs("asks", asks, x)
            assert found.tolist() == [3.0] * 3
        assert not graphs.on
        assert len(caplog.records) == 1
        # and what is captured afterwards still can be
        others = Graphs(torch.nn.Identity(), torch.device("cuda"), torch.float32)
        for factor in range(2 * USES):
            (found,) = others("double", lambda x: (2 * x,), factor * x)
            assert found.tolist() == [2.0 * factor] * 3
    assert others.on
    assert len(others._kept) == 1


def test_without_graphs_their_memory_is_free():
    model = load_model("nano", "cuda")
    tracked(model, stack_of(FRAMES), 3)
    assert model.graphs._kept
    used = torch.cuda.memory_reserved()
    model.graphs.clear()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() < used
    tracked(model, stack_of(FRAMES), 3)
    assert model.graphs._kept


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [4, 16, 64])
def test_channels_are_normalised_as_on_the_processor(channels, layout):
    norm = layers.LayerNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        x = (5 + torch.randn(3, channels, 40, 52)).contiguous(memory_format=layout)
        x[0, :, 0] = -10.0  # a pixel whose channels are all the same
        wanted = norm(x)
        found = norm.cuda()(x.cuda())
        assert found.stride() == wanted.stride()
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)
        with precision(torch.device("cuda"), torch.bfloat16):
            half = norm(x.cuda().bfloat16())
        assert half.dtype == torch.float32
        wanted = norm.cpu()(x.bfloat16().float())
    torch.testing.assert_close(half.cpu(), wanted, rtol=1e-4, atol=1e-4)


def test_keys_turn_in_place_as_they_turn():
    table = rotary_table(256, 8, 8, torch.device("cuda"))
    keys = torch.randn(2, 3 * len(table) + 4, 256, device="cuda", dtype=torch.bfloat16)
    turned = keys.clone()
    rotate_in_place(turned[:, :-4], table)
    assert torch.equal(turned[:, :-4], rotate(keys[:, :-4], table))
    assert torch.equal(turned[:, -4:], keys[:, -4:])
    still = table.new_ones(4, table.shape[1])
    at_once = turned_at_once(keys, torch.cat([table, table, table, still]))
    assert at_once is not None
    assert torch.equal(at_once[:, -4:], keys[:, -4:])
    # a float32 product fused with a sum may round to the neighbour
    assert (at_once == turned).float().mean() > 0.999
    torch.testing.assert_close(at_once, turned, rtol=2**-7, atol=1e-3)


cudnn_only = pytest.mark.skipif(
    not torch.cuda.is_available()
    or torch.cuda.get_device_capability()[0] not in gpu.PLANNED_CAPABILITIES,
    reason="cuDNN is not used on this GPU",
)


@cudnn_only
@pytest.mark.parametrize("objects", [1, 2, 5])
def test_memories_are_attended_to_alike_by_cudnn_and_in_a_graph(objects, monkeypatch):
    monkeypatch.setattr(gpu, "PLANNED_OBJECTS", 1)
    monkeypatch.setattr(gpu, "_without_plan", set())
    torch.manual_seed(0)
    cuda, half = torch.device("cuda"), torch.bfloat16
    network = MemoryAttention(VARIANTS["sam2.1_tiny"]).eval().requires_grad_(False).to(cuda)
    graphs = Graphs(network, cuda, half)

    def attend(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (network(*tensors, pointers=8),)

    with torch.inference_mode(), precision(cuda, half):
        for _ in range(USES + 2):  # each time with other memories
            tensors = (
                torch.randn(1, 256, 16, 16, device=cuda),
                torch.randn(objects, 3 * 256 + 8, 64, device=cuda),
                torch.randn(objects, 3 * 256 + 8, 64, device=cuda),
            )
            (found,) = graphs("attend", attend, *tensors)
            (eager,) = attend(*tensors)
            assert not gpu._without_plan  # cuDNN did it
            with monkeypatch.context() as patch:
                patch.setattr(gpu, "PLANNED_OBJECTS", objects + 1)
                (flash,) = attend(*tensors)
            assert (found - eager).abs().mean() < 1e-3
            assert (found - flash).abs().mean() < 1e-2  # of about one
    assert graphs.on
    assert len(graphs._kept) == 1


@cudnn_only
def test_another_thread_can_capture():
    """Each thread has plans of its own, which cannot be made during a capture."""
    graphed = load_model("nano", "cuda", "bfloat16")
    stack = stack_of(FRAMES)
    wanted = logits_of(tracked(eager(graphed), stack, 3))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tracked, graphed, stack[:18], 3).result()  # twice of the last shapes
    assert {key[0] for key in graphed.graphs._kept} == {"encode"}
    assert_alike(logits_of(tracked(graphed, stack, 3)), wanted, name_of(graphed))
    assert graphed.graphs.on
    assert {key[0] for key in graphed.graphs._kept} == {"encode", "follow"}


@cudnn_only
def test_without_a_plan_of_cudnn_the_fused_kernel_attends(monkeypatch):
    monkeypatch.setattr(gpu, "_without_plan", set())
    odd = torch.randn(2, 9, 257, device="cuda", dtype=torch.bfloat16)  # no width for its kernels
    assert gpu.planned_attention(odd, odd, odd) is None
    assert gpu._without_plan
