from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.conftest import TINY

from napari_sam2.model.hiera import Hiera
from napari_sam2.model.layers import (
    LayerNorm2d,
    attention,
    from_windows,
    narrow_attention,
    to_windows,
)
from napari_sam2.model.mask_decoder import Decoded
from napari_sam2.model.position import (
    Part,
    RandomFourier,
    rotary_table,
    rotate,
    sine_grid,
    sine_time,
)
from napari_sam2.model.prompt_encoder import PADDING, POSITIVE


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 4), (7, 9, 4), (3, 5, 8)])
def test_windows_are_put_together_again(height, width, size):
    x = torch.randn(2, height, width, 5)
    windows = to_windows(x, size)
    assert windows.shape[1:] == (size, size, 5)
    torch.testing.assert_close(from_windows(windows, height, width), x)


# all scores at once, and, as there are too many, some rows of them at a time
@pytest.mark.parametrize(("queries", "keys"), [(300, 70), (700, 600)])
def test_attention_in_bfloat16_is_that_in_float32(queries, keys):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 16) for n in (queries, keys, keys))
    expected = attention(query, key, value)
    halves = [x.bfloat16() for x in (query, key, value)]
    mixed = attention(*halves)
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.float(), expected, atol=0.01, rtol=0.02)
    halves[0].requires_grad_()
    torch.testing.assert_close(attention(*halves), mixed, atol=0.01, rtol=0.02)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_attention_in_bfloat16_has_a_gradient_where_nothing_else_has_one(which):
    tensors = [torch.randn(1, 1, n, 16).bfloat16() for n in (700, 600, 600)]
    tensors[which].requires_grad_()
    attention(*tensors).sum().backward()
    assert tensors[which].grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_may_be_narrower_than_keys(dtype):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 700, 32), torch.randn(2, 600, 32), torch.randn(2, 600, 8)
    expected = (query @ key.mT / 32**0.5).softmax(-1) @ value
    mixed = narrow_attention(query.to(dtype), key.to(dtype), value.to(dtype))
    assert mixed.shape == (2, 700, 8)
    torch.testing.assert_close(
        mixed.float(), expected, atol=1e-5 if dtype == torch.float32 else 0.01, rtol=0.02
    )


