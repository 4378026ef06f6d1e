"""The loop: stages, resumable at any step."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from napari_sam2.checkpoints.read import write_checkpoint
from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.inference.device import choose_device, choose_dtype, precision
from napari_sam2.inference.load import Model
from napari_sam2.inference.transforms import normalise
from napari_sam2.model.position import Part
from napari_sam2.training.adapt import merged, start_network
from napari_sam2.training.calibrate import calibrate_presence
from napari_sam2.training.config import SCRATCH
from napari_sam2.training.datasets import load_sources
from napari_sam2.training.dense import DenseHead
from napari_sam2.training.errors import TrainingError, disk_explained, memory_explained
from napari_sam2.training.muon import Muon, is_hidden_matrix
from napari_sam2.training.pictures import choose_examples, draw_predictions
from napari_sam2.training.prime import prime_for_memory, prime_for_prompts
from napari_sam2.training.progress import Progress
from napari_sam2.training.samples import Samples
from napari_sam2.training.saving import check_room, load_state
from napari_sam2.training.steps import Chance, run_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_sam2.model.neck import ImageFeatures
    from napari_sam2.training.config import Stage, TrainingConfig
    from napari_sam2.training.datasets import Split
    from napari_sam2.training.pictures import Example
    from napari_sam2.training.samples import Batch

WARM_UP_STEPS = 100
CHECKPOINT = "checkpoint.pt"  # in the run's folder
WEIGHT_DECAY = 0.1
GRADIENT_LIMIT = 1.0
MOST_FAILED = 20
GRID = 32  # pixels, as many as the image encoder's first windows have a side


class Trainer:
    """Trains a model through the stages of a run.

    Parameters
    ----------
    config : TrainingConfig
        The run.
    folder : Path
        Where checkpoints, curves and pictures go; a checkpoint found there is resumed.
    save_every : float
        Seconds between checkpoints.

    Raises
    ------
    ValueError
        When the model cannot be loaded, or the device is not there.
    TrainingError
        When the folder holds another run, or its disk has too little room.
    """

    def __init__(self, config: TrainingConfig, folder: Path, save_every: float = 180.0) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.save_every = config, folder, save_every
        self.device = choose_device(config.device)
        self.dtype = choose_dtype(config.precision, self.device)
        self.model = start_network(config.model).to(self.device)
        self.head = DenseHead(self.model.config.width).to(self.device)
        self.image_size = self.model.config.image_size
        # the size of the planes that the encoding of positions is for
        first = config.stages[0]
        self.size = first.whole or first.size if self.from_scratch else self.image_size
        self.stage, self.step = 0, 0
        self.failed = 0  # steps without a finite gradient, one after the other
        self.optimizers = self._new_optimizers()
        folder.mkdir(parents=True, exist_ok=True)
        check_room(folder, self.model)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that a run is resumed from."""
        return self.folder / CHECKPOINT

    @property
    def has_ended(self) -> bool:
        """Whether no step is left."""
        return self.stage == len(self.config.stages)

    @property
    def from_scratch(self) -> bool:
        """Whether the run began with random weights."""
        return self.config.model.start == SCRATCH

    @cached_property
    def split(self) -> Split:
        """What to learn from, and what is kept out; read and checked when it is first asked for."""
        return load_sources(self.config.data, self.config.folder)

    @cached_property
    def examples(self) -> list[Example]:
        """What pictures show: planes kept out of training, where there are any."""
        return choose_examples(self.split.validation or self.split.train)

    def run(self) -> Path:
        """Train to the end of the last stage: the file of the trained model."""
        for index in range(self.stage, len(self.config.stages)):
            self._samples(index)[0]  # a mistake in a later stage must not wait for it
        while self.stage < len(self.config.stages):
            self._run_stage(self.config.stages[self.stage])
            self._picture()
            self.stage, self.step = self.stage + 1, 0
            self.optimizers = self._new_optimizers()
            self._save()
        path = self.folder / f"{self.config.name}.safetensors"
        self.export(path)
        return path

    def export(self, path: Path) -> None:
        """Write the weights so far as what `load_model` reads."""
        network = merged(self.model)
        network.prompt_encoder.fourier.matrix *= self.image_size / self.size
        network.config = network.config.with_image_size(self.image_size)
        if source := self.config.calibrate_presence:
            stacks = [stack for stack in self.split.train if stack.source == source]
            calibrate_presence(Model(network, torch.device("cpu"), torch.float32), stacks[:1])
        with disk_explained(path):
            write_checkpoint(path, network.config.name, network.state_dict())

    def _parameters(self) -> list[torch.nn.Parameter]:
        both = [*self.model.parameters(), *self.head.parameters()]
        return [parameter for parameter in both if parameter.requires_grad]

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        hidden: list[torch.nn.Parameter] = []
        if self.config.optimizer == "muon":
            hidden = [
                parameter
                for module in [*self.model.modules(), *self.head.modules()]
                for parameter in module.parameters(recurse=False)
                if parameter.requires_grad and is_hidden_matrix(module, parameter)
            ]
        known = {id(parameter) for parameter in hidden}
        others = [p for p in self._parameters() if id(p) not in known]
        # scales and biases pull to no particular value
        groups = [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, betas=(0.9, 0.98))]
        if hidden:
            optimizers.append(Muon(hidden, weight_decay=WEIGHT_DECAY, dtype=self.dtype))
        return optimizers

    def _set_size(self, size: int) -> None:
        # Positions are shares of the side: as fine per pixel as they were, or a click on a
        # larger plane could not be told from one beside it.
        self.model.prompt_encoder.fourier.matrix *= size / self.size
        self.size = size

    def _prime(self, stage: Stage, samples: Samples) -> None:
        """Weights to begin a stage with: other sizes, the first prompts, the first videos."""
        torch.manual_seed(self.config.seed + self.stage)  # also where the run was interrupted
        self._set_size(stage.whole or stage.size)
        if not self.from_scratch:
            return
        before = self.config.stages[: self.stage]
        if stage.prompts and before and not any(other.prompts for other in before):
            prime_for_prompts(self.model, self.head, self._features(samples))
        if stage.video_share and not any(other.video_share for other in before):
            prime_for_memory(self.model, self._features(samples))

    def _features(self, samples: Samples) -> ImageFeatures:
        count = min(3, len(samples))
        images = torch.cat([samples[index].images.flatten(0, 1) for index in range(count)])
        with torch.no_grad():
            return self.model.encode_image(normalise(images.to(self.device)))

    def _samples(self, index: int) -> Samples:
        config, stage = self.config, self.config.stages[index]
        return Samples(
            self.split.train, config.weights, stage, config.seed + index, config.accumulate
        )

    def _run_stage(self, stage: Stage) -> None:
        if self.config.model.adapt in ("decoder", "memory"):
            stage = replace(stage, dense_weight=0.0)  # they are for an encoder that learns
        self.model.train()
        samples = self._samples(self.stage)
        if self.step == 0:
            self._prime(stage, samples)
        self.model.config = self.model.config.with_image_size(stage.size)
        batches = self._batches(samples)
        later = sum(other.steps for other in self.config.stages[self.stage + 1 :])
        progress = Progress(stage, self.step, later, self.folder / "curves.csv")
        saved = time.monotonic()
        with memory_explained(stage):
            while self.step < stage.steps:
                figures = self._train(stage, list(islice(batches, self.config.accumulate)))
                self.step += 1
                progress.add(self.step, figures)
                if time.monotonic() - saved > self.save_every:
                    self._save()
                    saved = time.monotonic()
                every = self.config.picture_every
                if every and self.step % every == 0 and self.step < stage.steps:
                    self._picture()

    def _batches(self, samples: Samples) -> Iterator[Batch]:
        cores = os.cpu_count() or 1
        loader: DataLoader[Batch] = DataLoader(
            samples,
            batch_size=None,
            sampler=range(self.step * self.config.accumulate, len(samples)),
            # a GPU leaves the processors to them; on the processor the model takes its share
            num_workers=max(1, cores - 1 if self.device.type == "cuda" else min(8, cores // 2)),
            prefetch_factor=4,
            worker_init_fn=_one_thread,
        )
        return iter(loader)

    def _train(self, stage: Stage, batches: list[Batch]) -> dict[str, float]:
        chance = Chance.of(hash((self.config.seed, self.stage, self.step)), self.device)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * _schedule(self.step, stage.steps)
            optimizer.zero_grad()
        figures: dict[str, list[torch.Tensor]] = {}
        for batch in batches:
            self.model.look_at(_somewhere(stage, chance))
            with precision(self.device, self.dtype):
                step = run_step(self.model, self.head, batch.to(self.device), stage, chance)
            self.model.look_at(None)
            (step.loss / len(batches)).backward()
            for name, value in {"loss": step.loss.detach(), **step.figures}.items():
                figures.setdefault(name, []).append(value)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters(), GRADIENT_LIMIT)
        self.failed = 0 if torch.isfinite(norm) else self.failed + 1
        if not self.failed:
            for optimizer in self.optimizers:
                optimizer.step()
        elif self.failed == MOST_FAILED:
            raise TrainingError(
                f"The last {MOST_FAILED} steps gave no finite gradients: nothing is learned. Lower "
                f"the learning_rate of the stage {stage.name!r}, or set precision = 'float32'."
            )
        return {name: torch.stack(values).mean().item() for name, values in figures.items()}

    def _picture(self) -> None:
        """Draw what the model answers to clicks, or the foreground while it knows no clicks."""
        if not self.examples:
            return
        stage = self.config.stages[self.stage]
        model = Model(self.model.eval(), self.device, choose_dtype("auto", self.device))
        head = None if stage.prompts else self.head
        size = self.model.config.image_size
        self.model.config = self.model.config.with_image_size(self.size)  # windows may be parts
        image, overlap = draw_predictions(model, self.examples, head)
        self.model.config = self.model.config.with_image_size(size)
        self.model.train()
        folder = self.folder / "pictures"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.stage + 1}_{stage.name}_{self.step:06d}.png"
        with disk_explained(path), replacing(path) as partial:
            image.save(partial)
        kind = "kept out of training" if self.split.validation else "learned from"
        asked = "after one click" if stage.prompts else "of the foreground"
        print(f"{path}: mean IoU {overlap:.3f} {asked}, on planes {kind}", flush=True)

    @property
    def _identity(self) -> dict[str, object]:
        """What must not change while a run is interrupted."""
        model = self.config.model
        stages = [[stage.name, stage.steps] for stage in self.config.stages]
        return {
            "start": model.start,
            "adapt": model.adapt,
            "rank": model.rank,
            "optimizer": self.config.optimizer,
            "stages": stages,
        }

    def _save(self) -> None:
        state = {
            "run": self._identity,
            "stage": self.stage,
            "step": self.step,
            "size": self.size,
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with disk_explained(self.checkpoint), replacing(self.checkpoint) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        state = load_state(self.checkpoint, self._identity)
        self.stage, self.step = state["stage"], state["step"]
        self.size = state.get("size", self.image_size)
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        for optimizer, found in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(found)


def _somewhere(stage: Stage, chance: Chance) -> Part | None:
    if not stage.whole:
        return None
    places = (stage.whole - stage.size) // GRID + 1
    top, left = (GRID * chance.course.randrange(places) / stage.whole for _ in range(2))
    return Part(stage.size / stage.whole, top, left)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _schedule(step: int, steps: int) -> float:
    warm_up = min(WARM_UP_STEPS, max(1, steps // 2))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))
