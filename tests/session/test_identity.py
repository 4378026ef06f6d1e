from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_sam2.session import identity
from napari_sam2.session.identity import identify_image


class Counting:
    """An image that notes how many bytes are read of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, 0

    def __getitem__(self, index):
        self.read += self.data[index].nbytes
        return self.data[index]


@pytest.mark.parametrize("shape", [(2000, 3000), (3, 2000, 3000), (2000, 3000, 3)])
def test_large_planes_are_known_by_parts_of_them(monkeypatch, shape):
    monkeypatch.setattr(identity, "_LARGE", 2**20)
    data = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    image, rgb = Counting(data), shape[-1] == 3
    known = identify_image("slide", image, rgb)
    planes, colours = (3, 1) if len(shape) == 3 and not rgb else (1, 3 if rgb else 1)
    assert image.read == planes * colours * 16 * 256 * 256
    assert known == identify_image("slide", data.copy(), rgb)
    data[..., -1 if not rgb else -5 :, -1 if not rgb else -5 :] ^= 1
    assert known.key != identify_image("slide", data, rgb).key


def test_a_plane_that_is_hardly_large_has_parts_that_fit(monkeypatch):
    monkeypatch.setattr(identity, "_LARGE", 2**10)
    assert identify_image("narrow", np.zeros((50, 3000), np.uint8), False).sha256


def test_small_planes_are_known_by_all_of_their_pixels():
    data = np.arange(60, dtype=np.uint16).reshape(6, 10)
    assert identify_image("i", data, False).sha256 == hashlib.sha256(data.tobytes()).hexdigest()
