"""Write films of generated nuclei, which move and divide, with their truth, to learn from.

    python benchmarks/make_films.py FOLDER

Their seeds are others than those of the films that benchmarks and tests measure.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import tifffile

from napari_sam2.sample_data.nuclei import VOXEL, dividing_nuclei

SEEDS = range(1000, 1060)
FRAMES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        side, radius = int(random.integers(160, 257)), random.uniform(5, 9)  # pixels, micrometres
        crowding = random.uniform(0.08, 0.2)  # of the plane
        count = max(3, int(crowding * (side * VOXEL[1]) ** 2 / (math.pi * radius**2)))
        image, labels, _ = dividing_nuclei(
            (FRAMES, 1, side, side),
            count=count,
            divisions=round(count * random.uniform(0.4, 0.8)),
            seed=seed,
            radius=radius,
        )
        for kind, film in (("images", image), ("labels", labels)):
            tifffile.imwrite(folder / kind / f"{seed}.tif", film[:, 0], compression="zlib")


if __name__ == "__main__":
    main()
