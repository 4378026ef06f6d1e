"""Channels that are blended into colours."""

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam2.inference.channels import Channel, ChannelBlend
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.load import Model
from napari_sam2.inference.planes import ShownPlanes
from napari_sam2.inference.video.video_predictor import VideoPredictor

BLACK = (0.0, 0.0, 0.0)
GREEN = Channel("a", (0.0, 100.0), 1.0, (BLACK, (0.0, 1.0, 0.0)))
MAGENTA = Channel("b", (10.0, 60.0), 2.0, (BLACK, (1.0, 0.0, 1.0)))
FIRE = Channel("c", (0.0, 4.0), 1.0, (BLACK, (1.0, 0.0, 0.0), (1.0, 1.0, 0.5)))


@pytest.fixture
def stacks():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 120, (3, 4, 5, 6), dtype=np.uint16) for _ in range(2)]


def test_intensities_become_colours():
    plane = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 9.0, np.nan]])
    red, green, blue = np.moveaxis(FIRE.colours(plane), -1, 0)
    np.testing.assert_allclose(red, [[0, 0.5, 1, 1, 1, 1, 0]])
    np.testing.assert_allclose(green, [[0, 0, 0, 0.5, 1, 1, 0]])
    np.testing.assert_allclose(blue, [[0, 0, 0, 0.25, 0.5, 0.5, 0]])
    assert red.dtype == np.float32


def test_gamma_bends_what_is_between_the_limits():
    (found,) = MAGENTA.colours(np.array([10, 35, 60], np.uint8)[None])
    np.testing.assert_allclose(found, [[0, 0, 0], [0.25, 0, 0.25], [1, 0, 1]])


def test_light_adds_up_and_is_clipped(stacks):
    both = ChannelBlend([GREEN, GREEN], stacks)
    expected = np.minimum(stacks[0].clip(max=100) / 100 + stacks[1].clip(max=100) / 100, 1)
    found = both[2, 1]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 1], expected[2, 1], rtol=1e-6)
    assert (found[..., 1] == 1).any()
    assert not found[..., ::2].any()


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_one_plane_is_read_at_a_time(stacks, kind):
    read = []

    class Reads:
        def __init__(self, data):
            self.data, self.shape, self.dtype = data, data.shape, data.dtype

        def __getitem__(self, index):
            read.append(self.data[index].shape)
            return self.data[index]

    made = {"numpy": np.asarray, "dask": da.from_array, "zarr": zarr.array}[kind]
    blend = ChannelBlend([GREEN, MAGENTA], [Reads(made(stack)) for stack in stacks])
    assert blend.shape == (3, 4, 5, 6, 3)
    source = FrameSource(blend, frame_axis=1, fixed={0: 2}, rgb=True)
    expected = GREEN.colours(stacks[0][2, 3]) + MAGENTA.colours(stacks[1][2, 3])
    np.testing.assert_array_equal(source.plane(3), expected.clip(max=1))
    assert read == [(5, 6)] * 2
    # planes across the first axis, of rows as frames
    side = FrameSource(blend, frame_axis=2, fixed={1: 3}, rgb=True).plane(4)
    np.testing.assert_array_equal(side[2], source.plane(3)[4])


def test_one_plane_alone(stacks):
    blend = ChannelBlend([GREEN], [stacks[0][0, 0]])
    assert np.asarray(blend).shape == (5, 6, 3)
    np.testing.assert_array_equal(blend, GREEN.colours(stacks[0][0, 0]))


def test_channels_of_several_shapes_are_refused(stacks):
    with pytest.raises(ValueError, match=r"2 of the shapes \[\(3, 4, 5, 6\), \(4, 5, 6\)\]"):
        ChannelBlend([GREEN, MAGENTA], [stacks[0], stacks[1][0]])
    with pytest.raises(ValueError, match="Channels of one shape are needed"):
        ChannelBlend([GREEN], stacks)


def test_only_the_same_arrays_shown_alike_are_the_same(stacks):
    blend = ChannelBlend([GREEN, MAGENTA], stacks)
    assert blend.same_pixels(ChannelBlend([GREEN, MAGENTA], stacks))
    assert not blend.same_pixels(ChannelBlend([GREEN, FIRE], stacks))
    assert not blend.same_pixels(ChannelBlend([GREEN, MAGENTA], [stacks[0], stacks[1].copy()]))
    assert not blend.same_pixels(ChannelBlend([GREEN], stacks[:1]))
    assert not blend.same_pixels(stacks[0])


def test_features_are_kept_by_how_channels_are_shown(tiny_model: Model, stacks):
    def key(*channels):
        source = FrameSource(ChannelBlend(channels, [s[0] for s in stacks]), rgb=True)
        return ShownPlanes(tiny_model, source, (0.0, 1.0)).key(1)

    assert key(GREEN, MAGENTA) == key(GREEN, MAGENTA)
    steeper = Channel("b", (10.0, 60.0), 1.5, MAGENTA.colormap)
    coloured = Channel("b", (10.0, 60.0), 2.0, FIRE.colormap)
    brighter = Channel("b", (10.0, 50.0), 2.0, MAGENTA.colormap)
    every = [key(GREEN, each) for each in (MAGENTA, steeper, coloured, brighter)]
    assert len(set(every)) == 4


def test_the_model_is_given_the_blend_as_it_is(tiny_model: Model, discs):
    from napari_sam2.inference.prompts import PointPrompt

    channels, halves = [GREEN, MAGENTA], [discs[0], discs[0][:, ::-1]]
    blend = ChannelBlend(channels, halves)
    whole = np.stack([blend[frame] for frame in range(len(discs[0]))])
    found = []
    for data in (blend, whole):
        video = VideoPredictor(tiny_model, FrameSource(data, rgb=True), contrast_limits=(0.0, 1.0))
        video.add_prompts(object_id=1, frame=2, prompts=[PointPrompt((32.0, 30.0))])
        found.append([result.labels() for result in video.propagate()])
    assert np.any(found)
    np.testing.assert_array_equal(*found)
