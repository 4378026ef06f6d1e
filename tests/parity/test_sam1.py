"""SAM 1 against the segment_anything package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.parity.published import discs
from tests.parity.report import IOU as IOU_COLUMN
from tests.parity.sam1 import our_parts, published_parts, segment_anything

from napari_sam2 import BoxPrompt, ImagePredictor, PointPrompt
from napari_sam2.inference.load import load_model
from napari_sam2.inference.masks import intersection_over_union

pytestmark = pytest.mark.parity

SECTION = "6. SAM 1 in float32, against segment_anything"
TOLERANCE, IOU = 1e-3, 0.999


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("segment_anything", reason="not installed: run make parity")


@pytest.mark.parametrize(
    ("variant", "size"), [("sam_vit_b", 1024), ("sam_vit_l", 256), ("sam_vit_h", 256)]
)
def test_networks(variant, size, tmp_path, table):
    theirs = segment_anything(variant, size)
    with torch.inference_mode():
        wanted = published_parts(theirs, size)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    del theirs  # up to 2.5 GB
    ours = load_model(tmp_path / "weights.pth", "cpu", "float32")
    (tmp_path / "weights.pth").unlink()
    assert (ours.config.name, ours.config.image_size) == (variant, size)
    with torch.inference_mode():
        found = our_parts(ours.network, size)
    for part, tensors in wanted.items():
        for expected, answer in zip(tensors, found[part], strict=True):
            assert answer.shape == expected.shape
            apart = float((answer - expected).abs().max())
            table.note(SECTION, f"{variant} at {size} px", part, apart)
            assert apart < TOLERANCE, part


@pytest.mark.parametrize("shape", [(96, 120), (300, 140), (256, 256)], ids=str)
def test_predictor(shape, small, table):
    """The longest side resized, the rest padded; on an input of 256 pixels."""
    from segment_anything import SamPredictor

    model, theirs = small
    plane = discs(1, shape)[0]
    ours, predictor = ImagePredictor(model), SamPredictor(theirs)
    ours.set_image(plane)
    # resized as ours does it, as the package's own resizing rounds to whole intensities
    size = predictor.transform.get_preprocess_shape(*shape, 256)
    image = torch.from_numpy(plane).float().expand(1, 3, -1, -1)
    image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
    predictor.set_torch_image(image, shape)

    points = [PointPrompt((31.0, 44.5)), PointPrompt((70, 12), positive=False)]
    box = BoxPrompt((12, 20, 70, 84))
    previous = fed_back = None
    for prompts in (points[:1], points, [box], [box, *points]):
        clicks = [prompt for prompt in prompts if isinstance(prompt, PointPrompt)]
        for multimask in (False, True):
            masks, scores, logits = predictor.predict(
                np.array([click.position[::-1] for click in clicks]) if clicks else None,
                np.array([int(click.positive) for click in clicks]) if clicks else None,
                np.array(box.box)[[1, 0, 3, 2]] if box in prompts else None,
                fed_back,
                multimask,
            )
            found = ours.predict(prompts, multimask, previous)
            row = f"predictor, an image of {shape[0]} x {shape[1]}"
            apart = float(np.abs(found.logits - logits).max())
            table.note(SECTION, row, "mask logits", apart)
            table.note(SECTION, row, "IoU estimate", float(np.abs(found.scores - scores).max()))
            assert apart < TOLERANCE
            for mask, expected in zip(found.masks, masks, strict=True):
                overlap = intersection_over_union(mask, expected)
                table.note(SECTION, row, IOU_COLUMN, overlap)
                assert overlap >= IOU
        # refined: the best of the three is fed back with the next prompts
        previous, fed_back = found, logits[[int(scores.argmax())]]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Both ViT-B for an input of 256 pixels."""
    pytest.importorskip("segment_anything", reason="not installed: run make parity")
    theirs = segment_anything("sam_vit_b", 256)
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(theirs.state_dict(), path)
    model = load_model(path, "cpu", "float32")
    path.unlink()
    return model, theirs
