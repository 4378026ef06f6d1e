"""Batches: windows onto labelled stacks, with the objects to ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from napari_sam2.training.augment import apply_look, random_look, render, window_on
from napari_sam2.training.data import objects_on_plane
from napari_sam2.training.generated import generated_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator
    from torch import Tensor

    from napari_sam2.training.config import Stage
    from napari_sam2.training.data import LabelledStack


GENERATED = "generated"  # the source whose sequences are drawn anew each time


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences of rendered frames and the objects on their first frame.

    Attributes
    ----------
    images : Tensor of float32, shape (B, T, 3, S, S)
        Intensities 0 to 1.
    labels : Tensor of int32, shape (B, T, S, S)
        Every labelled object, for dense targets.
    masks : Tensor of bool, shape (N, T, S, S)
        The objects to ask for.
    owner : Tensor of int64, shape (N,)
        Which sequence each object belongs to.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    owner: Tensor


class Samples(Dataset[Batch]):
    """One batch a training step, the same for the same seed and step.

    Parameters
    ----------
    stacks : sequence of LabelledStack
        What to learn from.
    weights : mapping of str to float
        How often each source is drawn.
    stage : Stage
        Sizes of the batches.
    seed : int
        With the step it fixes everything that is drawn.
    """

    def __init__(
        self,
        stacks: Sequence[LabelledStack],
        weights: Mapping[str, float],
        stage: Stage,
        seed: int,
    ) -> None:
        self.by_source = {
            source: [stack for stack in stacks if stack.source == source] for source in weights
        }
        self.sources = [
            source for source, found in self.by_source.items() if found or source == GENERATED
        ]
        total = np.array([weights[source] for source in self.sources])
        self.probabilities = total / total.sum()
        self.stage = stage
        self.seed = seed

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng((self.seed, step))
        stage = self.stage
        video = random.random() < stage.video_share
        count, frames = (stage.videos, stage.frames) if video else (stage.images, 1)
        images: list[Tensor] = []
        labels: list[Tensor] = []
        masks: list[Tensor] = []
        owner: list[int] = []
        while len(images) < count:
            sequence, ids = self._sequence(random, frames)
            chosen = _choose_objects(ids, stage.objects, self.stage.size, random)
            if not chosen:
                continue
            owner += [len(images)] * len(chosen)
            images.append(sequence)
            labels.append(ids)
            masks += [ids == value for value in chosen]
        return Batch(
            torch.stack(images), torch.stack(labels), torch.stack(masks), torch.tensor(owner)
        )

    def _sequence(self, random: Generator, frames: int) -> tuple[Tensor, Tensor]:
        source = self.sources[random.choice(len(self.sources), p=self.probabilities)]
        if source == GENERATED:
            return self._generated(random, frames)
        stacks = self.by_source[source]
        stack = stacks[random.integers(len(stacks))]
        length = len(stack.labels)
        # long strides leave an object behind: that is how its absence is learned
        stride = int(random.integers(1, 5))
        neighbours = length > frames * stride and random.random() < 0.8
        if neighbours:
            first = int(random.integers(length - (frames - 1) * stride))
            indices = [first + index * stride for index in range(frames)]
            if random.random() < 0.5:
                indices.reverse()
        else:
            indices = [int(random.integers(length))] * frames
        objects = objects_on_plane(stack.labels[indices[0]], smallest=30)
        if not objects:
            return self._sequence(random, frames)
        chosen = stack.labels[indices[0]] == objects[random.integers(len(objects))]
        window = window_on(chosen, self.stage.size, self.stage.diameters, random)
        look = random_look(random)
        drawn = []
        for position, index in enumerate(indices):
            if position:  # a still plane has to move by itself
                window = window.moved(random, 0.3 if neighbours else 1.0)
            image, ids = render(stack.image[index], stack.labels[index], window, self.stage.size)
            drawn.append((apply_look(image, look, random), ids))
        return torch.stack([image for image, _ in drawn]), torch.stack([ids for _, ids in drawn])

    def _generated(self, random: Generator, frames: int) -> tuple[Tensor, Tensor]:
        image, labels = generated_sequence(random, frames, self.stage.size)
        look = random_look(random)
        drawn = [
            apply_look(torch.from_numpy(plane).expand(3, -1, -1), look, random) for plane in image
        ]
        return torch.stack(drawn), torch.from_numpy(labels.astype(np.int32))


def _choose_objects(ids: Tensor, count: int, size: int, random: Generator) -> list[int]:
    # too small for the decoder's mask, a quarter of the size, or nearly everything
    values, areas = torch.unique(ids[0], return_counts=True)
    usable = (values > 0) & (areas >= 120) & (areas <= 0.8 * size * size)
    found = values[usable].numpy()
    return [int(value) for value in random.permutation(found)[:count]]
