import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Points

from napari_sam2.plugin.coordinates import (
    axis_name,
    current_frame,
    frame_axes,
    image_shape,
    is_shown,
    placement,
    plane_axes,
    slider_index,
    stack_geometry,
    to_image,
)
from napari_sam2.plugin.layers.workspace import Workspace

SHAPE = (4, 5, 6, 7)


def viewer_with(image, *others):
    viewer = ViewerModel()
    for layer in (image, *others):
        viewer.add_layer(layer)
    return viewer


def stack(ndim=3, **arguments):
    return Image(np.zeros(SHAPE[-ndim:], np.uint8), **arguments)


@pytest.mark.parametrize(
    ("ndim", "frame_axis", "plane", "fixed"),
    [(2, None, (0, 1), ()), (3, 0, (1, 2), ()), (4, 1, (2, 3), ((0, 2),))],
)
def test_default_axes(ndim, frame_axis, plane, fixed):
    image = stack(ndim)
    viewer = viewer_with(image)
    viewer.dims.current_step = (2,) * ndim
    geometry = stack_geometry(viewer.dims, image)
    assert geometry.key.frame_axis == frame_axis
    assert geometry.key.plane_axes == plane
    assert geometry.key.fixed == fixed
    assert geometry.plane_shape == SHAPE[-2:]
    assert geometry.frame_count == (1 if frame_axis is None else SHAPE[-3])


def test_time_as_frame_axis_leaves_z_where_the_slider_is():
    image = stack(4)
    viewer = viewer_with(image)
    viewer.dims.current_step = (1, 3, 0, 0)
    geometry = stack_geometry(viewer.dims, image, frame_axis=0)
    assert geometry.key.frame_axis == 0
    assert geometry.key.fixed == ((1, 3),)
    assert current_frame(viewer.dims, image, geometry) == 1


def test_rgb_has_no_axis_for_colours():
    image = Image(np.zeros((5, 6, 7, 3), np.uint8), rgb=True)
    viewer = viewer_with(image)
    assert image_shape(image) == (5, 6, 7)
    assert stack_geometry(viewer.dims, image).plane_shape == (6, 7)


def test_multiscale_counts_at_full_resolution():
    levels = [np.zeros((3, 64, 64)), np.zeros((3, 32, 32))]
    image = Image(levels, multiscale=True)
    viewer = viewer_with(image)
    assert stack_geometry(viewer.dims, image).plane_shape == (64, 64)


def test_transposed_display_keeps_the_plane_and_rolled_takes_another():
    image = stack(3)
    viewer = viewer_with(image)
    viewer.dims.transpose()
    assert plane_axes(viewer.dims, image) == (1, 2)
    viewer.dims.transpose()
    viewer.dims.roll()
    geometry = stack_geometry(viewer.dims, image)
    assert viewer.dims.displayed == (0, 1)
    assert (geometry.key.plane_axes, geometry.key.frame_axis) == ((0, 1), 2)
    assert geometry.plane_shape == (5, 6)
    assert geometry.frame_count == 7


def test_a_frame_axis_that_is_displayed_now_is_not_used():
    image = stack(3)
    viewer = viewer_with(image)
    viewer.dims.roll()
    assert stack_geometry(viewer.dims, image, frame_axis=0).key.frame_axis == 2


def test_a_2d_image_beside_a_stack():
    image, other = stack(2), stack(4)
    viewer = viewer_with(image, other)
    assert plane_axes(viewer.dims, image) == (0, 1)
    viewer.dims.order = (3, 2, 1, 0)  # shows axes that the 2D image lacks
    assert plane_axes(viewer.dims, image) == (0, 1)
    assert stack_geometry(viewer.dims, image).key.frame_axis is None


def test_a_viewer_in_other_units_than_the_image():
    image = stack(scale=(2000, 500, 500), translate=(1000, 0, 0), units=("nm",) * 3)
    shown = stack(scale=(2, 0.5, 0.5), units=("um",) * 3)
    viewer = viewer_with(shown, image)
    workspace = Workspace(viewer)
    workspace.choose_image(image)
    viewer.layers.units = ("um",) * 3
    viewer.dims.set_point(0, 5.0)
    geometry = workspace.geometry()
    assert workspace.frame(geometry) == 2
    workspace.go_to(geometry, 1)
    assert viewer.dims.point[0] == pytest.approx(3.0)
    points = Points([[3.0, 2.0, 1.0]], units=("um",) * 3)
    np.testing.assert_allclose(to_image(points.data, points, image), [[1, 4, 2]])
    pixels = Points([[3000.0, 2000.0, 1000.0]])  # of which nobody knows how long they are
    np.testing.assert_allclose(to_image(pixels.data, pixels, image), [[1, 4, 2]])


def test_while_napari_takes_a_layer_out_the_viewer_has_fewer_axes():
    assert slider_index(viewer_with(stack(2)).dims, stack(), SHAPE[-3:]) == (0, 2, 3)


