import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points, Shapes
from napari.utils.colormaps.standardize_color import transform_color

from napari_sam2.inference.prompts import (
    BoxPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
    expand_prompts,
)
from napari_sam2.plugin.coordinates import stack_geometry
from napari_sam2.plugin.layers.colors import label_colormap, negative_color, object_color
from napari_sam2.plugin.layers.own_layers import (
    is_own,
    make_points_layer,
    make_shapes_layer,
    restyle,
    use_object,
)
from napari_sam2.plugin.layers.prompt_features import next_object
from napari_sam2.plugin.layers.prompt_reading import read_prompts

RECTANGLE = np.array([[4, 2, 3], [4, 2, 9], [4, 8, 9], [4, 8, 3]], float)


@pytest.fixture
def image():
    return Image(np.zeros((6, 20, 30), np.uint8), scale=(2, 0.5, 0.5), translate=(0, 7, 0))


@pytest.fixture
def geometry(image):
    viewer = ViewerModel()
    viewer.add_layer(image)
    return stack_geometry(viewer.dims, image)


def read(image, geometry, points=None, shapes=None):
    return read_prompts(points, shapes, image, geometry)


def test_clicks_by_object_frame_and_sign(image, geometry):
    points = make_points_layer(image, geometry)
    points.add([4, 10, 11])
    use_object(points, 1, False)
    points.add([4, 12, 13])
    use_object(points, 7, True)
    points.add([2, 5, 6])
    reading = read(image, geometry, points)
    assert reading.prompts == {
        (1, 4): (PointPrompt((10, 11)), PointPrompt((12, 13), positive=False)),
        (7, 2): (PointPrompt((5, 6)),),
    }
    assert reading.problems == ()
    assert [str(symbol) for symbol in points.symbol] == ["disc", "x", "disc"]
    expected = transform_color([object_color(1), object_color(1), object_color(7)])
    np.testing.assert_allclose(points.face_color, expected, atol=1e-6)


def test_rectangles_come_before_points_of_the_same_object(image, geometry):
    points, shapes = make_points_layer(image, geometry), make_shapes_layer(image, geometry)
    points.add([4, 5, 6])
    shapes.add_rectangles(RECTANGLE)
    reading = read(image, geometry, points, shapes)
    assert reading.prompts == {(1, 4): (BoxPrompt((2, 3, 8, 9)), PointPrompt((5, 6)))}


def test_the_users_layers_are_read_and_left_as_they_are(image, geometry):
    # In world units and without any feature.
    points = Points([[8, 12, 5.5]], name="mine")
    shapes = Shapes([RECTANGLE * (2, 0.5, 0.5) + (0, 7, 0)], shape_type="rectangle", ndim=3)
    reading = read(image, geometry, points, shapes)
    assert reading.prompts == {(1, 4): (BoxPrompt((2, 3, 8, 9)), PointPrompt((10, 11)))}
    assert not is_own(points)
    assert not is_own(shapes)
    assert points.features.empty
    np.testing.assert_array_equal(points.data, [[8, 12, 5.5]])


def test_missing_features_mean_object_1_and_positive(image, geometry):
    points = Points(
        [[8, 12, 5.5], [8, 12, 6]],
        features={"object": [np.nan, 3.0], "sign": [None, "negative"]},
    )
    assert read(image, geometry, points).prompts == {
        (1, 4): (PointPrompt((10, 11)),),
        (3, 4): (PointPrompt((10, 12), positive=False),),
    }


@pytest.mark.parametrize(
    ("position", "where"),
    [([4, 10, 31], "outside the plane of 20 x 30"), ([6, 10, 11], "planes 0 to 5")],
)
def test_a_click_outside_is_told_and_the_others_work(image, geometry, position, where):
    points = make_points_layer(image, geometry)
    points.add(position)
    points.add([4, 10, 11])
    reading = read(image, geometry, points)
    assert reading.prompts == {(1, 4): (PointPrompt((10, 11)),)}
    assert len(reading.problems) == 1
    assert where in reading.problems[0]


