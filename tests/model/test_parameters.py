"""No parameter is there in vain, and none is left out by mistake."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from tests.conftest import TINY

from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN, NEGATIVE, POSITIVE
from napari_sam2.model.sam2 import Memories, Sam2

# Softmax takes no notice of what all keys have in common.
KEY_BIAS = re.compile(r"mask_decoder\.transformer\..*\.key\.bias$")
FAINT = 1e-6  # of answers and weights of about one
UNUSED = "no_memory_position"  # by any published configuration
# Every row of these has a meaning of its own.
TABLES = ("prompt_encoder.label_embedding", "mask_decoder.mask_tokens", "memory_time")


def use(network: Sam2) -> list[torch.Tensor]:
    """Answers of a session with all that a person may do."""
    config = network.config
    size, count = config.image_size, config.memories
    features = network.encode_image(torch.randn(1, 3, size, size))
    embedding = network.without_memory(features)

    # a click and a box with a click, refined
    points = size * torch.rand(2, 3, 2)
    labels = torch.tensor([[POSITIVE, NEGATIVE, POSITIVE], [BOX_MIN, BOX_MAX, NEGATIVE]])
    first = network.decode(embedding, features, points, labels)
    refined = network.decode(embedding, features, points, labels, first.logits[:, :1])
    answers = [first.logits, first.scores, first.presence, refined.logits, refined.scores]

    # memories of a given mask, of prompted and of tracked ones, one of an object out of sight
    mask = (torch.rand(2, 1, size, size) > 0.5).float()
    given = network.track_mask(features, mask)
    seen = torch.tensor([True, False])
    maps = [network.encode_memory(features.expand(2), given.logits, seen, prompted=True)]
    masks = refined.logits[:, 1:2]
    maps += [network.encode_memory(features.expand(2), masks, seen, prompted=False)] * (count - 1)
    tracked = network.settle(replace(refined, presence=seen * 2.0 - 1), ambiguous=False)
    assert tracked.present.tolist() == [True, False]
    memories = Memories(
        torch.stack(maps, dim=1),
        torch.arange(count),
        torch.stack([given.pointers, tracked.pointers], dim=1),
        torch.tensor([1.0, 0.5]),
    )
    followed = network.track(network.with_memory(features, memories), features)
    return [*answers, followed.logits, followed.scores, followed.presence, followed.pointers]


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_every_parameter_matters(version):
    """Each has a gradient that is more than a rounding error."""
    torch.manual_seed(0)
    network = Sam2(replace(TINY, version=version)).eval()
    network.mask_decoder.presence_head.layers[-1].bias.data.fill_(10.0)  # absence hides all else
    for block in network.memory_encoder.fuser:
        block.scale.data.fill_(0.5)  # that of new weights is next to nothing
    sum((answer * torch.randn_like(answer)).sum() for answer in use(network)).backward()
    without = set()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        rows = gradient[None] if gradient is not None and name not in TABLES else gradient
        if rows is None or (rows.flatten(1).abs().amax(dim=1) < FAINT).any():
            without.add(name)
    assert {name for name in without if not KEY_BIAS.search(name)} == {UNUSED}