def test_axis_names():
    image = stack(4)
    viewer = viewer_with(image)
    assert [axis_name(viewer.dims, image, axis) for axis in range(2)] == ["axis 0", "axis 1"]
    viewer.dims.axis_labels = ("t", "z", "y", "x")
    assert [axis_name(viewer.dims, image, axis) for axis in range(2)] == ["t", "z"]
    assert frame_axes(viewer.dims, image) == (0, 1)


def test_index_addresses_a_region_of_one_frame():
    image = stack(4)
    viewer = viewer_with(image)
    viewer.dims.current_step = (2, 0, 0, 0)
    data = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    region = (slice(1, 4), slice(2, 6))
    geometry = stack_geometry(viewer.dims, image)
    np.testing.assert_array_equal(data[geometry.index(3, region)], data[2, 3, 1:4, 2:6])
    viewer.dims.order = (1, 3, 0, 2)
    geometry = stack_geometry(viewer.dims, image, frame_axis=3)
    region = (slice(1, 3), slice(2, 6))
    expected = data[1:3, int(viewer.dims.point[1]), 2:6, 5]
    np.testing.assert_array_equal(data[geometry.index(5, region)], expected)


def test_what_is_shown():
    image = stack(4)
    viewer = viewer_with(image)
    viewer.dims.current_step = (2, 3, 0, 0)
    geometry = stack_geometry(viewer.dims, image)
    assert is_shown(viewer.dims, image, geometry, 3)
    assert not is_shown(viewer.dims, image, geometry, 1)
    viewer.dims.ndisplay = 3
    assert is_shown(viewer.dims, image, geometry, 1)
    viewer.dims.set_current_step(0, 0)
    assert not is_shown(viewer.dims, image, geometry, 1)


def test_positions_outside_and_in_another_stack():
    image = stack(4)
    viewer = viewer_with(image)
    viewer.dims.current_step = (2, 0, 0, 0)
    geometry = stack_geometry(viewer.dims, image)
    assert geometry.locate((1, 3, 2, 2)) is None
    inside, outside = geometry.locate((2.4, 3.4, -0.5, 6.5)), geometry.locate((2, 3, 2, 6.6))
    assert inside == (3, -0.5, 6.5)
    assert geometry.contains(inside)
    assert not geometry.contains(outside)
    assert not geometry.contains(geometry.locate((2, 5, 2, 2)))


def test_a_layer_with_fewer_axes_than_the_image_is_refused():
    image, points = stack(3), Points(np.zeros((1, 2)), name="flat")
    with pytest.raises(ValueError, match="“flat” has 2 axes and the image 3"):
        to_image(points.data, points, image)


def test_a_layer_with_more_axes_than_the_image_loses_the_first():
    image, points = stack(2), Points([[9.0, 3.0, 4.0]])
    np.testing.assert_allclose(to_image(points.data, points, image), [[3, 4]])


def test_layers_placed_on_the_image_share_its_coordinates():
    image = stack(3, scale=(2, 0.5, 0.3), translate=(1, 2, 3), rotate=20, name="turned")
    points = Points([[1.0, 2.0, 3.0]], **placement(image))
    np.testing.assert_allclose(to_image(points.data, points, image), points.data, atol=1e-9)


finite = st.floats(-50, 50)
scales = st.floats(0.05, 20)


def triple(values):
    return st.tuples(values, values, values)


@settings(deadline=None, max_examples=60)
@given(
    image_scale=triple(scales),
    image_translate=triple(finite),
    points_scale=triple(scales),
    points_translate=triple(finite),
    order=st.permutations(range(3)),
    data=st.data(),
)
def test_round_trip(image_scale, image_translate, points_scale, points_translate, order, data):
    image = stack(3, scale=image_scale, translate=image_translate)
    positions = [
        [data.draw(st.floats(-0.4, length - 0.6)) for length in image.data.shape] for _ in range(3)
    ]
    world = np.array([image.data_to_world(position) for position in positions])
    points = Points(
        (world - points_translate) / points_scale,
        scale=points_scale,
        translate=points_translate,
    )
    viewer = viewer_with(image, points)
    viewer.dims.order = order
    geometry = stack_geometry(viewer.dims, image)
    axis = geometry.key.frame_axis
    found = to_image(points.data, points, image)
    np.testing.assert_allclose(found, positions, atol=1e-6)
    for position, carried in zip(positions, found, strict=True):
        assume(abs(position[axis] % 1 - 0.5) > 1e-4)
        place = geometry.locate(carried)
        assert place.frame == round(position[axis])
        rows = [position[plane_axis] for plane_axis in sorted(order[1:])]
        np.testing.assert_allclose((place.row, place.column), rows, atol=1e-6)
        assert geometry.contains(place)
        viewer.dims.point = image.data_to_world(position)
        # The slider snaps to the world's own steps, which need not be the image's.
        here = image.world_to_data(viewer.dims.point)[axis]
        frame = current_frame(viewer.dims, image, geometry)
        assert frame == np.clip(np.floor(here + 0.5), 0, image.data.shape[axis] - 1)
