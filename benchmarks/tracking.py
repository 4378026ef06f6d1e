"""Tracks of generated, dividing nuclei, beside linking each to the nearest one.

    python benchmarks/tracking.py [--find truth missed nano] [--every 1 3]

Needs `pip install -c constraints.txt py-ctcmetrics`. Scores are those of the Cell Tracking
Challenge: TRA, of detections and links together; LNK, of links alone; CT, of tracks that are
complete. `truth` links the true masks, `missed` those without one in twenty, and `nano` what the
bundled model finds. Every third frame alone is a film in which nuclei move three times as far.
"""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from ctc_metrics import evaluate_sequence
from scipy.spatial.distance import cdist

from napari_sam2 import OverTime, StackSegmenter
from napari_sam2.inference.automatic.detections import Detections, Links
from napari_sam2.sample_data.nuclei import dividing_nuclei
from napari_sam2.session.ctc import write_ctc

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEEDS = (0, 1, 2)
FRAMES, SIDE, NUCLEI, DIVISIONS = 24, 224, 14, 7
POINTS = 16
NAMES = ("TRA", "LNK", "CT")


class Nearest:
    """Each object goes on from the nearest one before it; two from the same one are daughters."""

    gap = 0

    def __call__(self, detections: Detections) -> Links:
        reach = 2 * np.sqrt(np.median(np.concatenate(detections.areas)) / np.pi)
        ids, parents, count = [], {}, 0
        for frame, centres in enumerate(detections.centres):
            mothers = np.zeros(len(centres), np.int64)
            if frame and len(centres) and len(ids[-1]):
                distances = cdist(centres, detections.centres[frame - 1])
                near = distances.argmin(axis=1)
                mothers = np.where(distances.min(axis=1) < reach, ids[-1][near], 0)
            own = mothers.copy()
            for place, mother in enumerate(mothers):
                if not mother or np.count_nonzero(mothers == mother) > 1:
                    count += 1
                    own[place] = count
                    if mother:
                        parents[count] = int(mother)
            ids.append(own)
        return Links(ids, parents)


def truth(image: NDArray, labels: NDArray) -> NDArray:
    return labels


def missed(image: NDArray, labels: NDArray) -> NDArray:
    chance = np.random.default_rng(0)
    kept = [chance.random(int(labels.max()) + 1) >= 0.05 for _ in labels]
    return np.stack(
        [np.where(keep[plane], plane, 0) for keep, plane in zip(kept, labels, strict=True)]
    )


@cache
def generator():
    from napari_sam2 import MaskGenerator, load_model

    return MaskGenerator(load_model("nano"), POINTS)


def nano(image: NDArray, labels: NDArray) -> NDArray:
    limits = tuple(np.percentile(image, (0.1, 99.9)))
    return np.stack(
        [generator().generate(plane, limits).choose(smallest=30).labels() for plane in image]
    )


FIND = {"truth": truth, "missed": missed, "nano": nano}


def scores(found, labels: NDArray, parents: dict[int, int]) -> tuple[float, ...]:
    with TemporaryDirectory() as name, redirect_stdout(StringIO()):
        folder = Path(name)
        write_ctc(folder / "gt" / "TRA", labels, parents, truth=True)
        write_ctc(folder / "res", found.labels, found.parents)
        wanted = ["Valid", *NAMES]
        results = evaluate_sequence(str(folder / "res"), str(folder / "gt"), wanted, threads=1)
    return tuple(float(results[each]) for each in NAMES)


def main() -> None:
    parser = ArgumentParser(description="Tracks of generated, dividing nuclei.")
    parser.add_argument("--find", nargs="+", choices=FIND, default=list(FIND))
    parser.add_argument("--every", nargs="+", type=int, default=[1, 3])
    arguments = parser.parse_args()
    films = []
    for seed in SEEDS:
        shape = (FRAMES, 1, SIDE, SIDE)
        film = dividing_nuclei(shape, count=NUCLEI, divisions=DIVISIONS, seed=seed)
        films.append((film[0][:, 0], film[1][:, 0], film[2]))
    for name in arguments.find:
        masks = [FIND[name](image, labels) for image, labels, _ in films]
        for every in arguments.every:
            for way, link in (("laptrack", OverTime()), ("nearest", Nearest())):
                means = np.mean(
                    [
                        scores(
                            StackSegmenter(lambda plane, _: plane, link).segment(mask[::every]),
                            labels[::every],
                            parents,
                        )
                        for mask, (_, labels, parents) in zip(masks, films, strict=True)
                    ],
                    axis=0,
                )
                words = ", ".join(f"{key} {n:.3f}" for key, n in zip(NAMES, means, strict=True))
                print(f"{name}, every {every}: {way} {words}", flush=True)


if __name__ == "__main__":
    main()
