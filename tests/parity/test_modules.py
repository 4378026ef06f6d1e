"""Module by module against sam2, all variants, the same tensors into both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.parity.modules import (
    MOMENTS,
    encoded,
    given,
    memories,
    our_parts,
    published_features,
    published_parts,
)
from tests.parity.published import SAM2_VARIANTS, discs, model_image

pytestmark = pytest.mark.parity

SECTION = "1. Modules in float32, against sam2: largest differences"
TOLERANCE = 1e-4  # of logits of about 10
# Whole stacks of tiny are compared at this size; of the others, the encoder once.
FULL_SIZE = 1024
AT_FULL_SIZE = ("sam2.1_small", "sam2.1_base_plus", "sam2.1_large")


@pytest.mark.parametrize("variant", SAM2_VARIANTS)
def test_modules_agree(variant, models, table):
    ours, theirs = models(variant, 256)
    with torch.inference_mode():
        inputs = given(256)
        features = published_features(theirs, inputs.image)
        wanted = published_parts(theirs, inputs, features)
        found = our_parts(ours.network, inputs, features)
        if variant in AT_FULL_SIZE:
            image = model_image(discs(1)[0], FULL_SIZE)
            answers = published_features(theirs, image), ours.network.encode_image(image)
            for parts, answer in zip((wanted, found), answers, strict=True):
                parts |= {f"{part} at {FULL_SIZE} px": t for part, t in encoded(answer).items()}
    assert wanted.keys() == found.keys()
    for part, tensors in wanted.items():
        assert [t.shape for t in tensors] == [t.shape for t in found[part]], part
        largest = max((a - b).abs().max().item() for a, b in zip(tensors, found[part], strict=True))
        table.note(SECTION, part, variant, largest)
        assert largest < TOLERANCE, part


def test_every_rule_of_memory_shows(models):
    """Else the weights hide what the others of these tests are to find."""
    ours, theirs = models("sam2.1_tiny", 256)
    network = ours.network
    with torch.inference_mode():
        inputs = given(256)
        features = published_features(theirs, inputs.image)
        base = memories(inputs, *MOMENTS[0])

        def mask(memories):
            embedding = network.with_memory(features, memories)
            return network.decode(embedding, features, None, None).logits

        def flipped(pointers):
            return torch.cat([-pointers[:, :1], pointers[:, 1:]], dim=1)

        for other in (
            replace(base, map_times=(base.map_times + 1).clamp(max=6)),
            replace(base, pointer_offsets=base.pointer_offsets + 1 / 11),
            replace(base, pointer_offsets=-base.pointer_offsets),
            replace(base, pointers=flipped(base.pointers)),
            replace(base, pointers=base.pointers[:, 1:], pointer_offsets=base.pointer_offsets[1:]),
            replace(base, maps=base.maps[:, 1:], map_times=base.map_times[1:]),
        ):
            assert (mask(other) - mask(base)).abs().max() > 100 * TOLERANCE


def test_every_rule_of_prompts_shows(models):
    ours, theirs = models("sam2.1_tiny", 256)
    network = ours.network
    with torch.inference_mode():
        inputs = given(256)
        features = published_features(theirs, inputs.image)
        points, labels, mask = inputs.prompts[2]

        def decoded(points, labels, mask):
            embedding = features.embedding
            return network.decode(embedding, features, points, labels, mask).logits

        base = decoded(points, labels, mask)
        for other in (
            decoded(points + 0.5, labels, mask),
            decoded(points, 1 - labels, mask),
            decoded(points, labels, None),
            decoded(points, labels, mask.clamp(-6, 6)),
        ):
            assert (other - base).abs().max() > 100 * TOLERANCE
