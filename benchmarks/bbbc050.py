"""One click for each nucleus of whole mouse embryos, carried through the stack.

python benchmarks/bbbc050.py [VOLUME ...]    by default three of the embryos kept for validation
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tifffile

from napari_sam2 import load_model
from napari_sam2.training.data import data_folder
from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    label_overlaps,
    segment_stack,
)

VOLUMES = ("Emb10_t351", "Emb10_t501", "Emb11_t351")
SMALLEST = 100  # voxels; the source says that anything below is a speck


def main(names: list[str]) -> None:
    model = load_model("nano")
    means = []
    for name in names:
        folder = data_folder() / "bbbc050"
        image = tifffile.imread(folder / "images" / f"{name}.tif")
        labels = tifffile.imread(folder / "labels" / f"{name}.tif")
        labels = np.where(np.bincount(labels.ravel())[labels] < SMALLEST, 0, labels)
        started = time.perf_counter()
        found = segment_stack(model, image, clicks_on_largest_planes(labels))
        seconds = time.perf_counter() - started
        overlaps = label_overlaps(labels, found)
        means.append(float(np.mean(list(overlaps.values()))))
        print(
            f"{name}: {len(overlaps)} nuclei, mean 3D IoU {means[-1]:.3f}, "
            f"median {np.median(list(overlaps.values())):.3f}, {seconds:.0f} s"
        )
    print(f"mean of {len(means)} volumes: {np.mean(means):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(VOLUMES))
