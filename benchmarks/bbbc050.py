"""One click for each nucleus of whole mouse embryos, carried through the stack.

    python benchmarks/bbbc050.py [--through predictor|segment|window] [VOLUME ...]

by default over three volumes of the embryos kept for validation. The window needs a display.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam2.training.data import data_folder
from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    label_overlaps,
    segment_stack,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import PointPrompt

    Clicks = dict[int, tuple[int, PointPrompt]]

VOLUMES = ("Emb10_t351", "Emb10_t501", "Emb11_t351")
SMALLEST = 100  # voxels; the source says that anything below is a speck
STOP_WHEN_ABSENT = 3  # as the window does for z


def through_predictor(image: NDArray, clicks: Clicks) -> NDArray:
    from napari_sam2 import load_model

    return segment_stack(load_model("nano"), image, clicks, STOP_WHEN_ABSENT)


def through_segment(image: NDArray, clicks: Clicks) -> NDArray:
    from napari_sam2.cli.segment import Request, run

    with TemporaryDirectory() as folder:
        source, output = Path(folder) / "image.tif", Path(folder) / "labels.tif"
        tifffile.imwrite(source, image, metadata={"axes": "ZYX"})
        points = tuple(
            f"{label}:{z},{click.position[0]},{click.position[1]}"
            for label, (z, click) in clicks.items()
        )
        run(Request(source, output, points, stop_when_absent=STOP_WHEN_ABSENT))
        return tifffile.imread(output)


def through_window(image: NDArray, clicks: Clicks) -> NDArray:
    import napari
    from qtpy.QtTest import QTest

    from napari_sam2.plugin.widgets.dock import Sam2Widget

    viewer = napari.Viewer()
    viewer.add_image(image, contrast_limits=np.percentile(image, (0.1, 99.9)))
    dock = Sam2Widget(viewer)
    viewer.window.add_dock_widget(dock)
    dock.controller.prepare_layers()
    dock.controller.set_auto_run(False)
    for label, (z, click) in clicks.items():
        dock.controller.prompting.set_active(label, True)
        viewer.layers["SAM 2 points"].add([z, *click.position])
    dock.propagate.run.click()
    QTest.qWait(500)
    while dock.controller.runs.is_busy:
        QTest.qWait(100)
    found = np.array(viewer.layers["SAM 2 labels"].data)
    viewer.close()
    return found


WAYS = {
    "predictor": through_predictor,
    "segment": through_segment,
    "window": through_window,
}


def main() -> None:
    parser = ArgumentParser(description="One click for each nucleus of whole mouse embryos.")
    parser.add_argument("volumes", nargs="*", default=VOLUMES)
    parser.add_argument("--through", choices=WAYS, default="predictor")
    arguments = parser.parse_args()
    means = []
    for name in arguments.volumes:
        folder = data_folder() / "bbbc050"
        image = tifffile.imread(folder / "images" / f"{name}.tif")
        labels = tifffile.imread(folder / "labels" / f"{name}.tif")
        labels = np.where(np.bincount(labels.ravel())[labels] < SMALLEST, 0, labels)
        started = time.perf_counter()
        found = WAYS[arguments.through](image, clicks_on_largest_planes(labels))
        seconds = time.perf_counter() - started
        overlaps = list(label_overlaps(labels, found).values())
        means.append(np.mean(overlaps))
        print(
            f"{name}: {len(overlaps)} nuclei, 3D IoU mean {means[-1]:.3f}, "
            f"median {np.median(overlaps):.3f}, {seconds:.0f} s",
            flush=True,
        )
    print(f"mean of {len(means)} volumes: {np.mean(means):.3f}")


if __name__ == "__main__":
    main()