def test_channel_norm_is_the_norm_of_each_place():
    x = torch.randn(2, 6, 3, 4)
    y = LayerNorm2d(6)(x)
    torch.testing.assert_close(y.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(dim=1, unbiased=False), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


def test_rotary_encoding_depends_on_the_difference_of_places_alone():
    query, key = torch.randn(2, 16)
    table = rotary_table(16, 6, 6, torch.device("cpu"))
    queries = rotate(query.expand(1, 36, 16), table)[0]
    keys = rotate(key.expand(1, 36, 16), table)[0]
    products = (queries @ keys.T).reshape(6, 6, 6, 6)
    torch.testing.assert_close(products[0, 0, 2, 3], products[1, 2, 3, 5], atol=1e-4, rtol=1e-4)
    assert (products[0, 0, 2, 3] - products[0, 0, 3, 2]).abs() > 1e-4


def test_rotary_encoding_repeats_over_memories():
    table = rotary_table(16, 2, 3, torch.device("cpu"))
    once = torch.randn(1, 6, 16)
    twice = rotate(torch.cat([once, once], dim=1), table)
    torch.testing.assert_close(twice[:, :6], twice[:, 6:])


def test_turning_without_complex_numbers_is_the_same():
    table = rotary_table(16, 2, 3, torch.device("cpu"))
    x = torch.randn(2, 12, 16)
    torch.testing.assert_close(rotate(x, torch.view_as_real(table)), rotate(x, table))


def test_sines_against_the_formula():
    time = sine_time(torch.tensor([0.5]), 8)[0].numpy()
    angle = 0.5 / 10000.0 ** np.array([0, 0, 0.5, 0.5])
    np.testing.assert_allclose(time, [*np.sin(angle), *np.cos(angle)], rtol=1e-5)
    grid = sine_grid(8, 2, 4, torch.zeros(1))
    assert grid.shape == (8, 2, 4)
    y = 2 / (2 + 1e-6) * 2 * np.pi
    x = 1 / (4 + 1e-6) * 2 * np.pi
    np.testing.assert_allclose(
        grid[:, 1, 0],
        [np.sin(y), np.cos(y), np.sin(y / 100), np.cos(y / 100),
         np.sin(x), np.cos(x), np.sin(x / 100), np.cos(x / 100)],
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("grid", [(4, 4), (8, 8)])
def test_a_click_is_encoded_as_the_place_it_points_to(tiny_model, grid):
    encoder = tiny_model.network.prompt_encoder
    centre = torch.tensor([[[16 * 3 + 8.0, 16 * 1 + 8.0]]])  # column 3, row 1
    token = encoder.points(centre, torch.tensor([[POSITIVE]]), grid)[0, 0]
    place = encoder.fourier.grid(*grid)[:, 1, 3]
    torch.testing.assert_close(token, place + encoder.label_embedding[POSITIVE])


def test_padding_has_no_place(tiny_model):
    encoder = tiny_model.network.prompt_encoder
    tokens = encoder.points(torch.rand(2, 1, 2), torch.full((2, 1), PADDING), (4, 4))
    assert tokens.shape[1] == 2
    for token in tokens.flatten(0, 1):
        torch.testing.assert_close(token, encoder.padding_embedding)


def test_the_encoder_runs_on_devices_without_autocast(tiny_model):
    assert not torch.amp.is_autocast_available("meta")
    encoder = copy.deepcopy(tiny_model.network.image_encoder).to("meta")
    features = encoder(torch.empty(1, 3, 64, 64, device="meta"))
    assert features.skip4.shape == (1, 8, 16, 16)


@pytest.mark.parametrize("which", [0, 1])
def test_memories_have_a_gradient_where_nothing_else_has_one(tiny_model, which):
    attention = tiny_model.network.memory_attention
    torch.manual_seed(0)
    embedding, given = torch.randn(1, 64, 4, 4), torch.randn(2, 1, 18, 32)
    weights = torch.randn(1, 64, 4, 4)

    def gradient(embedding):
        tokens = [each.clone() for each in given]
        tokens[which].requires_grad_()
        answer = attention(embedding, *tokens, 2)
        return torch.autograd.grad((answer * weights).sum(), tokens[which])[0]

    alone = gradient(embedding)
    assert alone.abs().max() > 1e-3
    torch.testing.assert_close(alone, gradient(embedding.requires_grad_()))


def _decoded(single: torch.Tensor) -> Decoded:
    logits = torch.stack([single, *(torch.full((4, 4), float(k)) for k in (1, 2, 3))])[None]
    scores = torch.tensor([[0.9, 0.1, 0.3, 0.2]])
    return Decoded(logits, scores, torch.arange(4.0)[None, :, None], torch.ones(1))


def test_an_unstable_single_mask_gives_way_but_keeps_its_token():
    unstable = torch.full((4, 4), -9.0)
    unstable[0] = 0.01  # inside a shift of the threshold by 0.05
    chosen = _decoded(unstable).single(stability_fallback=True)
    assert chosen.logits.unique() == 2  # the best scored candidate
    assert chosen.tokens.item() == 0
    kept = _decoded(unstable).single(stability_fallback=False)
    torch.testing.assert_close(kept.logits[0, 0], unstable)


def test_a_stable_single_mask_stays():
    stable = torch.full((4, 4), -9.0)
    stable[0] = 9.0
    torch.testing.assert_close(_decoded(stable).single(True).logits[0, 0], stable)
    nothing = torch.full((4, 4), -9.0)
    torch.testing.assert_close(_decoded(nothing).single(True).logits[0, 0], nothing)


def test_the_best_candidate_brings_its_token():
    chosen = _decoded(torch.zeros(4, 4)).best_candidate()
    assert chosen.tokens.item() == 2
    assert chosen.scores.item() == pytest.approx(0.3)


def test_positions_of_a_part_are_those_of_its_place_on_the_whole():
    torch.manual_seed(0)
    fourier, hiera = RandomFourier(16), Hiera(TINY.hiera)
    torch.nn.init.normal_(hiera.position_background)
    torch.nn.init.normal_(hiera.position_window)
    whole_grid, whole = fourier.grid(8, 8), hiera._position(torch.zeros(1, 1, 32, 32))
    fourier.part = hiera.part = Part(side=0.5, top=0.25, left=0.5)
    torch.testing.assert_close(fourier.grid(4, 4), whole_grid[:, 2:6, 4:8])
    sines = sine_grid(8, 4, 4, whole_grid, fourier.part)
    torch.testing.assert_close(sines, sine_grid(8, 8, 8, whole_grid)[:, 2:6, 4:8])
    part = hiera._position(torch.zeros(1, 1, 16, 16))
    torch.testing.assert_close(part, whole[..., 8:24, 16:32])
