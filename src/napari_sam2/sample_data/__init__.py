"""Sample images: generated nuclei with exact truth, and images that scikit-image knows.

Every function here is an entry of napari's *Open Sample* menu. The generated ones and those that
scikit-image ships need no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_sam2.sample_data.nuclei import VOXEL, dividing_nuclei, still_nuclei

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    LayerData = tuple[Any, dict[str, Any], str]


AXES = ("t", "z", "y", "x")


def generated_zstack(
    shape: tuple[int, int, int] = (48, 256, 256), *, count: int = 16, seed: int = 0
) -> list[LayerData]:
    """Generate one z-stack of nuclei and its exact labels.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) in voxels of 1 x 0.5 x 0.5 µm.
    count : int
        How many nuclei to place.
    seed : int
        The same seed gives the same stack.

    Returns
    -------
    list of LayerData
        The image, uint16 of shape (Z, Y, X), and the truth, uint16 Labels of the same shape,
        hidden at first, with one label for each nucleus and 0 for background.

    Raises
    ------
    ValueError
        When that many nuclei do not fit into the shape.
    """
    image, truth = still_nuclei(shape, count=count, seed=seed)
    placed = {"scale": VOXEL, "axis_labels": AXES[1:]}
    return [
        (image, {**placed, "name": "nuclei"}, "image"),
        (truth, {**placed, "name": "nuclei truth", "visible": False}, "labels"),
    ]


def generated_nuclei(
    shape: tuple[int, int, int, int] = (6, 24, 192, 192),
    *,
    count: int = 8,
    divisions: int = 2,
    seed: int = 0,
) -> list[LayerData]:
    """Generate a 3D time-lapse of moving, dividing nuclei and its exact labels.

    Parameters
    ----------
    shape : tuple of int
        (T, Z, Y, X), in time points and voxels of 1 x 0.5 x 0.5 µm.
    count : int
        How many nuclei there are at first.
    divisions : int
        How many of them divide, each at a time point of its own after the first.
    seed : int
        The same seed gives the same time-lapse.

    Returns
    -------
    list of LayerData
        The image, uint16 of shape (T, Z, Y, X), and the truth, uint16 Labels of the same shape,
        hidden at first. A nucleus keeps its label over time; when it divides, its label ends and
        two new ones begin. ``metadata["parents"]`` of the truth maps each daughter to its mother.

    Raises
    ------
    ValueError
        When that many nuclei do not fit, or more are to divide than there are, or there is no
        second time point in which to divide.
    """
    image, truth, parents = dividing_nuclei(shape, count=count, divisions=divisions, seed=seed)
    scale = (1.0, *VOXEL)
    placed = {"scale": scale, "axis_labels": AXES}
    hidden = {**placed, "name": "dividing nuclei truth", "visible": False}
    return [
        (image, {**placed, "name": "dividing nuclei"}, "image"),
        (truth, {**hidden, "metadata": {"parents": parents}}, "labels"),
    ]


def cell() -> list[LayerData]:
    """Open a cell in quantitative phase: uint8 of shape (660, 550), shipped with scikit-image."""
    from skimage import data

    return [(data.cell(), {"name": "cell", "scale": (0.107, 0.107)}, "image")]


def tissue() -> list[LayerData]:
    """Open stained tissue: RGB uint8 of shape (512, 512, 3), shipped with scikit-image."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": "tissue", "rgb": True}, "image")]


def coins() -> list[LayerData]:
    """Open a picture of coins: uint8 of shape (303, 384), shipped with scikit-image."""
    from skimage import data

    return [(data.coins(), {"name": "coins"}, "image")]


def cells3d() -> list[LayerData]:
    """Open a z-stack of nuclei and one of membranes: uint16 of shape (60, 256, 256) each.

    scikit-image downloads them the first time and keeps them.

    Raises
    ------
    RuntimeError
        When they are not on this computer and cannot be downloaded.
    """
    from skimage import data

    stack = _downloaded("cells3d", data.cells3d)
    placed = {"scale": (0.29, 0.26, 0.26), "axis_labels": AXES[1:]}
    membranes = {**placed, "name": "membranes", "visible": False}
    return [
        (stack[:, 0], membranes, "image"),
        (stack[:, 1], {**placed, "name": "nuclei"}, "image"),
    ]


def human_mitosis() -> list[LayerData]:
    """Open nuclei, some in mitosis: uint8 of shape (512, 512).

    scikit-image downloads the image the first time and keeps it.

    Raises
    ------
    RuntimeError
        When it is not on this computer and cannot be downloaded.
    """
    from skimage import data

    return [(_downloaded("human_mitosis", data.human_mitosis), {"name": "mitosis"}, "image")]


def _downloaded(name: str, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    try:
        return load()
    # requests' errors are OSErrors; ValueError is a download with the wrong checksum
    except (OSError, ImportError, ValueError) as error:
        raise RuntimeError(
            f"The sample {name} is not on this computer and could not be downloaded "
            f"({type(error).__name__}). Connect to the network and try again, or open a "
            "generated sample, which needs none."
        ) from error
