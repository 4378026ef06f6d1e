import subprocess
import sys

import pytest

import napari_sam2


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, napari_sam2;"
        "print([m for m in ('torch', 'numpy', 'napari', 'qtpy') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


@pytest.mark.parametrize("name", napari_sam2.__all__)
def test_every_public_name_is_there(name):
    assert getattr(napari_sam2, name) is not None
    assert name in dir(napari_sam2)


def test_names_are_the_ones_of_their_rooms():
    from napari_sam2.inference.video.video_predictor import VideoPredictor

    assert napari_sam2.VideoPredictor is VideoPredictor


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Sam3'"):
        _ = napari_sam2.Sam3
