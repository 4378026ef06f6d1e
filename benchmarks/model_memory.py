"""Peak memory of each model: loading, one image with a click, one object through three planes.

    python benchmarks/model_memory.py [--limit 180] [NAME ...]

on the CPU, in float32, at each model's own image size, with random weights: the values make no
difference. Each figure is from a process of its own, and is what it needed at its peak beyond what
it had with napari-sam2 and torch imported. The peak of the two tasks includes loading.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

PLANES = 3
TASKS = ("loading", "image", "stack")


def peak_bytes() -> int:
    """The most memory that this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def configurations():
    from napari_sam2.model.config import SAM1_VARIANTS, VARIANTS

    return {**VARIANTS, **SAM1_VARIANTS}


def write_weights(name: str, path: Path) -> None:
    """A file of a model's size, with our names and random weights."""
    import torch

    from napari_sam2.checkpoints.read import make_network

    torch.save(make_network(configurations()[name]).state_dict(), path)


def measure(name: str, path: Path, task: str) -> int:
    """Bytes beyond the imports at the peak of one task."""
    import torch

    from napari_sam2 import ImagePredictor, PointPrompt, VideoPredictor
    from napari_sam2.inference import load

    before = peak_bytes()
    config = configurations()[name]
    # published names would need a file of the publisher; all else is as for one of those
    load.read_checkpoint = lambda path: (
        config, torch.load(path, map_location="cpu", weights_only=True)
    )  # fmt: skip
    model = load.load_model(path, device="cpu", dtype="float32")
    side = model.config.image_size
    stack = np.random.default_rng(0).integers(0, 255, (PLANES, side, side), dtype=np.uint8)
    click = PointPrompt((side / 2, side / 2))
    if task == "image":
        predictor = ImagePredictor(model)
        predictor.set_image(stack[0])
        predictor.predict([click])
    elif task == "stack":
        video = VideoPredictor(model, stack)
        video.add_prompts(1, 0, [click])
        assert len([result.labels() for result in video.propagate("forward")]) == PLANES
    return peak_bytes() - before


def measure_apart(name: str, path: Path, task: str, limit: float) -> str:
    command = [sys.executable, __file__, name, "--only", task, "--weights", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return f"over {limit:g} s"
    return f"{int(done.stdout) / 1e6:.0f} MB" if done.returncode == 0 else "failed"


def main() -> None:
    parser = ArgumentParser(description="Peak memory of each model on the CPU.")
    parser.add_argument("names", nargs="*", help="all by default")
    parser.add_argument("--limit", type=float, default=600, help="seconds for one figure")
    parser.add_argument("--only", choices=TASKS, help="measure here, print the bytes alone")
    parser.add_argument("--weights", type=Path, help="what --only loads")
    arguments = parser.parse_args()
    if arguments.only:
        print(measure(arguments.names[0], arguments.weights, arguments.only))
        return
    for name in arguments.names or configurations():
        with TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pt"
            # in a process of its own, too: a child's peak begins with what its parent has
            code = f"import model_memory as m; m.write_weights({name!r}, m.Path({str(path)!r}))"
            subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
            has_memory = configurations()[name].family == "sam2"
            tasks = TASKS if has_memory else TASKS[:2]
            figures = [
                f"{task} {measure_apart(name, path, task, arguments.limit)}" for task in tasks
            ]
            print(f"{name}: {', '.join(figures)}", flush=True)


if __name__ == "__main__":
    main()
