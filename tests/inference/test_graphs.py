"""What lets a GPU run without waiting: steps that never ask it, and graphs of them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tests.conftest import TINY, TINY_SAM1
from torch import nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_sam2.inference.graphs import MOST, USES, Graphs, _as_computed, _Function
from napari_sam2.model.sam1 import Sam1
from napari_sam2.model.sam2 import Memories, Sam2

# asks for numbers, by whatever calls it; a mask as an index is asked where it is true
ASKED = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}
# makes a tensor of numbers in the CPU and brings it over, unseen by what is dispatched
BROUGHT = {"tensor", "as_tensor", "new_tensor"}


class Dispatched(TorchDispatchMode):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        masked = function.name() == "aten::index.Tensor" and any(
            x.dtype == torch.bool for x in tensors[1:]
        )
        if function.name() in ASKED or masked:
            self.found.append(function.name())
        return function(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in BROUGHT:
            self.found.append(function.__name__)
        return function(*args, **(kwargs or {}))


@contextmanager
def noted_waits():
    """Notes what makes the CPU wait for a device: a number asked for, numbers brought over."""
    found = []
    with Dispatched(found), Called(found):
        yield found


def test_what_waits_is_noticed():
    with noted_waits() as found:
        torch.zeros(3, device="meta").new_tensor([1.0, 2.0])
        torch.tensor([1.0, 2.0], device="meta")
        bool(torch.zeros(2).any())
        torch.zeros(2)[torch.ones(2, dtype=torch.bool)]
    assert found == ["new_tensor", "tensor", "aten::_local_scalar_dense", "aten::index.Tensor"]


@pytest.mark.parametrize("version", ["2.0", "2.1"])
@torch.no_grad()
def test_neither_encoding_nor_tracking_waits_for_the_device(version):
    # tensors without content take the ways of a GPU's
    grid = TINY.image_size // 16
    with torch.device("meta"):
        network = Sam2(replace(TINY, version=version)).eval()
        image = torch.empty(1, 3, 64, 64)
        memories = Memories(
            torch.empty(3, 7, TINY.memory_width, grid, grid),
            torch.zeros(3, 7, dtype=torch.long),
            torch.empty(3, 16, TINY.width),
            torch.empty(3, 16),
        )
    with noted_waits() as found:
        features = network.encode_image(image)
        tracked, maps = network.follow(features, memories)
    assert tracked.logits.shape == (3, 1, 4 * grid, 4 * grid)
    assert maps.shape == (3, TINY.memory_width, grid, grid)
    assert found == []


@torch.no_grad()
def test_encoding_for_sam1_does_not_wait_either():
    with torch.device("meta"):
        network = Sam1(TINY_SAM1).eval()
    with noted_waits() as found:
        network.encode_image(torch.empty(1, 3, 64, 64, device="meta"))
    assert found == []


class Recorded(Graphs):
    """Graphs whose capture only notes what it captured, and that fail when told to."""

    def __init__(self):
        super().__init__(nn.Identity(), torch.device("cpu"), torch.float32)
        self.on, self.captured, self.replayed, self.error = True, [], 0, None

    def _cuda_graph(self, work, inputs):
        self.captured.append(tuple(inputs[0].shape))
        if self.error:
            raise RuntimeError(self.error)

        def replay(*inputs):
            self.replayed += 1
            return work(*inputs)

        return replay


def double(x):
    return (2 * x,)


def call(graphs, size, times=1, name="double"):
    for _ in range(times):
        (found,) = graphs(name, double, torch.ones(size))
        assert found.tolist() == [2.0] * size


def test_what_comes_often_is_captured_once():
    graphs = Recorded()
    call(graphs, 3, USES - 1)
    call(graphs, 4, USES - 1)
    assert graphs.captured == []
    call(graphs, 3, 4)
    assert graphs.captured == [(3,)]
    assert graphs.replayed == 4
    call(graphs, 3, name="another")
    assert graphs.replayed == 4


def test_the_least_recently_used_graph_goes():
    graphs = Recorded()
    for size in range(1, MOST + 1):
        call(graphs, size, USES)
    call(graphs, 1)
    call(graphs, MOST + 1, USES)  # in place of that for size 2
    graphs.captured.clear()
    call(graphs, 1)
    call(graphs, 2, USES - 1)
    assert graphs.captured == []
    call(graphs, 2)
    assert graphs.captured == [(2,)]


def test_where_a_capture_fails_nothing_is_captured_any_more(caplog):
    graphs = Recorded()
    call(graphs, 3, USES)
    graphs.error = "operation not permitted when stream is capturing"
    call(graphs, 4, USES)
    call(graphs, 3, USES)
    call(graphs, 4, USES)
    assert graphs.captured == [(3,), (4,)]
    assert len(caplog.records) == 1
    assert "not permitted" in caplog.text


def test_a_capture_that_lacks_memory_frees_what_there_is_and_is_not_tried_again(caplog):
    graphs = Recorded()
    call(graphs, 3, USES)
    graphs.error = "CUDA out of memory."
    call(graphs, 4, 3 * USES)
    assert not graphs._kept
    graphs.error = None
    call(graphs, 4, 3 * USES)
    call(graphs, 3, USES)
    assert graphs.captured == [(3,), (4,), (3,)]
    assert not caplog.records


def test_on_the_processor_there_are_none(tiny_model):
    graphs = tiny_model.graphs
    call(graphs, 3, 2 * USES)
    assert not graphs._uses


@torch.inference_mode()
def test_weights_cast_beforehand_give_the_same(tiny_model):
    network = tiny_model.network
    weights = _as_computed(network, torch.bfloat16)
    assert {each.dtype for each in weights.values()} == {torch.bfloat16}
    assert _as_computed(network, torch.float32) == {}

    def encode(image):
        features = network.encode_image(image)
        tracked = network.track(network.without_memory(features), features)
        return *vars(features).values(), *vars(tracked).values()

    image = torch.randn(1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        cast_before = functional_call(_Function(network, encode), weights, image)
        cast_now = encode(image)
    for first, second in zip(cast_before, cast_now, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert network.mask_decoder.score_head.layers[0].weight.dtype == torch.float32
