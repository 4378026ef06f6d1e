import tracemalloc

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from skimage.io import imsave

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.image_files import open_image
from napari_sam2.inference.label_files import check_output, write_labels


@pytest.fixture
def numbers():
    return np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


def test_a_tiff_stack_is_read_plane_by_plane(tmp_path, numbers):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, numbers, metadata={"axes": "TYX"}, compression="zlib")
    image = open_image(path)
    assert (image.shape, image.axes, image.rgb) == ((4, 5, 6), "TYX", False)
    np.testing.assert_array_equal(image.data[2], numbers[2])
    assert not isinstance(image.data, np.ndarray)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_part_of_a_plane_in_one_strip_is_read_alone(tmp_path, numbers, order):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, numbers.astype(order + "u2"), byteorder=order, metadata={"axes": "TYX"})
    image = open_image(path)
    assert (image.shape, image.axes, image.data.dtype) == ((4, 5, 6), "TYX", np.uint16)
    np.testing.assert_array_equal(image.data, numbers)
    for index in [2, (-1, slice(1, 3), slice(0, 6, 2)), (..., 4)]:
        part = image.data[index]
        assert part.dtype.isnative
        np.testing.assert_array_equal(part, numbers[index])
    np.testing.assert_array_equal(image.at({0: 3}).data[1:3, 2:], numbers[3, 1:3, 2:])

    slide = np.random.default_rng(0).integers(0, 255, (3000, 2000), np.uint8)
    tifffile.imwrite(path, slide)
    image = open_image(path)
    tracemalloc.start()
    part = image.data[500:600, 500:600]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(part, slide[500:600, 500:600])
    assert peak < 100_000  # bytes, of 6 million


def test_a_pyramid_is_read_at_full_resolution(tmp_path):
    path = tmp_path / "pyramid.ome.tif"
    full = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(full, subifds=1, metadata={"axes": "YX"})
        writer.write(full[::2, ::2], subfiletype=1)
    image = open_image(path)
    assert image.shape == (64, 64)
    np.testing.assert_array_equal(image.data[...], full)
    assert levels_of(image) == [full[::2, ::2].tolist()]


@pytest.mark.parametrize("samples", [3, 4])
def test_colours_of_a_tiff_are_told_from_planes(tmp_path, samples):
    colours = np.random.default_rng(0).integers(0, 255, (7, 9, samples), np.uint8)
    path = tmp_path / "colours.tif"
    alpha = ["unassalpha"] if samples == 4 else None
    tifffile.imwrite(path, colours, photometric="rgb", extrasamples=alpha)
    image = open_image(path)
    assert (image.shape, image.axes, image.rgb) == ((7, 9), "YX", True)
    np.testing.assert_array_equal(np.asarray(image.data), colours)


@pytest.mark.filterwarnings("ignore:.*separate component planes")
def test_three_planes_are_not_taken_for_colours(tmp_path):
    planes = np.zeros((3, 7, 9), np.uint8)
    tifffile.imwrite(tmp_path / "planes.tif", planes)
    image = open_image(tmp_path / "planes.tif")
    assert (image.shape, image.axes, image.rgb) == ((3, 7, 9), "ZYX", False)


def test_unnamed_axes_get_the_usual_names(tmp_path, numbers):
    with tifffile.TiffWriter(tmp_path / "plain.tif") as writer:
        for plane in numbers:
            writer.write(plane, metadata=None, contiguous=False)
    assert open_image(tmp_path / "plain.tif").axes == "ZYX"


def test_a_zarr_array_is_opened_lazily(tmp_path, numbers):
    path = tmp_path / "stack.zarr"
    zarr.save_array(path, numbers)
    image = open_image(path)
    assert isinstance(image.data, zarr.Array)
    assert (image.shape, image.axes) == ((4, 5, 6), "ZYX")


def test_a_zarr_pyramid_is_read_at_full_resolution(tmp_path, numbers):
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    group.create_array("0", data=numbers, dimension_names=("t", "y", "x"))
    group.create_array("1", data=numbers[:, ::2, ::2])
    image = open_image(tmp_path / "image.zarr")
    assert (image.shape, image.axes) == ((4, 5, 6), "TYX")


def levels_of(image):
    return [np.asarray(level[...]).tolist() for level in image.coarser]


def test_a_zarr_pyramid_has_coarser_levels(tmp_path, numbers):
    levels = [numbers[:, ::step, ::step] for step in (1, 2, 4)]
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    for name, level in zip("abc", levels, strict=True):
        group.create_array(name, data=level)
    axes = [{"name": name} for name in "tyx"]
    described = {"axes": axes, "datasets": [{"path": name} for name in "abc"]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [described]}
    wanted = [level.tolist() for level in levels]
    assert levels_of(open_image(tmp_path / "image.zarr")) == wanted[1:]
    assert levels_of(open_image(tmp_path / "image.zarr" / "b")) == wanted[2:]
    image = open_image(tmp_path / "image.zarr")
    assert levels_of(image.at({0: 1})) == [level[1].tolist() for level in levels[1:]]
    assert levels_of(image.at({1: 0})) == []  # other rows have that index there


