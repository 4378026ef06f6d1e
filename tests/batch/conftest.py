from __future__ import annotations

import pytest
import tifffile
import torch
from distributed import Client

from napari_sam2 import BatchSettings
from napari_sam2.sample_data import generated_zstack


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def quick():
    """Settings with which an image takes a fraction of a second, and some objects are found."""
    return BatchSettings(device="cpu", image_size=256, points_per_side=4, min_score=0.1)


@pytest.fixture(scope="session")
def planes():
    return generated_zstack()[0][0][26:30]


@pytest.fixture
def images(tmp_path, planes):
    """A folder with four planes of nuclei."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, plane in enumerate(planes):
        tifffile.imwrite(folder / f"im{number}.tif", plane)
    return folder


@pytest.fixture(scope="session")
def client():
    """A cluster of one worker in this process."""
    # not for what other tests compute with dask
    settings = {"dashboard_address": ":0", "set_as_default": False}
    with Client(processes=False, n_workers=1, **settings) as here:
        yield here
