"""``napari-sam2 segment --everything``."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam2 import MaskGenerator, MemorySegmenter, OverTime, StackSegmenter
from napari_sam2.cli import app
from napari_sam2.inference.automatic.found_masks import Candidates, FoundMask, Thresholds
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.image_files import OpenImage
from napari_sam2.sample_data import generated_zstack
from napari_sam2.sample_data.nuclei import dividing_nuclei


@pytest.fixture
def plane(tmp_path):
    tifffile.imwrite(tmp_path / "plane.tif", generated_zstack()[0][0][29])
    return tmp_path / "plane.tif"


def segment(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_a_plane_becomes_labels(plane, nano, tmp_path):
    output = tmp_path / "labels.tif"
    candidates = MaskGenerator(nano, 8).generate(tifffile.imread(plane))
    usual = candidates.choose(smallest=30)
    score = usual[len(usual) // 5].score
    stricter = candidates.choose(score, smallest=30).labels()
    assert stricter.any()
    assert (stricter != usual.labels()).any()
    grid = ("--points-per-side", 8, "--smallest", 30, "--device", "cpu")
    for options, wanted in (((), usual.labels()), (("--min-score", score), stricter)):
        result = segment(plane, "--everything", *grid, *options, "-o", output)
        assert result.exit_code == 0, result.output
        np.testing.assert_array_equal(tifffile.imread(output), wanted)
        assert f"{len(np.unique(wanted)) - 1} objects" in result.output
    assert tifffile.imread(output).dtype == np.uint8
    result = segment(plane, "--everything", *grid, "--min-stability", 1, "-o", output)
    assert "0 objects" in result.output
    assert not tifffile.imread(output).any()


def test_a_large_plane_is_searched_in_parts(loaded, monkeypatch, tmp_path):
    asked = []

    def generate(self, plane, contrast_limits, points_yx):
        asked.append(len(points_yx))
        mask = RunMask.of(np.ones((30, 40), bool), plane.shape, (200, 300))
        found = FoundMask(mask, 0.9, 0.9, (210, 310), (0, 0, 511, 511))
        none = Thresholds(0, 0)
        return Candidates(plane.shape, (found,), 1, 1, none, none)

    monkeypatch.setattr(MaskGenerator, "generate", generate)
    tifffile.imwrite(tmp_path / "large.tif", np.zeros((512, 1300), np.uint8))
    output = tmp_path / "labels.tif"
    result = segment(tmp_path / "large.tif", "--everything", "--points-per-side", 8, "-o", output)
    assert result.exit_code == 0, result.output
    assert "looked at in 5 parts" in result.output
    assert sum(asked) == 8 * 20 + 4 * 10 + 2 * 5  # and coarsely, for what is larger
    labels = tifffile.imread(output)
    assert (labels.shape, labels.dtype, labels.max()) == ((512, 1300), np.uint32, 4)
    assert (labels[200:230, 300 + 256 : 340 + 256] == 2).all()  # the last two parts hardly differ
    assert len(list(tmp_path.iterdir())) == 2  # nothing else is left there

    stack = np.zeros((3, 512, 1300), np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", stack, metadata={"axes": "ZYX"})
    result = segment(tmp_path / "stack.tif", "--everything", "--points-per-side", 8, "-o", output)
    assert result.exit_code == 0, result.output
    assert "Each plane is larger" in result.output
    np.testing.assert_array_equal(tifffile.imread(output), [labels] * 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--everything", "--point", "5,5"], "needs no prompt"),
        (["--everything", "--crop-layers", "4"], "Use no more than"),
        (["--point", "5,5", "--smallest", "3"], "belong to --everything"),
        (["--point", "5,5", "--link", "memory"], "belong to --everything"),
    ],
)
def test_contradictions_end_with_one_line(plane, tmp_path, arguments, message):
    result = segment(plane, "-o", tmp_path / "labels.tif", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert message in result.stderr
    assert not (tmp_path / "labels.tif").exists()


@pytest.mark.parametrize(
    ("segmenter", "link"), [(StackSegmenter, []), (MemorySegmenter, ["--link", "memory"])]
)
def test_a_stack_becomes_labels_that_go_through_it(nano, tmp_path, segmenter, link):
    stack = generated_zstack((4, 96, 96), count=3)[0][0]
    image, output = tmp_path / "stack.tif", tmp_path / "labels.tif"
    wanted = segmenter(MaskGenerator(nano, 8), smallest=30).segment(stack).labels
    assert wanted.any()
    tifffile.imwrite(image, stack, metadata={"axes": "ZYX"})
    options = ("--points-per-side", 8, "--smallest", 30, "--device", "cpu", *link)
    result = segment(image, "--everything", *options, "-o", output)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(tifffile.imread(output), wanted)
    assert f"{wanted.max()} objects" in result.output


def test_a_time_lapse_becomes_tracks(nano, tmp_path):
    film = dividing_nuclei((3, 1, 96, 96), count=3, divisions=0, seed=0)[0][:, 0]
    image, output = tmp_path / "film.tif", tmp_path / "labels.tif"
    segmenter = StackSegmenter(MaskGenerator(nano, 8), OverTime(), smallest=30)
    wanted = segmenter.segment(film)
    assert wanted.labels.any()
    tifffile.imwrite(image, film, metadata={"axes": "TYX"})
    options = ("--points-per-side", 8, "--smallest", 30, "--device", "cpu")
    outputs = ("--tracks", tmp_path / "tracks.csv", "--ctc", tmp_path / "ctc")
    result = segment(image, "--everything", *options, *outputs, "-o", output)
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(tifffile.imread(output), wanted.labels)
    assert f"{wanted.labels.max()} tracks, 0 divisions" in result.output
    header, *rows = (tmp_path / "tracks.csv").read_text().splitlines()
    assert header == "id,t,y,x,parent"
    numbers = [[float(cell) for cell in row.split(",")[:4]] for row in rows]
    np.testing.assert_allclose(numbers, wanted.tracks)
    assert len(list(tmp_path.glob("ctc/mask*.tif"))) == 3
    table = (tmp_path / "ctc" / "res_track.txt").read_text().splitlines()
    assert len(table) == wanted.labels.max()


@pytest.mark.parametrize(
    ("axes", "said", "wanted"),
    [
        ("ZYX", None, (0, "z")),
        ("TYX", None, (0, "t")),
        ("TYX", "z", (0, "z")),
        ("RYX", "t", (0, "t")),
        ("YXZ", None, (2, "z")),
    ],
)
def test_the_file_says_what_the_axis_is(axes, said, wanted):
    image = OpenImage(np.zeros((3, 4, 5), np.uint8), axes, rgb=False)
    assert image.stack_axis(said) == wanted


def test_files_of_others_are_not_taken_for_tracks(loaded, tmp_path):
    image, folder = tmp_path / "image.tif", tmp_path / "ctc"
    tifffile.imwrite(image, np.zeros((3, 16, 16), np.uint8), metadata={"axes": "TYX"})
    folder.mkdir()
    (folder / "mask000.tif").write_bytes(b"mine")
    result = segment(image, "--everything", "--ctc", folder, "-o", tmp_path / "labels.tif")
    assert result.exit_code == 2
    assert "files of others" in result.stderr
    assert (folder / "mask000.tif").read_bytes() == b"mine"
    assert loaded == []


def test_an_image_that_is_not_there(tmp_path):
    output = tmp_path / "labels.tif"
    output.touch()
    result = segment(tmp_path / "nothere.tif", "--everything", "-o", output)
    assert result.exit_code == 2
    assert "nothere.tif" in result.stderr
    assert "Errno" not in result.stderr


@pytest.mark.parametrize(
    ("shape", "axes", "options", "message"),
    [
        ((3, 2, 16, 16), "TZYX", [], "one stack of planes"),
        ((3, 16, 16), "RYX", [], "--axis z or --axis t"),
        ((3, 16, 16), "CYX", ["--axis", "z"], "3 channels. Say with --channel which"),
        ((3, 16, 16), "CYX", ["--channel", "3"], "There is no channel 3: the image has 3"),
        ((16, 16), "YX", ["--channel", "1"], "There is no channel 1: the image has 1"),
        ((16, 16), "YX", ["--axis", "z"], "Leave --axis and --link out"),
        ((16, 16), "YX", ["--link", "memory"], "Leave --axis and --link out"),
        ((3, 16, 16), "TYX", ["--link", "memory"], "are linked, as they divide"),
        ((3, 16, 16), "ZYX", ["--tracks", "tracks.csv"], "is for time-lapses"),
        ((3, 16, 16), "TYX", ["--ctc", "missing/ctc"], "There is no folder missing"),
        ((3, 16, 16), "TYX", ["--tracks", "image.tif"], "is not called .csv"),
        ((3, 16, 16), "ZYX", ["--stop", "1"], "belong to prompts"),
        ((3, 16, 16), "ZYX", ["--direction", "forward"], "belong to prompts"),
    ],
)
def test_what_is_no_stack_is_refused_before_the_model_is_loaded(
    loaded, tmp_path, shape, axes, options, message
):
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, np.zeros(shape, np.uint8), metadata={"axes": axes})
    result = segment(image, "--everything", *options, "-o", tmp_path / "labels.tif")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
    assert loaded == []
