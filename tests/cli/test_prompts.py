import pytest

from napari_sam2.cli.errors import InputError
from napari_sam2.cli.prompts import outer_axes, parse_box, parse_point, place
from napari_sam2.inference.prompts import BoxPrompt, PointPrompt


@pytest.mark.parametrize(
    ("text", "object_id", "numbers", "positive"),
    [
        ("12,64,70", 1, (12, 64, 70), True),
        ("3:12,64,70", 3, (12, 64, 70), True),
        ("12,64.5,70.25:-", 1, (12, 64.5, 70.25), False),
        ("65535:1,2:-", 65535, (1, 2), False),
        (" 2: 1, 2 :+", 2, (1, 2), True),
    ],
)
def test_points_are_read(text, object_id, numbers, positive):
    point = parse_point(text)
    assert (point.object_id, point.numbers, point.positive) == (object_id, numbers, positive)


@pytest.mark.parametrize("text", ["", "a,b", "1,,2", "1,2:", "x:1,2", "1:2:3,4", "-1:2,3", "1 2"])
def test_a_malformed_point_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"not a point\. Write it like 12,64,70"):
        parse_point(text)


@pytest.mark.parametrize("text", ["12,1,2,x,4", "1,2,3,4:-"])
def test_a_malformed_box_is_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"not a box\. Write it like 12,50,60,90,100"):
        parse_box(text)


@pytest.mark.parametrize("text", ["0:1,2", "65536:1,2"])
def test_objects_that_a_label_image_cannot_hold_are_refused(text):
    with pytest.raises(InputError, match="from 1 to 65535"):
        parse_point(text)


@pytest.mark.parametrize(
    ("ndim", "frame_axis", "outer"),
    [(2, 0, ()), (3, 0, (0,)), (3, 2, (2,)), (4, 1, (0, 1)), (4, 0, (0, 1)), (5, 2, (0, 1, 2))],
)
def test_the_plane_is_the_last_two_axes_but_the_frame_axis(ndim, frame_axis, outer):
    assert outer_axes(ndim, frame_axis) == outer


def test_prompts_are_sorted_by_object_and_frame():
    points = [parse_point(text) for text in ("4,5,6", "4,7,8:-", "2:0,1,2", "3,1,1")]
    boxes = [parse_box("2:0,1,1,5,6")]
    placed = place(points, boxes, (10, 20, 30), 0)
    assert placed.fixed == {}
    assert placed.object_ids == (1, 2)
    assert placed.prompts == {
        (1, 4): (PointPrompt((5, 6)), PointPrompt((7, 8), positive=False)),
        (2, 0): (PointPrompt((1, 2)), BoxPrompt((1, 1, 5, 6))),
        (1, 3): (PointPrompt((1, 1)),),
    }


def test_a_flat_image_has_one_frame():
    placed = place([parse_point("5,6")], [parse_box("2:1,2,3,4")], (20, 30), 0)
    assert set(placed.prompts) == {(1, 0), (2, 0)}


def test_another_frame_axis_takes_its_own_number():
    placed = place([parse_point("5,6,2")], [parse_box("2,1,2,3,4")], (20, 30, 10), 2)
    assert placed.prompts == {(1, 2): (PointPrompt((5, 6)), BoxPrompt((1, 2, 3, 4)))}


def test_axes_beyond_the_stack_are_fixed_by_the_prompts():
    placed = place([parse_point("2,7,5,6")], [parse_box("2,9,1,2,3,4")], (3, 10, 20, 30), 1)
    assert placed.fixed == {0: 2}
    assert set(placed.prompts) == {(1, 7), (1, 9)}


@pytest.mark.parametrize(
    ("points", "boxes", "frame_axis", "message"),
    [
        ([], [], 0, "There is no prompt"),
        (["5,6"], [], 0, "has 2 numbers.*needs 3"),
        ([], ["5,6,7,8"], 0, "has 4 numbers.*needs 5"),
        (["10,5,6"], [], 0, "10 on axis 0.*0 to 9"),
        (["-1,5,6"], [], 0, "-1 on axis 0"),
        (["1.5,5,6"], [], 0, "1.5 on axis 0.*whole planes"),
        (["nan,5,6"], [], 0, "nan on axis 0"),
        (["1,20,6"], [], 0, "outside the plane of 20 x 30"),
        (["1,inf,6"], [], 0, "not finite"),
        ([], ["1,25,3,40,9"], 0, "outside the plane"),
        ([], ["1,5,3,5,9"], 0, "no area"),
        ([], ["1,5,3,7,9", "1,8,3,9,9"], 0, "2 boxes on one plane"),
        (["1,5,6"], [], 3, "no axis 3.*0 to 2"),
        (["1,5,6"], [], -1, "no axis -1"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(points, boxes, frame_axis, message):
    with pytest.raises(InputError, match=message):
        place(
            [parse_point(text) for text in points],
            [parse_box(text) for text in boxes],
            (10, 20, 30),
            frame_axis,
        )


def test_prompts_in_different_volumes_are_refused():
    points = [parse_point("0,1,5,6"), parse_point("1,1,5,6")]
    with pytest.raises(InputError, match="different volumes"):
        place(points, [], (3, 10, 20, 30), 1)
