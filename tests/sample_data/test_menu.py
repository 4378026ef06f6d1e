"""The entries of the sample menu, as the manifest names them."""

import numpy as np
import pytest
from npe2 import PluginManifest
from requests import ConnectionError as Offline

from napari_sam2 import sample_data


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-sam2")


def test_the_manifest_names_functions_that_exist(manifest):
    commands = {command.id: command for command in manifest.contributions.commands}
    entries = manifest.contributions.sample_data
    assert len(entries) == 7
    for entry in entries:
        name = commands[entry.command].python_name
        assert name == f"napari_sam2.sample_data:{entry.key}"
        assert callable(getattr(sample_data, entry.key))


@pytest.mark.parametrize(
    ("load", "shape"),
    [
        (sample_data.cell, (660, 550)),
        (sample_data.tissue, (512, 512, 3)),
        (sample_data.coins, (303, 384)),
    ],
)
def test_shipped_samples_need_no_network(load, shape, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("pooch.Pooch.fetch", refuse)
    ((data, options, kind),) = load()
    assert data.shape == shape
    assert data.dtype == np.uint8
    assert kind == "image"
    assert options["name"]


@pytest.mark.parametrize("load", [sample_data.generated_zstack, sample_data.generated_nuclei])
def test_generated_samples_come_with_hidden_truth(load):
    (image, image_options, image_kind), (truth, truth_options, truth_kind) = load()
    assert (image_kind, truth_kind) == ("image", "labels")
    assert image.shape == truth.shape
    assert image_options["scale"] == truth_options["scale"]
    assert len(image_options["scale"]) == image.ndim
    assert truth_options["visible"] is False


def test_time_lapse_says_who_descends_from_whom():
    truth, options, _ = sample_data.generated_nuclei()[1]
    parents = options["metadata"]["parents"]
    assert set(parents) | set(parents.values()) <= set(np.unique(truth).tolist())
    assert len(parents) == 4


@pytest.mark.parametrize("name", ["cells3d", "human_mitosis"])
def test_a_sample_that_cannot_be_downloaded_says_what_to_do(name, monkeypatch):
    def offline():
        raise Offline("no route")

    monkeypatch.setattr(f"skimage.data.{name}", offline)
    with pytest.raises(RuntimeError, match=f"{name}.*could not be downloaded.*Connect"):
        getattr(sample_data, name)()


def test_channels_of_cells3d_are_told_apart(monkeypatch):
    both = np.zeros((3, 2, 4, 5), np.uint16)
    both[:, 1] = 7
    monkeypatch.setattr("skimage.data.cells3d", lambda: both)
    layers = {options["name"]: data for data, options, _ in sample_data.cells3d()}
    assert layers["nuclei"].shape == (3, 4, 5)
    assert (layers["nuclei"] == 7).all()
    assert (layers["membranes"] == 0).all()
