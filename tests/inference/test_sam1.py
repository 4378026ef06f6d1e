"""SAM 1 through the same predictors: no memory, so each mask prompts the next frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conftest import TINY_SAM1

from napari_sam2 import BoxPrompt, ImagePredictor, MaskPrompt, PointPrompt, VideoPredictor
from napari_sam2.model.config import VitConfig
from napari_sam2.model.sam1 import Sam1
from napari_sam2.model.vit import VitBlock, _position_bias


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 255, (5, 20, 40), dtype=np.uint8)


def test_relative_positions_are_differences():
    torch.manual_seed(0)
    config = VitConfig(8, 1, 2, ())
    block = VitBlock(config, window=0, grid=3)
    torch.nn.init.normal_(block.relative_rows)
    query = torch.randn(1, 2, 9, 4)
    columns = torch.zeros(3, 3, 4)
    index = torch.arange(3)
    rows = block.relative_rows[index[:, None] - index + 2]
    bias = _position_bias(query, rows, columns)
    # the query in row 2, column 1 and the key in row 0, column 2: two rows up
    expected = query[0, :, 2 * 3 + 1] @ block.relative_rows[2 + 2]
    torch.testing.assert_close(bias[0, :, 2 * 3 + 1, 2], expected)


def test_another_image_size_adapts_the_positions():
    network = Sam1(TINY_SAM1).eval()
    with torch.inference_mode():
        features = network.encode_image(torch.randn(1, 3, 96, 96))
    assert features.embedding.shape == (1, 32, 6, 6)


def test_heads_in_several_pieces_give_the_same(monkeypatch):
    torch.manual_seed(0)
    network = Sam1(TINY_SAM1).eval()
    for block in network.image_encoder.blocks:
        torch.nn.init.normal_(block.relative_rows)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        whole = network.encode_image(image).embedding
        monkeypatch.setattr("napari_sam2.model.vit.BIAS_LIMIT", 1)
        torch.testing.assert_close(network.encode_image(image).embedding, whole)


def test_every_prompt_on_one_plane(tiny_sam1, stack):
    predictor = ImagePredictor(tiny_sam1)
    predictor.set_image(stack[0])
    mask = np.zeros((20, 40), bool)
    mask[5:10, 5:20] = True
    for prompts in (
        [PointPrompt((5, 6))],
        [BoxPrompt((2, 3, 10, 20)), PointPrompt((5, 6), positive=False)],
        [MaskPrompt(mask)],
    ):
        prediction = predictor.predict(prompts, multimask=True)
        assert prediction.masks.shape == (3, 20, 40)
        assert np.isfinite(prediction.scores).all()
    refined = predictor.predict([PointPrompt((5, 6))], previous=prediction)
    assert refined.masks.shape == (1, 20, 40)


def test_a_given_mask_is_kept_and_prompts_the_next_frames(tiny_sam1, stack):
    video = VideoPredictor(tiny_sam1, stack)
    mask = np.zeros((20, 40), bool)
    mask[4:14, 8:28] = True
    video.add_prompts(1, 2, [MaskPrompt(mask)])
    results = {result.frame: result for result in video.propagate("both")}
    assert sorted(results) == [0, 1, 2, 3, 4]
    given = results[2].masks[0]
    assert (given & mask).sum() / (given | mask).sum() > 0.9

    # frame 3 is what the image predictor's network gives for that mask and its box
    network = tiny_sam1.network
    with torch.inference_mode():
        features = video.features[3]
        logits = video._tracks[1].get(2).logits
        rows, columns = torch.nonzero(logits[0] > 0, as_tuple=True)
        box = torch.tensor([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]) * 4.0
        decoded = network.decode(
            network.without_memory(features), features, box[None], torch.tensor([[2, 3]]),
            logits[None],
        ).single(stability_fallback=False)  # fmt: skip
    torch.testing.assert_close(video._tracks[1].get(3).logits, decoded.logits[0])


def test_a_lost_object_stays_absent(tiny_sam1, stack, monkeypatch):
    video = VideoPredictor(tiny_sam1, stack)
    video.add_prompts(1, 0, [BoxPrompt((2, 3, 10, 20))])
    monkeypatch.setattr(
        tiny_sam1.network.mask_decoder.mask_heads[0].layers[-1], "forward",
        lambda x: torch.zeros(len(x), 4),
    )  # fmt: skip
    results = list(video.propagate("forward"))
    assert [bool(result.present[0]) for result in results[1:]] == [False] * 4
    assert not any(result.masks[0].any() for result in results[1:])
    assert len(list(video.propagate("forward", stop_when_absent=2))) == 3


def test_a_mask_that_vanishes_ends_the_object(tiny_sam1, stack, monkeypatch):
    for head in tiny_sam1.network.mask_decoder.mask_heads:
        monkeypatch.setattr(head.layers[-1], "forward", lambda x: torch.zeros(len(x), 4))
    video = VideoPredictor(tiny_sam1, stack)
    assert not video.add_prompts(1, 0, [PointPrompt((5, 6))]).present.any()
    video.choose_candidate(1, 0, 1)
    results = list(video.propagate("forward"))
    assert [bool(result.present[0]) for result in results[1:]] == [False] * 4


def test_a_pass_from_elsewhere_starts_with_what_an_earlier_one_found(tiny_sam1, stack):
    video = VideoPredictor(tiny_sam1, stack)
    video.add_prompts(1, 3, [BoxPrompt((2, 3, 15, 30))])
    list(video.propagate("backward"))
    before = video.result(0).masks[0]
    results = list(video.propagate("forward", start=0))
    np.testing.assert_array_equal(results[0].masks[0], before)
    assert all(result.present[0] for result in results)
