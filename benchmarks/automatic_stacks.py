"""Whole mouse embryos without a click, beside a classical pipeline.

    python benchmarks/automatic_stacks.py [VOLUME ...] [--ways classical linked memory]

by default over the eight volumes of the embryos kept for validation. Average precision is that of
objects in 3D: found ones with an IoU above 0.5, of all that are true or found.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from napari_sam2.training.data import data_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOLUMES = tuple(f"Emb{embryo}_t{time}" for embryo in (10, 11) for time in (351, 401, 451, 501))
SMALLEST = 100  # voxels; the source says that anything below is a speck
SPACING = np.array((2.0, 0.8, 0.8))  # µm
LEAST_PLANES = 3  # of what is found, in each way alike
POINTS = 16  # a side: nuclei are a sixth of these planes across


def classical(image: NDArray) -> NDArray:
    """Otsu, distance transform and watershed in 3D; the best of ten settings on these volumes."""
    smooth = gaussian_filter(image.astype(np.float32), 2 / SPACING)
    inside = smooth > threshold_otsu(smooth)
    return split(inside, 2 / SPACING, 2 * (6 / SPACING).round().astype(int) + 1, SPACING)


def split(inside: NDArray, smoothed, reach, spacing=None) -> NDArray:
    """Labels of what touches: a watershed from the deepest points that are ``reach`` apart."""
    depth = gaussian_filter(distance_transform_edt(inside, sampling=spacing), smoothed)
    deepest = (depth == maximum_filter(depth, reach)) & inside
    return watershed(-depth, label(deepest, np.ones((3,) * inside.ndim))[0], mask=inside)


@cache
def generator():
    from napari_sam2 import MaskGenerator, load_model

    return MaskGenerator(load_model("nano"), POINTS)


def linked(image: NDArray) -> NDArray:
    from napari_sam2 import StackSegmenter

    return StackSegmenter(generator(), smallest=10).segment(image).labels


def memory(image: NDArray) -> NDArray:
    from napari_sam2 import MemorySegmenter

    return MemorySegmenter(generator(), smallest=10).segment(image).labels


def average_precision(truth: NDArray, found: NDArray) -> tuple[float, str]:
    """At an IoU of 0.5, and in words."""
    truth, found = (np.unique(each, return_inverse=True)[1].ravel() for each in (truth, found))
    shape = truth.max() + 1, found.max() + 1
    shared = np.bincount(truth * shape[1] + found, minlength=shape[0] * shape[1]).reshape(shape)
    together = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    right = int((shared / together > 0.5)[1:, 1:].sum())
    precision = right / max(shape[0] + shape[1] - 2 - right, 1)
    return precision, f"AP {precision:.2f} ({right} of {shape[0] - 1}, {shape[1] - 1} found)"


def without_specks(labels: NDArray, least_planes: int = 1) -> NDArray:
    voxels = np.bincount(labels.ravel())
    planes = sum(np.bincount(np.unique(plane), minlength=len(voxels)) for plane in labels)
    return np.where(((voxels < SMALLEST) | (planes < least_planes))[labels], 0, labels)


WAYS = {"classical": classical, "linked": linked, "memory": memory}


def main() -> None:
    parser = ArgumentParser(description="Whole mouse embryos without a click.")
    parser.add_argument("volumes", nargs="*", default=VOLUMES)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    means = {way: [] for way in arguments.ways}
    read = partial(_read, data_folder() / "bbbc050")
    for name in arguments.volumes:
        image, truth = read("images", name), without_specks(read("labels", name))
        line = []
        for way, precisions in means.items():
            started = time.perf_counter()
            found = without_specks(WAYS[way](image), LEAST_PLANES)
            precision, words = average_precision(truth, found)
            precisions.append(precision)
            line.append(f"{way} {words}, {time.perf_counter() - started:.0f} s")
        print(f"{name}: {'; '.join(line)}", flush=True)
    print("mean AP:", ", ".join(f"{way} {np.mean(each):.3f}" for way, each in means.items()))


def _read(folder, kind: str, name: str) -> NDArray:
    return tifffile.imread(folder / kind / f"{name}.tif")


if __name__ == "__main__":
    main()
