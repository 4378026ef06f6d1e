"""Models of the transformers package, and its files."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from tests.parity.hugging_face import propagated, read_by_ours, sam1, sam2_video
from tests.parity.published import SAM2_VARIANTS, discs, exact_torch, model_image
from tests.parity.stacks import own_logits

from napari_sam2 import BoxPrompt, PointPrompt, VideoPredictor
from napari_sam2.checkpoints.read import read_checkpoint
from napari_sam2.model.config import SAM1_VARIANTS

pytestmark = pytest.mark.parity

SECTION = "5. In float32, against transformers; ours reads its model.safetensors"
TOLERANCE = 1e-3
SIZE = 256

POINTS = torch.tensor([[[[60.0, 33.0], [201.5, 120.0], [9.0, 250.0]]]])
LABELS = torch.tensor([[[1, 0, 1]]])
BOX = torch.tensor([[[30.0, 40, 150, 170]]])


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("transformers", reason="transformers is not installed: run make parity")


@pytest.fixture
def compare(table):
    def compare(row: str, variant: str, found: torch.Tensor, wanted: torch.Tensor) -> None:
        assert found.shape == wanted.shape
        apart = float((found - wanted).abs().max())
        table.note(SECTION, row, variant, apart)
        assert apart < TOLERANCE, row

    return compare


def prompts(size: int) -> dict[str, tuple[tuple, dict]]:
    """What our decoder is given, and what the published prompt encoder."""
    fed_back = 8 * torch.randn(
        1, 1, size // 4, size // 4, generator=torch.Generator().manual_seed(0)
    )
    points = {"input_points": POINTS, "input_labels": LABELS}
    box = {"input_boxes": BOX}
    own = POINTS[0] + 0.5, LABELS[0]
    corners = BOX.reshape(1, 2, 2) + 0.5, torch.tensor([[2, 3]])
    both = tuple(torch.cat(pair, dim=1) for pair in zip(corners, own, strict=True))
    return {
        "points": ((*own, None), points),
        "a box": ((*corners, None), box),
        "a box and points": ((*both, None), box | points),
        "points and logits": ((*own, fed_back), points | {"input_masks": fed_back}),
        "logits alone": ((None, None, fed_back), {"input_masks": fed_back}),
    }


@pytest.mark.parametrize("variant", ["sam2_tiny", "sam2.1_tiny", "sam2.1_base_plus"])
def test_sam2_on_images(variant, tmp_path, compare):
    model = sam2_video(variant, SIZE)
    ours = read_by_ours(model, tmp_path, SIZE)
    network = ours.network
    assert ours.config.name == variant
    image = model_image(discs(1)[0], SIZE)
    padding = {"input_points": torch.zeros(1, 1, 1, 2), "input_labels": torch.full((1, 1, 1), -1)}
    with torch.inference_mode():
        features = network.encode_image(image)
        embedding = network.without_memory(features)
        *skips, wanted = model.get_image_embeddings(image)
        compare("image embedding", variant, embedding, wanted)
        for found, skip in zip((features.skip4, features.skip8), skips, strict=True):
            compare("finer maps", variant, found, skip)
        for name, (given, published) in prompts(SIZE).items():
            if name == "logits alone":
                published = published | padding
            sparse, dense = _encoded(model, published)
            decoded = network.decode(embedding, features, *given)
            for multimask in (False, True):
                chosen = decoded.candidates() if multimask else decoded.single(True)
                logits, scores, _, presence = model.mask_decoder(
                    wanted,
                    model.get_image_wide_positional_embeddings(),
                    sparse,
                    dense,
                    multimask,
                    skips,
                )
                compare(f"mask logits of {name}", variant, chosen.logits, logits[0])
                compare("IoU estimate", variant, chosen.scores, scores[0])
                compare("object score", variant, chosen.presence, presence[0, 0])


def _encoded(model, published):
    names = ("input_points", "input_labels", "input_boxes", "input_masks")
    return model.prompt_encoder(*(published.get(name) for name in names))


@pytest.mark.parametrize("variant", [*SAM2_VARIANTS, *SAM1_VARIANTS])
def test_files_of_every_variant_are_recognised(variant, tmp_path):
    """By their names and shapes; the tensors take no room."""
    make, size = (sam1, 1024) if variant in SAM1_VARIANTS else (sam2_video, 256)
    with torch.device("meta"):
        shapes = {
            name: t.shape for name, t in make(variant, size, weights=False).state_dict().items()
        }
    torch.save({name: torch.zeros(1).expand(s) for name, s in shapes.items()}, tmp_path / "w.pt")
    config, _ = read_checkpoint(tmp_path / "w.pt")
    assert config.name == variant


@pytest.mark.parametrize("variant", ["sam2_tiny", "sam2.1_tiny"])
def test_sam2_on_a_stack(variant, tmp_path, compare, monkeypatch):
    from transformers.models.sam2_video import modeling_sam2_video

    monkeypatch.setattr(modeling_sam2_video, "torch", exact_torch())
    model = sam2_video(variant, SIZE)
    stack, first = discs(8), 2
    ours = VideoPredictor(read_by_ours(model, tmp_path, SIZE), stack)
    objects = {
        1: (PointPrompt((34, 40)),),
        2: (BoxPrompt((40, 60, 80, 98)), PointPrompt((60, 78))),
    }
    for object_id, own in objects.items():
        ours.add_prompts(object_id, first, own)
    passes = chain(ours.propagate("forward", first), ours.propagate("backward", 7))
    published = propagated(model, stack, first, objects)
    for result, (frame, masks) in zip(passes, published, strict=True):
        assert result.frame == frame
        assert result.present.all()
        for object_id, mask in masks.items():
            compare(
                "mask logits on a stack of 8", variant, own_logits(ours, object_id, frame)[0], mask
            )


@pytest.mark.parametrize(("variant", "size"), [("sam_vit_b", 256)])
def test_sam1(variant, size, tmp_path, compare):
    model = sam1(variant, size)
    ours = read_by_ours(model, tmp_path, size)
    network = ours.network
    assert (ours.config.name, ours.config.trained_size) == (variant, size)
    image = model_image(discs(1)[0], size)
    with torch.inference_mode():
        features = network.encode_image(image)
        wanted = model.get_image_embeddings(image)
        compare("image embedding", variant, features.embedding, wanted)
        for name, (given, published) in prompts(size).items():
            sparse, dense = _encoded(model, published)
            decoded = network.decode(features.embedding, features, *given)
            for multimask in (False, True):
                chosen = decoded.candidates() if multimask else decoded.single(False)
                logits, scores = model.mask_decoder(
                    wanted,
                    model.get_image_wide_positional_embeddings(),
                    sparse,
                    dense,
                    multimask,
                )[:2]
                compare(f"mask logits of {name}", variant, chosen.logits, logits[0])
                compare("IoU estimate", variant, chosen.scores, scores[0])