def ome_zarr(path, data, axes, version, level="0"):
    """An OME-Zarr image of one level; 0.4 is zarr 2, which has no names of axes of its own."""
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    described = {"multiscales": [{"axes": named, "datasets": [{"path": level}]}]}
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array(level, data=data)
    group.attrs.update(described if version == "0.4" else {"ome": described})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tyx", "cyx"])
def test_the_axes_of_ome_zarr_are_those_of_its_description(tmp_path, numbers, axes, version):
    ome_zarr(tmp_path / "image.zarr", numbers, axes, version, level="s0")
    for path in (tmp_path / "image.zarr", tmp_path / "image.zarr" / "s0"):
        image = open_image(path)
        assert (image.shape, image.axes) == ((4, 5, 6), axes.upper())


def test_the_first_series_of_bioformats2raw_is_read(tmp_path, numbers):
    zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=2)
    ome_zarr(tmp_path / "image.zarr" / "0", numbers[None, None], "tczyx", "0.4")
    image = open_image(tmp_path / "image.zarr")
    assert (image.shape, image.axes) == ((1, 1, 4, 5, 6), "TCZYX")


def test_axes_of_length_1_are_left_out(tmp_path, numbers):
    zarr.save_array(tmp_path / "image.zarr", numbers[None, None, :, :1])
    image = open_image(tmp_path / "image.zarr").squeezed()
    assert (image.shape, image.axes, image.stack_axis()) == ((4, 1, 6), "ZYX", (0, "z"))
    np.testing.assert_array_equal(image.data[2], numbers[2, :1])
    np.testing.assert_array_equal(image.frames().plane(3), numbers[3, :1])


@pytest.mark.parametrize(("shape", "rgb"), [((8, 9), False), ((8, 9, 3), True), ((8, 9, 4), True)])
def test_a_png_is_read(tmp_path, shape, rgb):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    imsave(tmp_path / "image.png", pixels, check_contrast=False)
    image = open_image(tmp_path / "image.png")
    assert (image.shape, image.rgb) == ((8, 9), rgb)
    np.testing.assert_array_equal(np.asarray(image.data), pixels)


def test_the_alpha_of_a_grey_png_is_left_out(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 2), np.uint8)
    Image.fromarray(pixels, "LA").save(tmp_path / "image.png")
    image = open_image(tmp_path / "image.png")
    assert (image.axes, image.rgb) == ("YX", False)
    np.testing.assert_array_equal(image.data, pixels[..., 0])


@pytest.mark.parametrize("name", ["broken.tif", "broken.png", "notes.txt"])
def test_a_file_that_is_no_image_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match=f"{name} cannot be read as an image"):
        open_image(tmp_path / name)


def test_a_folder_that_is_no_zarr_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as an image"):
        open_image(tmp_path)


def test_a_zarr_group_without_an_image_is_refused(tmp_path):
    zarr.open_group(tmp_path / "empty.zarr", mode="w")
    with pytest.raises(InputError, match="without an array '0'"):
        open_image(tmp_path / "empty.zarr")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 5, 6), np.complex64), "holds complex64"),
        (np.zeros(7, np.uint8), "Give an image of 2 axes"),
        (np.zeros((0, 5, 6), np.uint8), r"shape \(0, 5, 6\)"),
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path, data, message):
    zarr.save_array(tmp_path / "odd.zarr", data)
    with pytest.raises(InputError, match=message):
        open_image(tmp_path / "odd.zarr")


def test_labels_are_written_with_their_axes(tmp_path, numbers):
    path = tmp_path / "labels.tif"
    write_labels(path, numbers, "ZYX")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        np.testing.assert_array_equal(tiff.asarray(), numbers)
    assert [file.name for file in tmp_path.iterdir()] == ["labels.tif"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "labels.tif"
    path.write_text("before")

    def fail():
        with replacing(path) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "folder.tif").mkdir()
    image = tmp_path / "image.tif"
    image.touch()
    for output, message in [
        (tmp_path / "labels.png", "written as TIFF"),
        (tmp_path / "nowhere" / "labels.tif", "There is no folder"),
        (tmp_path / "folder.tif", "is a folder"),
        (tmp_path / "." / "image.tif", "would overwrite the image"),
    ]:
        with pytest.raises(InputError, match=message):
            check_output(output, image)
    check_output(tmp_path / "labels.tif", image)


@pytest.mark.parametrize("kind", [{"ome": True}, {"imagej": True}])
def test_a_tiff_that_was_cut_off_is_refused(tmp_path, kind):
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 60000, (6, 200, 200)).astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": "ZYX"}, **kind)
    path.write_bytes(path.read_bytes()[: int(0.95 * path.stat().st_size)])
    with pytest.raises(InputError, match="planes are missing"):
        open_image(path)


def test_a_plane_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "plane.tif"
    tifffile.imwrite(path, np.ones((200, 200), np.uint16), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="planes are missing"):
        open_image(path)


@pytest.mark.parametrize("names", [["dim_0", "dim_1", "dim_2"], [None, None, None]])
def test_names_that_say_nothing_are_no_names(tmp_path, numbers, names):
    zarr.create_array(str(tmp_path / "a.zarr"), data=numbers, dimension_names=names)
    assert open_image(tmp_path / "a.zarr").axes == "ZYX"
