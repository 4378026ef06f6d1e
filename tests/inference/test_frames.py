from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_sam2.inference.errors import InputError
from napari_sam2.inference.frames import FrameSource, PlaneReader


@given(
    axis=st.integers(0, 3),
    fixed_axis=st.integers(0, 3),
    shape=st.tuples(*[st.integers(1, 4)] * 4),
    data=st.data(),
)
def test_planes_are_those_of_numpy(axis, fixed_axis, shape, data):
    if axis == fixed_axis:
        return
    stack = np.arange(np.prod(shape)).reshape(shape)
    index = data.draw(st.integers(0, shape[fixed_axis] - 1))
    source = FrameSource(stack, frame_axis=axis, fixed={fixed_axis: index}, rgb=False)
    assert len(source) == shape[axis]
    for frame in range(len(source)):
        keys: list = [slice(None)] * 4
        keys[axis], keys[fixed_axis] = frame, index
        np.testing.assert_array_equal(source.plane(frame), stack[tuple(keys)])
        assert source.plane(frame).shape == source.plane_shape


def test_only_the_asked_for_plane_is_read():
    read = []

    def load(block_id=None):
        read.append(block_id[0])
        return np.zeros((1, 8, 8))

    chunks = ((1,) * 100, (8,), (8,))
    lazy = da.map_blocks(load, chunks=chunks, dtype=float, meta=np.zeros((0, 0, 0)))
    FrameSource(lazy).plane(40)
    assert read == [40]


def test_zarr_and_colours(tmp_path):
    stored = zarr.create_array(
        tmp_path / "stack.zarr", shape=(3, 6, 7, 4), dtype="uint8", chunks=(1, 6, 7, 4)
    )
    stored[:] = 9
    source = FrameSource(stored)
    assert source.rgb
    assert source.plane(2).shape == (6, 7, 3)  # alpha is left out


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 6), {}, "must be 3"),
        ((2, 3, 4, 5), {}, "must be 3"),
        ((0, 4, 5), {}, "empty"),
        ((3, 4, 5), {"frame_axis": 3}, "no axis 3"),
        ((2, 3, 4, 5), {"fixed": {0: 0}}, "cannot be fixed"),
        ((2, 3, 4, 5), {"fixed": {1: 3}}, "no index 3"),
    ],
)
def test_wrong_shapes_are_named(shape, options, message):
    with pytest.raises(ValueError, match=message):
        FrameSource(np.zeros(shape), **options)


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="complex64"):
        FrameSource(np.zeros((2, 3, 4), dtype=np.complex64))


def test_a_frame_beyond_the_end_is_named():
    with pytest.raises(IndexError, match="the stack has 2"):
        FrameSource(np.zeros((2, 3, 4))).plane(2)


def test_a_plane_that_could_not_be_read_is_read_again():
    class Shaky:
        shape, dtype = (3, 4, 5), np.dtype(float)
        works = False

        def __getitem__(self, index):
            if not self.works:
                raise OSError("the disk is gone")
            return np.full((4, 5), float(index[0]))

    data = Shaky()
    reader = PlaneReader(FrameSource(data, name="film.tif"))
    reader.following = 1
    for _ in range(2):
        with pytest.raises(InputError, match=r"Plane 0 of film\.tif .*OSError: the disk is gone"):
            reader.plane(0)
    data.works = True
    assert (reader.plane(0) == 0).all()
    reader.following = None
    with pytest.raises(InputError, match=r"Plane 1 of film\.tif"):
        reader.plane(1)  # as it was when it was read ahead
    assert (reader.plane(1) == 1).all()
