"""The pieces of training, on data made here."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import TINY

from napari_sam2.model.mask_decoder import Decoded
from napari_sam2.model.position import rotary_table, rotate
from napari_sam2.model.sam2 import Sam2
from napari_sam2.training import augment
from napari_sam2.training.augment import Window, apply_look, random_look, render, window_on
from napari_sam2.training.config import Stage
from napari_sam2.training.data import LabelledStack, Planes
from napari_sam2.training.dense import DenseHead, dense_loss, dense_targets
from napari_sam2.training.losses import decoded_loss, lit, mask_losses, overlap
from napari_sam2.training.prime import prime_for_memory, prime_for_prompts
from napari_sam2.training.samples import Samples
from napari_sam2.training.simulate import boxes, corrections, first_clicks
from napari_sam2.training.steps import Chance, coverage, run_step

SMALL = Stage(
    "small",
    steps=4,
    learning_rate=1e-3,
    size=64,
    images=2,
    objects=3,
    videos=1,
    frames=3,
    diameters=(14, 30),
)


@pytest.fixture
def stack(discs):
    image, labels = (Planes(array, "tyx") for array in discs)
    return LabelledStack("discs", "discs", image, labels, (0.0, 255.0), np.array([1, 2]))


@pytest.fixture
def masks(discs):
    return torch.from_numpy(np.stack([discs[1][0] == 1, discs[1][0] == 2]))


def test_a_whole_window_draws_the_plane(stack):
    window = Window((47.5, 47.5), (96.0, 96.0), 0.0, 0, flip=False)
    image, labels = render(stack.image_plane(0), stack.label_plane(0), window, 96)
    np.testing.assert_allclose(image[0], stack.image_plane(0), atol=1e-3)
    np.testing.assert_array_equal(labels, stack.label_plane(0))


def test_turns_and_flips_move_image_and_labels_alike(stack):
    random = np.random.default_rng(0)
    for _ in range(20):
        window = window_on(stack.label_plane(0) == 2, 64, (15, 40), random)
        image, labels = render(stack.image_plane(0), stack.label_plane(0), window, 64)
        assert (labels == 2).any()
        # bright where there is a disc, dark elsewhere, but for the discs' edges
        agree = (image[0] > 0.5) == (labels > 0)
        assert agree.float().mean() > 0.93


def test_a_part_of_a_view_shows_a_part_of_the_plane(monkeypatch, stack):
    monkeypatch.setattr(augment, "WHOLE_SHARE", 1.0)
    random = np.random.default_rng(0)
    disc = stack.label_plane(0) == 2
    for _ in range(10):
        window = window_on(disc, 64, (15, 40), random, share=0.5)
        assert all(0.4 * 96 <= side <= 0.55 * 96 for side in window.sides_yx)
        _, labels = render(stack.image_plane(0), stack.label_plane(0), window, 64)
        assert (labels == 2).any()


def test_looks_stay_between_black_and_white(stack):
    random = np.random.default_rng(0)
    image = torch.from_numpy(stack.image_plane(0))[None].expand(3, -1, -1)
    for _ in range(30):
        seen = apply_look(image, random_look(random), random)
        assert seen.shape == image.shape
        assert 0 <= seen.min() <= seen.max() <= 1
        assert seen.max() - seen.min() > 0.1


def test_the_same_seed_draws_the_same(stack):
    first, second = (Samples([stack], {"discs": 1.0}, SMALL, seed=3) for _ in range(2))
    other = Samples([stack], {"discs": 1.0}, SMALL, seed=4)
    torch.testing.assert_close(first[2].images, second[2].images)
    assert (first[2].images != other[2].images).any()


def test_clicks_and_boxes_lie_on_their_objects(masks):
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        points, labels = first_clicks(masks, generator)
        x, y = points[:, 0].long().unbind(1)
        assert coverage(masks)[torch.arange(2), y // 4, x // 4].min() > 0
        assert (labels == 1).all()
        corners, _ = boxes(masks, generator)
        assert (corners[:, 1] > corners[:, 0]).all()


def test_corrections_lie_where_the_mask_is_wrong(masks):
    generator = torch.Generator().manual_seed(0)
    target = coverage(masks)
    missed, too_much = torch.full_like(target, -5.0), torch.full_like(target, 5.0)
    for logits, label in ((missed, 1), (too_much, 0)):
        points, labels = corrections(logits, target, generator)
        assert (labels == label).all()
        x, y = points[:, 0].long().unbind(1)
        assert ((target[torch.arange(2), y // 4, x // 4] > 0.5) == bool(label)).all()


def test_dense_targets_point_to_the_centre(discs):
    labels = torch.from_numpy(discs[1][:1].astype(np.int32))
    foreground, boundary, down, right = dense_targets(labels)[0]
    assert (foreground[0] == 0).all()
    inside = torch.from_numpy(discs[1][0, 2::4, 2::4] == 1)
    assert (foreground[inside] == 1).all()
    rows, columns = torch.nonzero(inside, as_tuple=True)
    pixels = 32 / 4  # the offsets' unit in cells
    for axis, offset in ((rows, down), (columns, right)):
        centre = axis.float().mean().item()
        np.testing.assert_allclose(axis + offset[inside] * pixels, centre, atol=1e-4)
    assert boundary[7, 7] == 0  # the middle of the first disc
    assert boundary[7, 4:12].any()
    assert dense_loss(dense_targets(labels) * 20 - 10, labels) > 0


def _decoded(logits, scores, presence):
    return Decoded(logits, scores, torch.zeros(*scores.shape, 8), presence)


def test_a_right_answer_costs_less(masks):
    target = coverage(masks)
    right = target.clamp(1e-4, 1 - 1e-4).logit()[:, None].expand(-1, 4, -1, -1)
    good = _decoded(right, torch.ones(2, 4), torch.full((2,), 9.0))
    bad = _decoded(-right, torch.ones(2, 4), torch.full((2,), -9.0))
    assert decoded_loss(good, target, 1.0) < 1 < 5 < decoded_loss(bad, target, 1.0)
    assert overlap(right, target).min() == 1


def test_the_outline_is_learned_within_a_cell():
    rows, columns = np.mgrid[:64, :64] + 0.5

    def disc(middle):
        inside = np.hypot(rows - middle, columns - 30) < 12  # three cells
        return coverage(torch.from_numpy(inside)[None])

    target = disc(31)
    exact, beside = (disc(at).clamp(0.02, 0.98).logit()[:, None] for at in (31, 32))
    ones = ((target > 0.5) * 20.0 - 10)[:, None]
    costs = [mask_losses(logits, target, 1.0).item() for logits in (exact, beside, ones)]
    assert costs[0] < costs[1] < costs[2]
    assert overlap(ones, target).item() == 1  # though no cell is on the wrong side


def test_absent_objects_teach_presence_and_to_show_nothing(masks):
    nothing = torch.zeros_like(coverage(masks))
    logits = torch.randn(2, 4, *nothing.shape[1:], requires_grad=True)
    presence = torch.zeros(2, requires_grad=True)
    decoded_loss(_decoded(logits, torch.ones(2, 4), presence), nothing, 1.0).backward()
    assert (logits.grad > 0).all()
    assert (presence.grad > 0).all()
    assert lit(torch.full((2, 4, 8, 8), -20.0)).max() < 1e-6
    one, many = (torch.where(torch.arange(64).reshape(8, 8) < n, 4.0, -20.0) for n in (1, 32))
    assert 0.3 * lit(many[None, None]) < lit(one[None, None]) < lit(many[None, None])


@pytest.mark.parametrize("video", [0.0, 1.0])
def test_every_tensor_of_a_step_is_on_the_model_s_device(tiny_model, stack, video):
    model = deepcopy(tiny_model.network).train().requires_grad_(True)
    stage = replace(SMALL, video_share=video, correction_share=1.0)
    head = DenseHead(TINY.width)
    batch = Samples([stack], {"discs": 1.0}, stage, seed=0)[0].to(torch.device("cpu"))
    for seed in range(6):  # clicks, boxes and given masks
        chance = Chance.of(seed, torch.device("cpu"))
        with torch.device("meta"):  # where a tensor goes that is given no device: it fits none
            run_step(model, head, batch, stage, chance).loss.backward()


@pytest.mark.parametrize("video", [0.0, 1.0])
def test_a_step_reaches_every_part(tiny_model, stack, video):
    model = deepcopy(tiny_model.network).train().requires_grad_(True)
    head = DenseHead(TINY.width)
    stage = replace(SMALL, video_share=video, correction_share=1.0)
    batch = Samples([stack], {"discs": 1.0}, stage, seed=0)[0]
    step = run_step(model, head, batch, stage, Chance.of(0, torch.device("cpu")))
    step.loss.backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    parts = {"image_encoder", "prompt_encoder", "mask_decoder", "no_memory_embedding"}
    memory = {"memory_encoder", "memory_attention", "pointer_projection", "memory_time"}
    assert reached >= (parts | memory if video else parts)


def test_priming_makes_clicks_heard_and_changes_no_dense_target(stack):
    torch.manual_seed(0)
    model, head = Sam2(TINY), DenseHead(TINY.width)
    with torch.no_grad():
        for lateral in model.image_encoder.lateral:
            lateral.weight *= 30  # as large as dense targets leave it
        image = torch.randn(2, 3, 64, 64)
        features = model.encode_image(image)
        before = head(features)
        prime_for_prompts(model, head, features)
        features = model.encode_image(image)
        torch.testing.assert_close(head(features), before, atol=1e-3, rtol=1e-3)
        assert features.embedding.std().item() == pytest.approx(0.7, abs=0.01)
        clicks = torch.tensor([[[10.0, 10.0]], [[50.0, 40.0]]])
        one = features[:1].expand(2)
        logits = model.decode(
            model.without_memory(one), one, clicks, torch.ones(2, 1).long()
        ).logits
    assert (logits[0] - logits[1]).std() > 0.05 * logits.std()


def test_a_primed_memory_looks_at_the_same_place(stack):
    torch.manual_seed(0)
    model = Sam2(TINY)
    with torch.no_grad():
        features = model.encode_image(torch.randn(1, 3, 128, 128))
        prime_for_memory(model, features)
        layer = model.memory_attention.layers[0].cross_attention
        table = rotary_table(TINY.width, 8, 8, torch.device("cpu"))
        x = torch.randn(1, 64, TINY.width)
        memory = torch.randn(1, 64, TINY.memory_width)
        weights = rotate(layer.query(x), table) @ rotate(layer.key(memory), table).mT
        nearest = weights[0].argmax(dim=-1)
    distance = (nearest % 8 - torch.arange(64) % 8).abs() + (
        nearest // 8 - torch.arange(64) // 8
    ).abs()
    assert (distance <= 2).float().mean() > 0.9


def test_as_many_corrections_follow_as_the_stage_says(stack):
    stage = replace(SMALL, video_share=0.0, correction_share=1.0, corrections=4, box_share=0.0)
    torch.manual_seed(0)
    model, head = Sam2(TINY).train(), DenseHead(TINY.width)
    batch = Samples([stack], {"discs": 1.0}, stage, seed=0)[0]
    figures = run_step(model, head, batch, stage, Chance.of(0, torch.device("cpu"))).figures
    assert {name for name in figures if name.startswith("click")} == {
        "click", "click+1", "click+2", "click+3", "click+4",
    }  # fmt: skip
