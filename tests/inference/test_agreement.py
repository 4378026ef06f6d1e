"""Scores of a small model's candidates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_sam2 import ImagePredictor, MaskGenerator, PointPrompt
from napari_sam2.inference import agreement as module
from napari_sam2.inference import small_models
from napari_sam2.inference.agreement import agreement, with_agreement
from napari_sam2.model.mask_decoder import Decoded


def masks(*columns):
    """Logits of masks that reach from the left to so many columns of ten."""
    logits = torch.full((1, len(columns), 4, 10), -1.0)
    for index, count in enumerate(columns):
        logits[0, index, :, :count] = 2.0
    return logits


def test_it_is_the_mean_overlap_with_the_others():
    torch.testing.assert_close(
        agreement(masks(4, 8, 10)), torch.tensor([[(0.5 + 0.4) / 2, (0.5 + 0.8) / 2, 0.6]])
    )


def test_nothing_agrees_with_an_empty_mask():
    assert agreement(masks(0, 0, 5)).tolist() == [[0, 0, 0]]


def test_each_object_has_its_own():
    both = torch.cat([masks(4, 8, 10), masks(10, 10, 10)])
    torch.testing.assert_close(agreement(both)[1], torch.ones(3))


def test_a_score_is_the_mean_of_both():
    decoded = Decoded(
        masks(4, 8, 10), torch.tensor([[0.9, 0.7, 0.2]]), torch.zeros(1, 3, 8), torch.zeros(1)
    )
    found = with_agreement(decoded)
    torch.testing.assert_close(found.scores, torch.tensor([[0.675, 0.675, 0.4]]))
    assert found.logits is decoded.logits


def test_so_is_everything_on_a_plane(tiny_model, discs, monkeypatch):
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr(module, "agreement", lambda logits: 20 + torch.zeros(logits.shape[:2]))
    found = MaskGenerator(tiny_model, 4, score_floor=0.0, stability_floor=0.0).generate(discs[0][0])
    assert all(10 <= mask.score <= 10.5 for mask in found.masks)


@pytest.mark.parametrize("small", [True, False])
def test_small_models_are_scored_so(tiny_model, discs, monkeypatch, small):
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,) if small else ())
    monkeypatch.setattr(module, "agreement", lambda logits: torch.zeros(logits.shape[:2]))
    predictor = ImagePredictor(tiny_model)
    predictor.set_image(discs[0][0])
    halved = predictor.predict([PointPrompt((33, 30))], multimask=True).scores
    monkeypatch.setattr(module, "agreement", lambda logits: torch.ones(logits.shape[:2]))
    scores = predictor.predict([PointPrompt((33, 30))], multimask=True).scores
    np.testing.assert_allclose(scores - halved, 0.5 if small else 0.0, atol=1e-6)
