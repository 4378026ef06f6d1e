"""``napari-sam2 demo``: a generated z-stack, in napari or without a window."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.cli.errors import InputError
from napari_sam2.cli.progress import progress_bar
from napari_sam2.inference.label_files import write_labels
from napari_sam2.sample_data import generated_zstack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import PointPrompt


def has_display() -> bool:
    """Whether a window can be opened here."""
    windowing = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return platform.system() != "Linux" or bool(windowing)


def open_window() -> None:
    """Open napari with a sample stack and the dock ready; returns when napari is closed.

    Raises
    ------
    InputError
        When there is no display or no Qt.
    """
    if not has_display():
        raise InputError("There is no display for a window. Use --headless.")
    if not any(find_spec(name) for name in ("PyQt6", "PySide6", "PyQt5")):
        raise InputError('napari has no Qt here. Run: pip install "napari-sam2[all]"')
    from napari_sam2.plugin.demo import open_demo

    open_demo()


def run_headless(folder: Path) -> list[str]:
    """Segment the generated z-stack with one click per nucleus and compare with its truth.

    Parameters
    ----------
    folder : Path
        Where ``labels.tif`` and ``overlay.png`` go; created when it does not exist.

    Returns
    -------
    list of str
        What was found and where it is.

    Raises
    ------
    InputError
        When the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    from napari_sam2.cli.overlay import montage
    from napari_sam2.training.evaluation import clicks_on_largest_planes, label_overlaps

    (image, _, _), (truth, _, _) = generated_zstack()
    clicks = clicks_on_largest_planes(truth)
    labels = _segmented(image, clicks)
    scores = label_overlaps(truth, labels)
    mean = float(np.mean(list(scores.values())))
    title = f"{len(clicks)} nuclei, one click each: mean 3D IoU {mean:.2f}"
    write_labels(folder / "labels.tif", labels, "ZYX")
    places = {
        label: (z, round(click.position[0]), round(click.position[1]))
        for label, (z, click) in clicks.items()
    }
    with replacing(folder / "overlay.png") as partial:
        montage(image, labels, places, title).save(partial)
    return [
        f"{title} (lowest {min(scores.values()):.2f})",
        f"Labels:  {folder / 'labels.tif'}",
        f"Picture: {folder / 'overlay.png'}",
    ]


def _segmented(
    image: NDArray[np.uint16], clicks: dict[int, tuple[int, PointPrompt]]
) -> NDArray[np.uint16]:
    from napari_sam2.inference.load import load_model
    from napari_sam2.inference.video.video_predictor import VideoPredictor

    video = VideoPredictor(load_model("nano"), image, distinct=True)
    for label, (z, click) in clicks.items():
        video.add_prompts(object_id=label, frame=z, prompts=[click])
    labels = np.zeros(image.shape, np.uint16)
    done: set[int] = set()
    with progress_bar(len(image)) as show:
        for result in video.propagate(direction="both", stop_when_absent=2):
            labels[result.frame] = result.labels()
            done.add(result.frame)
            show(len(done))
    return labels
