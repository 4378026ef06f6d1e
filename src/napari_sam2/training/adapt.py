"""Which weights a run starts from, and which of them learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from napari_sam2.inference.load import load_model
from napari_sam2.model.config import VARIANTS
from napari_sam2.model.sam2 import Sam2

if TYPE_CHECKING:
    from napari_sam2.training.config import ModelConfig

ADAPTED = ("qkv", "output", "expand", "contract")  # the linear layers of the encoder's blocks
CARRYING = (  # names of what a single image is answered without
    "memory_attention",
    "memory_encoder",
    "memory_time",
    "mask_downsample",
    "pointer_projection",
    "pointer_time",
    "no_object_pointer",
    "absent_embedding",
    "mask_decoder.presence_head",
)
CHANGES = ".parametrizations."  # in the names of what torch keeps for them


class LowRank(nn.Module):
    """A change of a weight matrix that is a product of two thin ones (arXiv 2106.09685).

    It begins as no change at all.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, changed."""
        return weight + self.up @ self.down


def start_network(config: ModelConfig) -> Sam2:
    """The network that a run begins with; only what shall learn has gradients.

    Raises
    ------
    ValueError
        When it is none that can be trained, or cannot be loaded.
    """
    if config.start == "scratch":
        return Sam2(VARIANTS[config.variant])
    network = load_model(config.start, device="cpu").network
    if not isinstance(network, Sam2):
        raise ValueError(
            f"{config.start} is a SAM 1 model, and training is for SAM 2. "
            "Start from 'nano' or a SAM 2 checkpoint, such as 'sam2.1_tiny'."
        )
    if config.adapt == "memory":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(CARRYING))
        return network
    network.requires_grad_(True)
    if config.adapt != "all":
        network.image_encoder.requires_grad_(False)
    if config.adapt == "adapters":
        for block in network.image_encoder.trunk.blocks:
            for name in ADAPTED:
                layer = block.get_submodule(name)
                change = LowRank(layer.get_parameter("weight"), config.rank)
                parametrize.register_parametrization(layer, "weight", change)
    return network


def merged(network: Sam2) -> Sam2:
    """A copy on the CPU in which low-rank changes are part of the weights."""
    state = {name: tensor for name, tensor in network.state_dict().items() if CHANGES not in name}
    for name, layer in network.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            state[f"{name}.weight"] = layer.weight
    plain = Sam2(network.config).eval().requires_grad_(False)
    plain.load_state_dict(state)
    return plain
