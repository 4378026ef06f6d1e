import numpy as np
import pytest
import tifffile
from skimage.io import imread
from typer.testing import CliRunner

from napari_sam2.cli import app, demo
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.sample_data import generated_zstack


@pytest.fixture
def no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")


def test_without_a_display_labels_and_a_picture_are_written(
    loaded, no_display, tmp_path, monkeypatch
):
    from napari_sam2.inference.video.video_predictor import VideoPredictor

    monkeypatch.setattr(VideoPredictor, "threshold", 700)
    folder = tmp_path / "new" / "folder"
    result = CliRunner().invoke(app, ["demo", "--output", str(folder)])
    assert result.exit_code == 0, result.output
    assert sorted(file.name for file in folder.iterdir()) == ["labels.tif", "overlay.png"]
    labels = tifffile.imread(folder / "labels.tif")
    truth = generated_zstack()[1][0]
    ious = [intersection_over_union(labels == i, truth == i) for i in range(1, truth.max() + 1)]
    assert np.mean(ious) > 0.5
    assert f"16 nuclei, one click each: mean 3D IoU {np.mean(ious):.2f}" in result.output
    picture = imread(folder / "overlay.png")
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) > 500
    assert loaded == [("nano", "auto")]


def test_with_a_display_the_window_opens(monkeypatch):
    opened = []
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(demo, "open_window", lambda: opened.append(True))
    assert CliRunner().invoke(app, ["demo"]).exit_code == 0
    assert opened == [True]


def test_a_window_without_a_display_is_refused(no_display):
    result = CliRunner().invoke(app, ["demo", "--window"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "Use --headless" in result.stderr


def test_a_window_without_qt_is_refused(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2
    assert 'pip install "napari-sam2[all]"' in result.stderr


def test_a_folder_that_cannot_be_created_is_refused(loaded, tmp_path):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["demo", "--headless", "-o", str(tmp_path / "file")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "cannot be created" in result.stderr
