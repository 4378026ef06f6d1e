"""The loop: stages, resumable at any step."""

from __future__ import annotations

import csv
import math
import os
import time
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader

from napari_sam2.checkpoints.read import write_checkpoint
from napari_sam2.inference.load import Model
from napari_sam2.inference.transforms import normalise
from napari_sam2.model.config import VARIANTS
from napari_sam2.model.sam2 import Sam2
from napari_sam2.training.calibrate import calibrate_presence
from napari_sam2.training.data import load_split
from napari_sam2.training.dense import DenseHead
from napari_sam2.training.prime import prime_for_memory, prime_for_prompts
from napari_sam2.training.samples import Samples
from napari_sam2.training.steps import run_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam2.model.neck import ImageFeatures
    from napari_sam2.training.config import Stage, TrainingConfig
    from napari_sam2.training.data import LabelledStack
    from napari_sam2.training.samples import Batch

CALIBRATION_SOURCE, CALIBRATION_STACKS = "bbbc050", 1
WARM_UP_STEPS = 100
WEIGHT_DECAY = 0.02
GRADIENT_LIMIT = 1.0


class Trainer:
    """Trains a model through the stages of a run.

    Parameters
    ----------
    config : TrainingConfig
        The run.
    folder : Path
        Where checkpoints and curves go; a checkpoint found there is resumed.
    save_every : float
        Seconds between checkpoints.
    """

    def __init__(self, config: TrainingConfig, folder: Path, save_every: float = 180.0) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.save_every = config, folder, save_every
        self.model = Sam2(VARIANTS[config.model])
        self.head = DenseHead(self.model.config.width)
        self.stage, self.step = 0, 0
        self.optimizer = self._new_optimizer()
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that a run is resumed from."""
        return self.folder / "checkpoint.pt"

    def run(self) -> None:
        """Train to the end of the last stage."""
        stacks = load_split(validation=False)
        while self.stage < len(self.config.stages):
            self._run_stage(self.config.stages[self.stage], stacks)
            self.stage, self.step = self.stage + 1, 0
            self.optimizer = self._new_optimizer()
            self._save()

    def _new_optimizer(self) -> torch.optim.AdamW:
        parameters = [*self.model.parameters(), *self.head.parameters()]
        # scales and biases pull to no particular value
        matrices = [p for p in parameters if p.ndim > 1]
        rest = [p for p in parameters if p.ndim <= 1]
        return torch.optim.AdamW(
            [{"params": matrices, "weight_decay": WEIGHT_DECAY},
             {"params": rest, "weight_decay": 0.0}],
            betas=(0.9, 0.98),
        )  # fmt: skip

    def export(self, path: Path) -> None:
        """Calibrate presence on the first training stacks; write what `load_model` reads."""
        device = torch.device("cpu")
        model = Model(self.model.eval().requires_grad_(False), device, torch.float32)
        stacks = [s for s in load_split(validation=False) if s.source == CALIBRATION_SOURCE]
        calibrate_presence(model, stacks[:CALIBRATION_STACKS])
        write_checkpoint(path, self.config.model, self.model.state_dict())

    def _prime(self, stage: Stage, samples: Samples) -> None:
        """Weights to begin a stage with: other sizes, the first prompts, the first videos."""
        before = self.config.stages[: self.stage]
        if before:
            # Positions are shares of the side: as fine per pixel as they were, or a click on a
            # larger plane could not be told from one beside it.
            self.model.prompt_encoder.fourier.matrix *= stage.size / before[-1].size
        if stage.prompts and before and not any(other.prompts for other in before):
            prime_for_prompts(self.model, self.head, self._features(samples))
        if stage.video_share and not any(other.video_share for other in before):
            prime_for_memory(self.model, self._features(samples))

    def _features(self, samples: Samples) -> ImageFeatures:
        count = min(3, len(samples))
        images = torch.cat([samples[index].images.flatten(0, 1) for index in range(count)])
        with torch.no_grad():
            return self.model.encode_image(normalise(images))

    def _run_stage(self, stage: Stage, stacks: Sequence[LabelledStack]) -> None:
        self.model.train()
        samples = Samples(stacks, self.config.weights, stage, self.config.seed + self.stage)
        if self.step == 0:
            self._prime(stage, samples)
        loader: DataLoader[Batch] = DataLoader(
            samples,
            batch_size=None,
            sampler=range(self.step, stage.steps),
            num_workers=1,
            prefetch_factor=6,
            worker_init_fn=_one_thread,
        )
        saved = started = time.monotonic()
        first = self.step
        figures: dict[str, list[float]] = {}
        for batch in loader:
            for name, value in self._train(stage, batch).items():
                figures.setdefault(name, []).append(value)
            self.step += 1
            if self.step % 50 == 0:
                pace = (time.monotonic() - started) / (self.step - first)
                self._report(stage, figures, pace)
                figures = {}
            if time.monotonic() - saved > self.save_every:
                self._save()
                saved = time.monotonic()

    def _train(self, stage: Stage, batch: Batch) -> dict[str, float]:
        generator = torch.Generator().manual_seed(hash((self.config.seed, self.stage, self.step)))
        for group in self.optimizer.param_groups:
            group["lr"] = stage.learning_rate * _schedule(self.step, stage.steps)
        # plain attention: the fused kernels' backward pass is slower on a CPU
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            step = run_step(self.model, self.head, batch, stage, generator)
        self.optimizer.zero_grad()
        step.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            [*self.model.parameters(), *self.head.parameters()], GRADIENT_LIMIT
        )
        if torch.isfinite(norm):
            self.optimizer.step()
        return {"loss": step.loss.item(), **step.figures}

    def _report(self, stage: Stage, figures: dict[str, list[float]], pace: float) -> None:
        means = {name: sum(values) / len(values) for name, values in sorted(figures.items())}
        left = pace * (stage.steps - self.step) / 60
        text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(
            f"{stage.name} {self.step}/{stage.steps}  {text}  "
            f"{pace:.2f} s/step  {left:.0f} min left",
            flush=True,
        )
        with (self.folder / "curves.csv").open("a", newline="") as file:
            for name, value in means.items():
                csv.writer(file).writerow([stage.name, self.step, name, f"{value:.5f}"])

    def _save(self) -> None:
        state = {
            "stage": self.stage,
            "step": self.step,
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True)
        self.stage, self.step = state["stage"], state["step"]
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _schedule(step: int, steps: int) -> float:
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
