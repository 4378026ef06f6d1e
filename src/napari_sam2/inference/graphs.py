"""Replay what a network does on a GPU as one launch in place of hundreds."""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from napari_sam2.inference.device import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[..., tuple[Tensor, ...]]
    Key = tuple[object, ...]

logger = logging.getLogger(__name__)

USES = 3  # the call that is captured: while memories fill up, hardly any sizes come so often
MOST = 8  # graphs kept, each with its inputs and outputs


class Graphs:
    """CUDA graphs of functions of a network; on other devices, the functions themselves.

    A frame is hundreds of launches, which take the processor longer than their work takes a GPU.
    A graph is those of one call, for tensors of the same shapes and types. It computes from what
    lay at the places in memory that the call used, so the weights must not change any more.

    Parameters
    ----------
    network : Module
        On its device.
    device : torch.device
        Where it is.
    dtype : torch.dtype
        Precision it computes in.
    """

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.network, self.device, self.dtype = network, device, dtype
        self.on = device.type == "cuda"
        self._lock = threading.RLock()  # inputs and outputs of a graph are at one place each
        self._refused: set[Key] = set()  # for want of memory
        self._stream: Any = None  # one for all, as cuBLAS keeps memory for each
        self.clear()

    def __call__(self, name: str, work: Work, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What a function gives for tensors; the same name is always the same function."""
        if not self.on:
            return work(*inputs)
        key = name, *((each.shape, each.dtype) for each in inputs)
        with self._lock:
            graph = self._kept.get(key) or self._captured(key, work, inputs)
            if graph is not None:
                self._kept.move_to_end(key)
                return graph(*inputs)
        return work(*inputs)

    def clear(self) -> None:
        """Drop all graphs, and with them their memory."""
        with self._lock:
            self._kept: OrderedDict[Key, Work] = OrderedDict()
            self._uses: Counter[Key] = Counter()
            self._weights: dict[str, Tensor] = {}
            # shared by all, as nothing stays in it between replays; without graphs it is void
            self._pool: Any = None

    def _captured(self, key: Key, work: Work, inputs: tuple[Tensor, ...]) -> Work | None:
        """A new graph, unless the function is called too seldom, or cannot be captured."""
        self._uses[key] += 1
        if self._uses[key] < USES or key in self._refused or not self.on:
            return None
        try:
            graph = self._cuda_graph(work, inputs)
        except RuntimeError as error:
            self.clear()
            if is_out_of_memory(error):
                self._refused.add(key)
                return None
            self.on = False
            logger.warning("CUDA graphs are not used, so the GPU is slower: %s", error)
            return None
        self._kept[key] = graph
        if len(self._kept) > MOST:
            oldest, _ = self._kept.popitem(last=False)
            del self._uses[oldest]
        return graph

    def _cuda_graph(self, work: Work, inputs: tuple[Tensor, ...]) -> Work:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = self._stream or torch.cuda.Stream(self.device)
            self._weights = _as_computed(self.network, self.dtype)
        device, whole = self.device, _Function(self.network, work)
        # not in the pool, as they are written before a replay
        places = tuple(each.clone(memory_format=torch.contiguous_format) for each in inputs)
        graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream(device)
        casts = torch.autocast(
            "cuda",
            torch.get_autocast_dtype("cuda"),
            torch.is_autocast_enabled("cuda"),
            cache_enabled=False,  # what was cast in this graph is known in this graph only
        )
        try:
            with torch.cuda.device(device), casts:
                # cuDNN makes its plans in each thread's first call, and not while it is captured
                functional_call(whole, self._weights, places)
                with torch.cuda.graph(
                    graph, self._pool, self._stream, capture_error_mode="thread_local"
                ):
                    found: tuple[Tensor, ...] = functional_call(whole, self._weights, places)
        except RuntimeError:
            torch.cuda.set_stream(before)  # where a capture that failed may not have gone back to
            raise

        def replay(*inputs: Tensor) -> tuple[Tensor, ...]:
            with torch.cuda.device(device):
                for place, given in zip(places, inputs, strict=True):
                    place.copy_(given)
                graph.replay()
                # copies, as the next replay overwrites them
                return tuple(each.clone() for each in found)

        return replay


class _Function(nn.Module):
    """A function of a network as the module that `functional_call` wants."""

    def __init__(self, network: nn.Module, work: Work) -> None:
        super().__init__()
        self.network, self.work = network, work

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.work(*inputs)


def _as_computed(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Weights as autocast casts them, which a graph would do at each replay."""
    if dtype == torch.float32:
        return {}
    return {
        f"network.{name}.{own}": weight.to(dtype)
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        # which are multiplied with each other first, in float32
        and not name.startswith(("image_encoder.lateral", "image_encoder.skip"))
        for own, weight in module.named_parameters(recurse=False)
    }
