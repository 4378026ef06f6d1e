"""Reading parts of a plane: no model is needed."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import zarr

from napari_sam2.inference.errors import InputError
from napari_sam2.inference.large.fields import Field
from napari_sam2.inference.large.large_plane import SAMPLE, SAMPLES, LargePlane, block_means
from napari_sam2.inference.large.placed import PlacedPrompts
from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.inference.transforms import rescale


class Counted:
    """An array that counts the pixels read."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, 0

    def __getitem__(self, index):
        part = self.data[index]
        self.read += part.size
        return part


class Endless(Counted):
    """A plane that does not exist anywhere: its pixels are their columns."""

    def __init__(self, shape):
        self.shape, self.dtype, self.read = shape, np.dtype(np.uint16), 0

    def __getitem__(self, index):
        rows, columns = (range(n)[part] for n, part in zip(self.shape, index, strict=True))
        self.read += len(rows) * len(columns)
        return np.broadcast_to(np.array(columns, np.uint16), (len(rows), len(columns)))


@pytest.fixture
def plane():
    return np.random.default_rng(0).integers(0, 4000, (150, 203)).astype(np.uint16)


FIELDS = [Field(5, 7, 64, 32, 1), Field(8, 4, 100, 130, 4), Field(0, 0, 150, 203, 16)]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", [np.asarray, dask.array.from_array, zarr.array])
def test_a_field_is_what_is_shown_averaged(plane, field, kind, monkeypatch):
    monkeypatch.setattr("napari_sam2.inference.large.large_plane.BLOCK", 32)
    shown = LargePlane(kind(plane), (100.0, 3000.0)).read(field)
    height, width = (side * field.step for side in field.shown)
    part = rescale(plane, (100.0, 3000.0))[field.row :, field.column :][:height, :width]
    assert shown.shape == field.shown
    np.testing.assert_allclose(shown, block_means(part, field.step), atol=1e-6)
    first = part[: field.step, : field.step].mean()
    last = part[height - field.step :, width - field.step :].mean()  # perhaps of fewer pixels
    np.testing.assert_allclose((shown[0, 0], shown[-1, -1]), (first, last), atol=1e-6)


def test_means_keep_colours():
    values = np.random.default_rng(0).random((8, 12, 3))
    wanted = values.reshape(2, 4, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(block_means(values, 4), wanted, atol=1e-6)


def test_transparency_is_left_out():
    rgba = np.random.default_rng(0).integers(0, 255, (40, 30, 4)).astype(np.uint8)
    shown = LargePlane(rgba).read(Field(0, 0, 40, 30, 2))
    assert shown.shape == (20, 15, 3)
    np.testing.assert_allclose(shown, block_means(rgba[..., :3] / 255, 2), atol=1e-6)


def test_no_more_is_read_than_the_field():
    data = Counted(np.zeros((400, 400), np.uint8))
    plane = LargePlane(data)
    assert data.read == 0
    plane.read(Field(100, 200, 64, 32, 1))
    assert data.read == 64 * 32


def test_contrast_limits_come_from_a_bounded_sample_of_the_whole_width():
    data = Endless((100_000, 60_000))
    low, high = LargePlane(data).contrast_limits
    assert data.read <= (SAMPLES * SAMPLE) ** 2
    assert low < 1000
    assert high > 59_000


def test_a_pyramid_is_read_where_it_has_the_averages(plane):
    full = plane[:148, :200]
    quarter = block_means(full, 4)
    odd = np.zeros((50, 67))  # no power of two: not for us
    levels = [Counted(full), Counted(odd), Counted(quarter)]
    pyramid, alone = LargePlane(levels, (0.0, 4000.0)), LargePlane(full, (0.0, 4000.0))
    for field in (Field(0, 0, 148, 200, 4), Field(8, 16, 128, 128, 8)):
        np.testing.assert_allclose(pyramid.read(field), alone.read(field), atol=1e-5)
    assert (levels[0].read, levels[1].read) == (0, 0)
    pyramid.read(Field(0, 0, 64, 64, 2))
    assert levels[0].read == 64 * 64


def test_a_pyramid_may_end_before_the_plane(plane):
    halved = block_means(plane, 2)[:, :101]  # of 203 columns
    shown = LargePlane([plane, halved], (0.0, 4000.0)).read(Field(0, 0, 150, 203, 2))
    assert shown.shape == (75, 102)
    np.testing.assert_array_equal(shown[:, -1], shown[:, -2])


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (np.zeros((3, 40, 40)), ValueError, "must be one plane"),
        (np.zeros((0, 40)), ValueError, "must be one plane"),
        (np.zeros((40, 40), complex), TypeError, "real numbers"),
        ([], ValueError, "no level"),
    ],
)
def test_mistakes_are_named(data, error, message):
    with pytest.raises(error, match=message):
        LargePlane(data)


def test_a_part_that_cannot_be_read_is_named():
    class Torn(Counted):
        def __getitem__(self, index):
            raise RuntimeError("error during blosc decompression: -1")

    plane = LargePlane(Torn(np.zeros((300, 400), np.uint8)), name="slide.zarr")
    message = (
        r"of slide\.zarr, rows 64 to 163 of 300, columns 0 to 99 of 400, cannot be read .*blosc"
    )
    with pytest.raises(InputError, match=message):
        plane.read(Field(64, 0, 100, 100, 1))


def test_limits_are_those_of_everything_where_the_sample_is_empty():
    pixels = np.zeros((4000, 4000), np.uint16)
    pixels[700:760, 700:760] = 3000  # between the parts that are sampled
    assert LargePlane(pixels).contrast_limits == (0.0, 3000.0)
    coarser = pixels[::4, ::4]
    assert LargePlane([pixels, coarser]).contrast_limits == (0.0, 3000.0)


@pytest.mark.parametrize("first", [(0, 0), (3, 5), (8, 4)])
@pytest.mark.parametrize("size", [(1, 1), (13, 22), (24, 11)])
def test_a_mask_is_shown_where_it_covers_half(first, size):
    mask = np.zeros((70, 90), bool)
    mask[first[0] : first[0] + size[0], first[1] : first[1] + size[1]] = True
    field = Field(0, 0, 70, 90, 8)
    (shown,) = PlacedPrompts.of([MaskPrompt(mask)], mask.shape).shown_in(field)
    np.testing.assert_array_equal(shown.mask, block_means(mask, 8) >= 0.5)


def test_the_last_row_is_read_where_a_pyramid_lacks_it():
    pixels = np.arange(33 * 40, dtype=np.float32).reshape(33, 40) / 2000
    coarser = block_means(pixels[:32], 2)
    read = LargePlane([pixels, coarser], (0.0, 1.0)).read(Field(32, 0, 1, 40, 2))
    np.testing.assert_allclose(read, block_means(pixels[32:], 2), rtol=1e-6)
