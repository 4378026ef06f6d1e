"""Networks against answers of the published packages, stored by tests/golden/make.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.golden.answers import FILE, SAM1_SIZE, SIZE, sampled
from tests.golden.ours import model
from tests.parity import modules, sam1


@pytest.fixture(scope="module")
def golden():
    return np.load(FILE)


@pytest.mark.parametrize("variant", ["sam2_tiny", "sam2.1_tiny"])
def test_modules_of_sam2(variant, golden):
    network = model(f"sam2 {variant}", SIZE).network
    given = modules.given(SIZE)
    with torch.inference_mode():
        features = network.encode_image(given.image)
        found = sampled(modules.our_parts(network, given, features))
    for part in found.keys() - {modules.CHOSEN, modules.CHOSEN_IOU}:
        wanted = golden[f"sam2 {variant}, {part}"]
        np.testing.assert_allclose(found[part], wanted, atol=1e-3, err_msg=part)


def test_sam1(golden):
    network = model("segment_anything sam_vit_b", SAM1_SIZE).network
    with torch.inference_mode():
        found = sampled(sam1.our_parts(network, SAM1_SIZE))
    for part, values in found.items():
        wanted = golden[f"segment_anything sam_vit_b, {part}"]
        np.testing.assert_allclose(values, wanted, atol=1e-3, err_msg=part)
