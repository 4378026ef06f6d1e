"""Predictors against answers of the published packages, stored by tests/golden/make.py."""

from __future__ import annotations

import numpy as np
import pytest
from tests.golden.answers import FILE, FRAMES, SAM1_SIZE, SIZE, sampled
from tests.golden.ours import OurSession, asked, model
from tests.golden.sessions import SESSIONS, presence, two_objects
from tests.golden.weights import planes

from napari_sam2 import VideoPredictor

# of logits of about 10; rounding errors are of about 1e-5, a wrong rule is of 1e-2 and more
TOLERANCE = 1e-3


@pytest.mark.parametrize(
    ("title", "session"),
    [
        *((f"sam2 {variant}", s) for variant in ("sam2_tiny", "sam2.1_tiny") for s in SESSIONS),
        ("transformers sam2.1_tiny", two_objects),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_stacks(title, session):
    filled = model(title, SIZE)
    steps = OurSession(VideoPredictor(filled, planes(FRAMES)))
    with presence(session, filled.network.mask_decoder.presence_head.layers[-1]):
        session(steps)
    found = sampled({"stack": steps.masks})["stack"]
    wanted = np.load(FILE)[f"{title}, {session.__name__}"]
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("title", "size"),
    [
        ("sam2 sam2_tiny", SIZE),
        ("sam2 sam2.1_tiny", SIZE),
        ("segment_anything sam_vit_b", SAM1_SIZE),
    ],
)
def test_an_image(title, size):
    """A click for three masks, refined; a box; a mask with a click."""
    found = sampled({"image": asked(model(title, size), size)})["image"]
    wanted = np.load(FILE)[f"{title}, image predictor"]
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