def test_outlines_and_strokes(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    corners = np.array([[4, 2, 3], [4, 2, 9], [4, 8, 9]], float)
    shapes.add_polygons(corners)
    shapes.add_paths(corners)
    use_object(shapes, 2, False)
    shapes.add_lines(corners[:2])
    flat = ((2.0, 3.0), (2.0, 9.0), (8.0, 9.0))
    reading = read(image, geometry, shapes=shapes)
    assert reading.prompts == {
        (1, 4): (PolygonPrompt(flat), ScribblePrompt(flat)),
        (2, 4): (ScribblePrompt(flat[:2], positive=False),),
    }
    assert reading.problems == ()


@pytest.mark.parametrize("turned", [False, True])
def test_an_ellipse_is_its_outline(image, geometry, turned):
    shapes = make_shapes_layer(image, geometry)
    centre, first, second = np.array([4, 10, 15]), np.array([0, 6, 0]), np.array([0, 0, 9])
    if turned:
        first, second = np.array([0, 4.8, 3.6]), np.array([0, -5.4, 7.2])
    corners = [centre + a * first + b * second for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    shapes.add_ellipses(np.array(corners))
    (prompts,) = read(image, geometry, shapes=shapes).prompts.values()
    (mask,) = expand_prompts(prompts, geometry.plane_shape)
    pixels = np.stack(np.mgrid[:20, :30], axis=-1) - centre[1:]
    along = [pixels @ axis[1:] / (axis @ axis) for axis in (first, second)]
    distance = np.hypot(*along)
    # As a polygon of 64 corners it is smaller by a hair.
    assert mask.mask[distance < 0.99].all()
    assert not mask.mask[distance > 1].any()


def test_a_negative_outline_is_told_and_the_rest_works(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    use_object(shapes, 1, False)
    shapes.add_rectangles(RECTANGLE)
    shapes.add_paths(RECTANGLE)
    reading = read(image, geometry, shapes=shapes)
    assert [type(prompt) for prompt in reading.prompts[1, 4]] == [ScribblePrompt]
    assert len(reading.problems) == 1
    assert "(rectangle) in the layer “SAM 2 shapes” is negative" in reading.problems[0]


def test_a_shape_beside_the_image_is_told_and_the_rest_works(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    shapes.add_polygons(RECTANGLE[:3] + np.array((0, 0, 90)))
    shapes.add_rectangles(RECTANGLE)
    reading = read(image, geometry, shapes=shapes)
    assert reading.prompts == {(1, 4): (BoxPrompt((2, 3, 8, 9)),)}
    assert "covers no pixel of the plane of 20 x 30" in reading.problems[0]


def test_of_two_boxes_of_one_object_the_first_is_used(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    shapes.add_rectangles([RECTANGLE, RECTANGLE + np.array((0, 3, 3))])
    use_object(shapes, 2, True)
    shapes.add_rectangles(RECTANGLE + np.array((1, 0, 0)))
    reading = read(image, geometry, shapes=shapes)
    assert {key: len(prompts) for key, prompts in reading.prompts.items()} == {(1, 4): 1, (2, 5): 1}
    assert reading.prompts[1, 4][0].box[0] == RECTANGLE[:, 1].min()
    assert "Object 1, plane 4" in reading.problems[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_point_that_is_nowhere_is_left_out_alone(image, geometry, bad):
    points = make_points_layer(image, geometry)
    points.add([[4, 9, 9]])
    points.data = np.array([[bad, 9, 9], [4, 9, 9]])
    reading = read(image, geometry, points=points)
    assert list(reading.prompts) == [(1, 4)]
    assert "is nowhere" in reading.problems[0]


def test_a_rectangle_across_planes_is_told(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    shapes.add_rectangles(RECTANGLE[:, [1, 0, 2]])
    reading = read(image, geometry, shapes=shapes)
    assert reading.prompts == {}
    assert "across several planes" in reading.problems[0]


@pytest.mark.parametrize(
    ("features", "word"),
    [
        ({"object": ["cell"]}, "'cell' in its feature “object”"),
        ({"object": [0]}, "whole numbers from 1"),
        ({"sign": ["maybe"]}, "“positive” or “negative”"),
    ],
)
def test_odd_features_are_told(image, geometry, features, word):
    reading = read(image, geometry, Points([[8, 12, 5.5]], features=features))
    assert reading.prompts == {}
    assert word in reading.problems[0]


def test_a_flat_points_layer_on_a_stack_is_told(image, geometry):
    reading = read(image, geometry, Points([[12, 5.5]], name="flat"))
    assert reading.prompts == {}
    assert "“flat” has 2 axes" in reading.problems[0]


def test_choosing_an_object_leaves_drawn_points_alone(image, geometry):
    points = make_points_layer(image, geometry)
    points.add([4, 10, 11])
    assert points.selected_data == {0}
    use_object(points, 5, False)
    assert points.features["object"].tolist() == [1]
    assert points.features["sign"].tolist() == ["positive"]
    assert next_object(points) == (5, False)


def test_selecting_a_point_chooses_its_object(image, geometry):
    points = make_points_layer(image, geometry)
    points.add([4, 10, 11])
    use_object(points, 5, False)
    points.add([4, 1, 1])
    points.selected_data = {0}
    assert next_object(points) == (1, True)


def test_edited_features_change_the_look(image, geometry):
    points = make_points_layer(image, geometry)
    points.add([4, 10, 11])
    points.features = {"object": [3], "sign": ["negative"]}
    restyle(points)
    np.testing.assert_allclose(points.face_color, transform_color(object_color(3)), atol=1e-6)
    assert str(points.symbol[0]) == "x"


def test_a_negative_scribble_is_darker_and_follows_its_features(image, geometry):
    shapes = make_shapes_layer(image, geometry)
    shapes.add_paths(RECTANGLE)
    use_object(shapes, 3, False)
    shapes.add_paths(RECTANGLE)
    expected = transform_color([object_color(1), negative_color(3)])
    np.testing.assert_allclose(shapes.edge_color, expected, atol=1e-6)
    shapes.features = {"object": [2, 3], "sign": ["negative", "positive"]}
    restyle(shapes)
    expected = transform_color([negative_color(2), object_color(3)])
    np.testing.assert_allclose(shapes.edge_color, expected, atol=1e-6)


@pytest.mark.parametrize("object_id", [1, 2, 12, 13, 300])
def test_labels_have_the_colours_of_their_prompts(object_id):
    colour = label_colormap().map(np.uint16(object_id))
    np.testing.assert_allclose(colour, transform_color(object_color(object_id))[0], atol=1e-6)
