from __future__ import annotations

import pytest
import torch

from napari_sam2.model.sam2 import ABSENT_LOGIT, Memories


@pytest.fixture(scope="module")
def features(tiny_model):
    torch.manual_seed(0)
    with torch.inference_mode():
        return tiny_model.network.encode_image(torch.randn(1, 3, 64, 64))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def test_shapes(features):
    assert features.embedding.shape == (1, 64, 4, 4)
    assert features.skip8.shape == (1, 16, 8, 8)
    assert features.skip4.shape == (1, 8, 16, 16)


def test_a_batch_of_objects_equals_objects_alone(tiny_model, features):
    network = tiny_model.network
    torch.manual_seed(1)
    memories = Memories(
        torch.randn(3, 2, 32, 4, 4),
        torch.tensor([[6, 0], [6, 1], [6, 3]]),
        torch.randn(3, 2, 64),
        torch.tensor([[0.1, 0.2], [0.3, 0.1], [1.0, 0.0]]),
    )
    together = network.track(network.with_memory(features, memories), features)
    for index in range(3):
        alone = Memories(*(getattr(memories, name)[index : index + 1] for name in
                           ("maps", "map_times", "pointers", "pointer_offsets")))  # fmt: skip
        tracked = network.track(network.with_memory(features, alone), features)
        torch.testing.assert_close(tracked.logits[0], together.logits[index], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(tracked.pointers[0], together.pointers[index])


def test_each_kind_of_memory_matters(tiny_model, features):
    network = tiny_model.network
    torch.manual_seed(2)
    maps, pointers = torch.randn(1, 2, 32, 4, 4), torch.randn(1, 1, 64)
    times, offsets = torch.tensor([[6, 0]]), torch.tensor([[0.5]])
    base = network.with_memory(features, Memories(maps, times, pointers, offsets))
    for other in (
        Memories(maps + 1, times, pointers, offsets),
        Memories(maps, torch.tensor([[6, 1]]), pointers, offsets),
        Memories(maps, times, pointers + 1, offsets),
        Memories(maps, times, pointers, offsets + 0.4),
        Memories(maps[:, :1], times[:, :1], pointers, offsets),
        Memories(maps, times, pointers[:, :0], offsets[:, :0]),
    ):
        assert (network.with_memory(features, other) - base).abs().max() > 1e-6


def test_an_absent_object_leaves_its_mask_and_pointer(tiny_model, features):
    network = tiny_model.network
    bias = network.mask_decoder.presence_head.layers[-1].bias
    try:
        bias.fill_(-10.0)
        tracked = network.track(network.without_memory(features), features)
    finally:
        bias.fill_(10.0)
    assert not tracked.present.any()
    assert (tracked.logits == ABSENT_LOGIT).all()
    torch.testing.assert_close(tracked.pointers[0], network.no_object_pointer)
    seen, unseen = (
        network.encode_memory(features, tracked.logits, torch.tensor([present]), False)
        for present in (True, False)
    )
    torch.testing.assert_close(
        unseen - seen, network.absent_embedding[:, None, None].expand(1, -1, 4, 4)
    )


def test_prompted_masks_are_binary_in_memory(tiny_model, features):
    network = tiny_model.network
    faint, strong = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), 9.0)
    present = torch.tensor([True])

    def remember(logits, prompted):
        return network.encode_memory(features, logits, present, prompted)

    torch.testing.assert_close(remember(faint, True), remember(strong, True))
    assert (remember(faint, False) - remember(strong, False)).abs().max() > 1e-6


def test_a_given_mask_comes_back(tiny_model, features):
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, 16:48, 16:48] = 1
    tracked = tiny_model.network.track_mask(features, mask)
    assert (tracked.logits[0, 0, 5:11, 5:11] > 0).all()
    assert (tracked.logits[0, 0, 13:, 13:] < 0).all()
    assert tracked.present.tolist() == [True, False]  # an empty mask is an absent object
    torch.testing.assert_close(tracked.pointers[1], tiny_model.network.no_object_pointer)
