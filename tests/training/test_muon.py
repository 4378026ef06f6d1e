"""Updates made orthogonal, and what is updated so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_sam2.training.muon import UPDATE_RMS, Muon, is_hidden_matrix, orthogonalised


def test_singular_values_come_near_one():
    torch.manual_seed(0)
    found = torch.linalg.svdvals(orthogonalised(1e-4 * torch.randn(3, 24, 64)))
    assert ((found > 0.6) & (found < 1.3)).all()


@pytest.mark.parametrize("shape", [(32, 128), (128, 32), (64, 64)])
def test_the_first_update_has_the_wanted_size_against_the_gradient(shape):
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(shape))
    parameter.grad = 100 * torch.randn(shape)
    Muon([parameter], lr=0.1).step()
    changed = parameter.detach()
    assert changed.square().mean().sqrt().item() == pytest.approx(0.1 * UPDATE_RMS, rel=0.25)
    assert (changed * parameter.grad).sum() < 0


def test_weights_decay_and_what_has_no_gradient_stays():
    one, other = nn.Parameter(torch.ones(16, 16)), nn.Parameter(torch.ones(16, 16))
    one.grad = torch.zeros(16, 16)
    Muon([one, other], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(one.detach(), torch.full((16, 16), 0.95))
    torch.testing.assert_close(other.detach(), torch.ones(16, 16))


def test_a_linear_map_is_learned():
    torch.manual_seed(0)
    wanted, layer = torch.randn(32, 48), nn.Linear(48, 32, bias=False)
    inputs = torch.randn(256, 48)
    optimizer = Muon(layer.parameters(), lr=0.02)
    errors = []
    for _ in range(150):
        optimizer.zero_grad()
        error = (layer(inputs) - inputs @ wanted.T).square().mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.05 * errors[0]


def test_matrices_between_hidden_layers(tiny_model):
    decoder = tiny_model.network.mask_decoder
    first, *_, last = decoder.presence_head.layers
    assert is_hidden_matrix(first, first.weight)
    assert not is_hidden_matrix(first, first.bias)
    assert not is_hidden_matrix(last, last.weight)  # one row
    assert not is_hidden_matrix(decoder, decoder.mask_tokens)
    assert not is_hidden_matrix(nn.Embedding(32, 32), nn.Parameter(torch.zeros(32, 32)))
