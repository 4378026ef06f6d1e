"""``napari-sam2 segment``, with a predictor that needs no weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from skimage.io import imsave
from tests.cli.conftest import BlobPredictor
from typer.testing import CliRunner

from napari_sam2.cli import app
from napari_sam2.inference.crops import MaskCrop


@pytest.fixture
def image(tmp_path, stack):
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "ZYX"})
    return tmp_path / "stack.tif"


def segment(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_one_click_becomes_a_label_on_every_plane(loaded, image, stack, tmp_path):
    output = tmp_path / "labels.tif"
    result = segment(image, "--point", "2,5,6", "-o", output, "--device", "cpu")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(tifffile.imread(output), stack == 200)
    assert "Object 1: 80 voxels on 4 planes, 1 to 4" in result.output
    assert loaded == [("nano", "cpu")]
    with tifffile.TiffFile(output) as tiff:
        assert (tiff.series[0].axes, tiff.series[0].dtype) == ("ZYX", np.uint8)


def test_ids_name_the_labels(loaded, image, stack, tmp_path):
    output = tmp_path / "labels.tif"
    result = segment(image, "--point", "7:2,5,6", "--box", "300:4,12,14,16,19", "-o", output)
    labels = tifffile.imread(output)
    np.testing.assert_array_equal(labels, 7 * (stack == 200) + 300 * (stack == 150))
    assert labels.dtype == np.uint16
    assert "Object 7: 80 voxels" in result.output
    assert "Object 300: 120 voxels on 4 planes, 2 to 5" in result.output


def test_the_range_is_respected(loaded, image, stack, tmp_path):
    output = tmp_path / "labels.tif"
    where = ("--direction", "forward", "--start", 2, "--stop", 3)
    segment(image, "--point", "2,5,6", "-o", output, *where)
    labels = tifffile.imread(output)
    np.testing.assert_array_equal(labels.any((1, 2)), [False, False, True, True, False, False])


def test_another_frame_axis_gives_labels_in_the_order_of_the_image(loaded, tmp_path, stack):
    turned = np.moveaxis(stack, 0, 2)
    tifffile.imwrite(tmp_path / "turned.tif", turned, metadata={"axes": "YXZ"})
    output = tmp_path / "labels.tif"
    segment(tmp_path / "turned.tif", "--point", "5,6,2", "--frame-axis", 2, "-o", output)
    np.testing.assert_array_equal(tifffile.imread(output), turned == 200)


def test_one_volume_of_a_time_lapse_is_labelled(loaded, tmp_path, stack):
    tifffile.imwrite(tmp_path / "tzyx.tif", np.stack([stack, stack]), metadata={"axes": "TZYX"})
    output = tmp_path / "labels.tif"
    result = segment(tmp_path / "tzyx.tif", "--point", "1,2,5,6", "--frame-axis", 1, "-o", output)
    labels = tifffile.imread(output)
    np.testing.assert_array_equal(labels[1], stack == 200)
    assert not labels[0].any()
    assert "80 voxels on 4 planes, 1 to 4" in result.output


@pytest.mark.parametrize("colours", [(), (3,), (4,)])
def test_a_flat_image_needs_no_z(loaded, tmp_path, stack, colours):
    plane = np.broadcast_to(stack[2].reshape(20, 24, *[1] * len(colours)), (20, 24, *colours))
    imsave(tmp_path / "plane.png", np.ascontiguousarray(plane), check_contrast=False)
    output = tmp_path / "labels.tif"
    result = segment(tmp_path / "plane.png", "--point", "5,6", "-o", output)
    np.testing.assert_array_equal(tifffile.imread(output), stack[2] == 200)
    assert "Object 1: 20 pixels" in result.output


def test_a_plane_much_larger_than_the_model_is_looked_at_in_parts(monkeypatch, loaded, tmp_path):
    seen, levels = [], []

    class Tiles:
        def __init__(self, model, data):
            self.shape, self.features = data.shape, SimpleNamespace(encoded=3)
            levels.append(sorted(data._levels))

        def predict(self, prompts):
            seen.append(prompts)
            mask = np.full((4, 5), 2.0 / len(seen), np.float16)
            return SimpleNamespace(best=MaskCrop(mask, (900 + 2 * len(seen), 30)))

        def look_again(self, prompts, answer):
            assert prompts is seen[-1]
            return answer

    monkeypatch.setattr("napari_sam2.inference.large.tiling.LargeImagePredictor", Tiles)
    image = np.zeros((60, 1030), np.uint8).T
    tifffile.imwrite(tmp_path / "large.tif", image)
    output = tmp_path / "labels.tif"
    where = (tmp_path / "large.tif", "--point", "903,32", "--point", "300:906,31", "-o", output)
    result = segment(*where)
    assert result.exit_code == 0, result.output
    labels = tifffile.imread(output)
    assert (labels.shape, labels.dtype) == (image.shape, np.uint16)
    assert (labels[902:906, 30:35] == 1).all()  # the larger logits
    assert (labels[906:908, 30:35] == 300).all()
    assert np.count_nonzero(labels) == 30
    assert "looked at in parts, around each object (3 encoded)" in result.output
    result = segment(*where, "--tiles", "off")
    assert "in parts" not in result.output
    assert not BlobPredictor.look_alone
    assert (len(seen), levels) == (2, [[1]])

    # a plane with further axes of length 1, in a pyramid
    group = zarr.open_group(tmp_path / "large.zarr", mode="w")
    for level, step in (("0", 1), ("1", 2)):
        group.create_array(level, data=image[None, None, ::step, ::step])
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}
    seen.clear()
    result = segment(tmp_path / "large.zarr", "--point", "0,0,903,32", "-o", output)
    assert result.exit_code == 0, result.output
    assert levels[1:] == [[1, 2]]
    labels = tifffile.imread(output)
    assert labels.shape == (1, 1, *image.shape)
    assert np.count_nonzero(labels[..., 902:906, 30:35]) == np.count_nonzero(labels) == 20


def test_an_object_that_is_nowhere_is_said_to_be(loaded, image, tmp_path):
    result = segment(image, "--point", "0,0,0", "-o", tmp_path / "labels.tif")
    assert result.exit_code == 0
    assert "Object 1: not found" in result.output


def test_earlier_labels_are_replaced(loaded, image, tmp_path):
    output = tmp_path / "labels.tif"
    output.write_text("old")
    assert segment(image, "--point", "2,5,6", "-o", output).exit_code == 0
    assert tifffile.imread(output).shape == (6, 20, 24)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.tif", "stack.tif"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--point", "nonsense"], "'nonsense' is not a point. Write it like 12,64,70"),
        (["--box", "1,2"], "needs 5"),
        (["--point", "2,5,99"], "outside the plane"),
        (["--point", "6,5,6"], "whole planes 0 to 5"),
        ([], "There is no prompt"),
        (["--point", "2,5,6", "--stop", "6"], "--stop is 6, but the image has planes 0 to 5"),
        (["--point", "2,5,6", "--start", "-1"], "--start is -1"),
        (["--point", "2,5,6", "--frame-axis", "3"], "no axis 3"),
    ],
)
def test_bad_input_ends_with_one_line_before_the_model_is_loaded(
    loaded, image, tmp_path, arguments, message
):
    output = tmp_path / "labels.tif"
    output.write_text("old")
    result = segment(image, "-o", output, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert output.read_text() == "old"
    assert loaded == []


@pytest.mark.parametrize(
    ("name", "output", "message"),
    [
        ("nowhere.tif", "labels.tif", "There is no file"),
        ("stack.tif", "labels.png", "written as TIFF"),
        ("stack.tif", "nowhere/labels.tif", "There is no folder"),
        ("stack.tif", "stack.tif", "would overwrite the image"),
    ],
)
def test_bad_paths_end_with_one_line(loaded, image, tmp_path, name, output, message):
    result = segment(tmp_path / name, "--point", "2,5,6", "-o", tmp_path / output)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
    assert loaded == []


def test_a_model_that_does_not_exist_ends_with_one_line(loaded, image, tmp_path):
    output = tmp_path / "labels.tif"
    result = segment(image, "--point", "2,5,6", "-o", output, "--model", "missing")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "There is no model 'missing'" in result.stderr
    assert not output.exists()


def test_a_disk_that_fails_ends_with_one_line_and_nothing_lost(
    loaded, image, tmp_path, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("tifffile.imwrite", full)
    output = tmp_path / "labels.tif"
    output.write_text("old")
    result = segment(image, "--point", "2,5,6", "-o", output)
    assert (result.exit_code, result.stderr) == (1, "Error: No space left on device\n")
    assert output.read_text() == "old"


def test_one_level_of_a_pyramid_is_read_by_its_path(loaded, tmp_path, stack):
    group = zarr.open_group(tmp_path / "pyramid.ome.zarr", mode="w")
    for level, data in enumerate((stack, stack[:, ::2, ::2])):
        group.create_array(str(level), data=data, dimension_names=("z", "y", "x"))
    output = tmp_path / "labels.tif"
    for path, point, level in (("", "2,5,6", stack), ("1", "2,2,3", stack[:, ::2, ::2])):
        result = segment(tmp_path / "pyramid.ome.zarr" / path, "--point", point, "-o", output)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(tifffile.imread(output), level == 200)


def torn(path, stack, plane):
    """Write a stack as zarr of which the chunk of one plane is no chunk."""
    stored = zarr.create_array(
        path, shape=stack.shape, dtype=stack.dtype, chunks=(1, *stack.shape[1:])
    )
    stored[:] = stack
    (path / "c" / str(plane) / "0" / "0").write_bytes(b"torn")
    return path


def test_a_broken_plane_is_named_and_the_others_are_kept(loaded, tmp_path, stack):
    image, output = torn(tmp_path / "torn.zarr", stack, 4), tmp_path / "labels.tif"
    result = segment(image, "--point", "2,5,6", "-o", output)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert f"Plane 4 of {image} cannot be read" in result.stderr
    assert "copy or export the image again" in result.stderr
    assert f"What was found on other planes is in {output}." in result.stderr
    labels = tifffile.imread(output)
    np.testing.assert_array_equal(labels[:4], (stack == 200)[:4])
    assert not labels[4:].any()


def test_a_broken_image_is_named(loaded, tmp_path):
    image = tmp_path / "flat.zarr"
    zarr.save_array(image, np.ones((24, 24), np.uint8))
    (image / "c" / "0" / "0").write_bytes(b"torn")
    result = segment(image, "--point", "5,6", "-o", tmp_path / "labels.tif")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert f"The plane of {image} cannot be read (" in result.stderr
    assert not (tmp_path / "labels.tif").exists()


def test_a_checkpoint_of_random_weights_runs_through_the_real_predictor(image, tmp_path):
    import torch

    from napari_sam2.checkpoints.read import write_checkpoint
    from napari_sam2.model.config import VARIANTS
    from napari_sam2.model.sam2 import Sam2

    torch.manual_seed(0)
    write_checkpoint(tmp_path / "random.safetensors", "nano", Sam2(VARIANTS["nano"]).state_dict())
    output = tmp_path / "labels.tif"
    where = ("--point", "5:2,5,6", "--point", "5:2,0,0:-", "--box", "9:3,12,14,16,19")
    model = ("--model", tmp_path / "random.safetensors", "--device", "cpu")
    result = segment(image, *where, *model, "-o", output)
    assert result.exit_code == 0, result.output
    labels = tifffile.imread(output)
    assert labels.shape == (6, 20, 24)
    assert set(np.unique(labels)) <= {0, 5, 9}
    assert "Object 5: " in result.output
    assert "Object 9: " in result.output


def test_sam1_says_that_it_has_no_memory(image, tiny_sam1, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sam2.inference.load.load_model", lambda *_, **__: tiny_sam1)
    result = segment(image, "--point", "2,5,6", "-o", tmp_path / "labels.tif")
    assert result.exit_code == 0, result.output
    assert "SAM 1 has no memory" in result.output


def test_the_size_of_the_input_is_checked_and_used(image, tmp_path):
    output = tmp_path / "labels.tif"
    result = segment(image, "--point", "2,5,6", "-o", output, "--image-size", 100)
    assert result.exit_code == 2
    assert "multiple of 32" in result.output
    result = segment(image, "--point", "2,5,6", "-o", output, "--image-size", 64)
    assert result.exit_code == 0, result.output
    assert output.exists()
