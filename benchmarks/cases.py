"""The picture of the model card: for each kind of image a good and a bad case of one click.

    python benchmarks/cases.py [--model nano] [--output docs/images/nano_cases.jpg]

Of the planes that are kept out of training, those whose mean IoU is nearest the upper and the lower
tenth of their kind.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import numpy as np

from napari_sam2 import load_model
from napari_sam2.training.config import NANO_TOML, load_config
from napari_sam2.training.datasets import load_sources
from napari_sam2.training.pictures import draw_predictions, example_near

TENTHS = (0.9, 0.1)
PLANES = 40  # of a kind are looked at, at most
QUALITY = 82  # of JPEG


def main() -> None:
    parser = ArgumentParser(description="A good and a bad case of each kind of image.")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--output", type=Path, default=Path("docs/images/nano_cases.jpg"))
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    config = load_config(NANO_TOML)
    kept_out = load_sources(config.data, config.folder).validation
    good, bad = [], []
    for source in dict.fromkeys(stack.source for stack in kept_out):
        stacks = [stack for stack in kept_out if stack.source == source]
        planes = [(stack, frame) for stack in stacks for frame in range(len(stack))]
        looked_at = np.linspace(0, len(planes) - 1, min(PLANES, len(planes))).round().astype(int)
        found = (example_near(*planes[index]) for index in looked_at)
        examples = [example for example in found if example is not None]
        overlaps = np.array([draw_predictions(model, [example])[1] for example in examples])
        for tenth, cases in zip(TENTHS, (good, bad), strict=True):
            nearest = np.abs(overlaps - np.quantile(overlaps, tenth)).argmin()
            cases.append(examples[nearest])
            print(f"{examples[nearest].title}: mean IoU {overlaps[nearest]:.2f}", flush=True)
    sheet, _ = draw_predictions(model, [*good, *bad], columns=len(good))
    sheet.save(arguments.output, quality=QUALITY)


if __name__ == "__main__":
    main()
