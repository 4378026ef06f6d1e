"""Nuclei on single images without a click, beside a classical pipeline.

    python -m benchmarks.automatic_planes [--model nano] [--points 24] [--thresholds]

over the images of BBBC038 that are kept out of training. Average precision at an IoU of 0.5, as in
`automatic_stacks`, mean over images. The classical pipeline is Otsu's threshold, of whichever of
light and dark touches the border less, a distance transform and a watershed, at the best of its
settings on these very images; ``--thresholds`` says what others would give the model.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from itertools import product

import numpy as np
from benchmarks.automatic_stacks import average_precision, split
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from napari_sam2 import MaskGenerator, load_model
from napari_sam2.training.config import NANO_TOML, load_config
from napari_sam2.training.datasets import load_sources

SMOOTHED = (0.5, 1.0, 2.0)  # pixels
APART = (3, 6, 10, 15)  # pixels between the middles of nuclei, at least
SMALLEST = 30  # pixels, in both ways alike
SCORES = (0.3, 0.4, 0.5, 0.6, 0.7)
STABILITIES = (0.5, 0.6, 0.7, 0.8, 0.9)


def classical(plane: np.ndarray, smoothed: float, apart: int) -> np.ndarray:
    grey = plane.mean(axis=-1) if plane.ndim == 3 else plane
    smooth = gaussian_filter(grey.astype(np.float32), smoothed)
    inside = smooth > threshold_otsu(smooth)
    border = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    if border.mean() > 0.5:
        inside = ~inside
    found = split(inside, 1.0, 2 * apart + 1)
    return np.where(np.bincount(found.ravel())[found] < SMALLEST, 0, found)


def main() -> None:
    parser = ArgumentParser(description="Nuclei on single images without a click.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--points", type=int, default=24, help="a side of the grid")
    parser.add_argument("--thresholds", action="store_true", help="try others than the usual")
    arguments = parser.parse_args()
    config = load_config(NANO_TOML)
    nuclei = [source for source in config.data if source.name == "dsb2018"]
    generator = MaskGenerator(load_model(arguments.model), arguments.points)
    settings = list(product(SMOOTHED, APART))
    thresholds = list(product(SCORES, STABILITIES)) if arguments.thresholds else []
    theirs, ours, others = [], [], []
    started = time.perf_counter()
    for stack in load_sources(nuclei, config.folder).validation:
        plane, truth = stack.image_plane(0), stack.label_plane(0)
        theirs.append([average_precision(truth, classical(plane, *one))[0] for one in settings])
        found = generator.generate(plane, (0.0, 1.0))
        labels = [found.choose(*one, smallest=SMALLEST).labels() for one in thresholds]
        ours.append(average_precision(truth, found.choose(smallest=SMALLEST).labels())[0])
        others.append([average_precision(truth, each)[0] for each in labels])
    best = int(np.mean(theirs, axis=0).argmax())
    above = np.mean(np.array(ours) > np.array(theirs)[:, best])
    print(f"{len(ours)} images, {time.perf_counter() - started:.0f} s")
    print(f"watershed, smoothed and apart by {settings[best]}: {np.mean(theirs, axis=0)[best]:.3f}")
    print(f"{arguments.model}, {generator.usual}: {np.mean(ours):.3f}, above in {above:.0%}")
    for one, each in zip(thresholds, np.mean(others, axis=0), strict=True):
        print(f"{arguments.model}, score and stability {one}: {each:.3f}")


if __name__ == "__main__":
    main()
