"""Many images over two workers, one of which is killed midway; then once more with one worker.

    python benchmarks/batch.py [--files 200] [--image-size 256] [--points-per-side 8]

Every image must have its labels, none may be reported twice, none be torn, and the labels of both
runs must be the same bytes; otherwise it ends with 1. Images are planes of generated nuclei.
"""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import tifffile

from napari_sam2 import BatchSettings
from napari_sam2.batch.run import Batch
from napari_sam2.batch.segment import count_whole
from napari_sam2.sample_data import generated_zstack


def run(
    images: Path, output: Path, settings: BatchSettings, workers: int, kill: bool
) -> dict[str, object]:
    """One run; what it did, and how often each image was reported."""
    batch = Batch([images], output, settings)
    reported: Counter[str] = Counter()
    killed = 0
    start = perf_counter()
    with batch.client(workers) as client:
        for report in batch.run(client):
            reported[report.file] += 1
            if kill and not killed and len(reported) >= len(batch.jobs) // 3:
                busy = [address for address, keys in client.processing().items() if keys]
                [killed] = client.run(os.getpid, workers=busy[:1]).values()
                os.kill(killed, getattr(signal, "SIGKILL", signal.SIGTERM))
    labels = [job.output for job in batch.jobs]
    return {
        "workers": workers,
        "killed": int(killed > 0),
        "images": len(batch.jobs),
        "done": sum(report.status == "done" for report in batch.reports),
        "twice": sum(count > 1 for count in reported.values()),
        "torn": sum(count_whole(path) is None for path in labels)
        + sum(".part" in path.name for path in output.iterdir()),
        "objects": sum(report.objects or 0 for report in batch.reports),
        "seconds": round(perf_counter() - start, 1),
    }


def main() -> None:
    parser = ArgumentParser(description="Many images, and a worker that is killed.")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--points-per-side", type=int, default=8)
    arguments = parser.parse_args()
    settings = BatchSettings(
        device="cpu",
        image_size=arguments.image_size,
        points_per_side=arguments.points_per_side,
    )
    stack = generated_zstack()[0][0]
    with TemporaryDirectory() as folder:
        images, two, one = (Path(folder) / name for name in ("images", "two", "one"))
        images.mkdir()
        for number in range(arguments.files):
            plane = stack[20 + number % 20]
            tifffile.imwrite(images / f"{number:04}.tif", plane[:, number // 20 * 4 :])
        results = [
            run(images, two, settings, workers=2, kill=True),
            run(images, one, settings, workers=1, kill=False),
        ]
        different = sum(
            path.read_bytes() != (one / path.name).read_bytes() for path in two.glob("*_labels.tif")
        )
    print(f"| {' | '.join(results[0])} |")
    print("|---:" * len(results[0]) + "|")
    for result in results:
        print(f"| {' | '.join(map(str, result.values()))} |")
    print(f"{different} of {arguments.files} labels differ between the two.")
    wrong = different or any(
        result["done"] != arguments.files or result["twice"] or result["torn"] for result in results
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
