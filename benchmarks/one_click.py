"""One click for each object, carried through neurons in a volume and through films of nuclei.

    python benchmarks/one_click.py [--of neurons films] [--model nano]

The click lies in the middle of the object, on the plane where it is largest. Neurons are those of
FIB-25's planes that are kept out of training, of 8,000 voxels at least in these planes. Films are
generated: nuclei move and divide; a daughter is an object of its own.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from napari_sam2 import load_model
from napari_sam2.sample_data.nuclei import dividing_nuclei
from napari_sam2.training.data import data_folder
from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    label_overlaps,
    segment_stack,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

KEPT_OUT = slice(95, None)  # planes; those from 90 on are not learned from
SMALLEST = 8000  # voxels
SEEDS = (0, 1, 2)
FILM = {"count": 14, "divisions": 7}
SHAPE = (24, 1, 224, 224)

Stack = tuple[str, "NDArray", "NDArray"]


def neurons() -> Iterator[Stack]:
    folder = data_folder() / "fib25"
    image = tifffile.imread(folder / "raw.tif")[KEPT_OUT]
    labels = tifffile.imread(folder / "labels.tif")[KEPT_OUT]
    labels = np.where(np.bincount(labels.ravel())[labels] < SMALLEST, 0, labels)
    yield "FIB-25, planes kept out", image, labels


def films() -> Iterator[Stack]:
    for seed in SEEDS:
        image, labels, _ = dividing_nuclei(SHAPE, seed=seed, **FILM)
        yield f"film {seed}", image[:, 0], labels[:, 0]


KINDS = {"neurons": (neurons, 3), "films": (films, None)}  # planes absent that end an object


def main() -> None:
    parser = ArgumentParser(description="One click for each object of neurons and of films.")
    parser.add_argument("--of", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    for kind in arguments.of:
        stacks, stop_when_absent = KINDS[kind]
        means = []
        for name, image, labels in stacks():
            started = time.perf_counter()
            clicks = clicks_on_largest_planes(labels)
            found = segment_stack(model, image, clicks, stop_when_absent)
            overlaps = list(label_overlaps(labels, found).values())
            means.append(np.mean(overlaps))
            print(
                f"{name}: {len(overlaps)} objects, IoU mean {means[-1]:.3f}, "
                f"median {np.median(overlaps):.3f}, {time.perf_counter() - started:.0f} s",
                flush=True,
            )
        print(f"{kind}: mean of {len(means)}: {np.mean(means):.3f}", flush=True)


if __name__ == "__main__":
    main()
