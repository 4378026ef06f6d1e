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
from napari_sam2.training.sources import GENERATED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator
    from torch import Tensor

    from napari_sam2.training.config import Stage
    from napari_sam2.training.data import LabelledStack

SMALLEST = 32  # pixels of an object that is asked for: two cells of the decoder's mask
ATTEMPTS = 200  # at a window with an object that can be asked for


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences of rendered frames and the objects on their first frame.

    Attributes
    ----------
    images : Tensor of float32, shape (B, T, 3, S, S)
        Intensities 0 to 1.
    labels : Tensor of int32, shape (B, T, S, S)
        Every labelled object, for dense targets.
    objects : Tensor of int32, shape (N,)
        The labels to ask for.
    owner : Tensor of int64, shape (N,)
        Which sequence each object belongs to.
    """

    images: Tensor
    labels: Tensor
    objects: Tensor
    owner: Tensor

    def masks(self, frame: int) -> Tensor:
        """The objects to ask for on a frame, (N, S, S) bool."""
        return self.labels[self.owner, frame] == self.objects[:, None, None]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


class Samples(Dataset[Batch]):
    """Batches, each the same for the same seed and index.

    Parameters
    ----------
    stacks : sequence of LabelledStack
        What to learn from.
    weights : mapping of str to float
        How often each source is drawn.
    stage : Stage
        Sizes of the batches.
    seed : int
        With the index it fixes everything that is drawn.
    accumulate : int
        Batches a training step.
    """

    def __init__(
        self,
        stacks: Sequence[LabelledStack],
        weights: Mapping[str, float],
        stage: Stage,
        seed: int,
        accumulate: int = 1,
    ) -> None:
        self.by_source = {
            source: [stack for stack in stacks if stack.source == source] for source in weights
        }
        self.sources = [
            source for source, found in self.by_source.items() if found or source == GENERATED
        ]
        total = np.array([weights[source] for source in self.sources])
        if not total.sum():
            raise ValueError(
                "There are no images to learn from: every [[data]] only validates, or has the "
                "weight 0. Give one a weight, or train_planes."
            )
        self.probabilities = total / total.sum()
        self.stage = stage
        self.seed = seed
        self.accumulate = accumulate

    def __len__(self) -> int:
        return self.stage.steps * self.accumulate

    def __getitem__(self, index: int) -> Batch:
        random = np.random.default_rng((self.seed, index))
        stage = self.stage
        video = random.random() < stage.video_share
        count, frames = (stage.videos, stage.frames) if video else (stage.images, 1)
        images: list[Tensor] = []
        labels: list[Tensor] = []
        objects: list[int] = []
        owner: list[int] = []
        attempts = 0
        while len(images) < count:
            attempts += 1
            if attempts > ATTEMPTS + count:
                raise ValueError(
                    f"{ATTEMPTS} windows of {stage.size} pixels show no object that can be asked "
                    f"for. Set the stage's diameters, {stage.diameters}, to what your objects "
                    "shall measure in such a window, or smallest_on_plane lower."
                )
            drawn = self._sequence(random, frames)
            if drawn is None:
                continue
            sequence, ids = drawn
            chosen = _choose_objects(ids, stage.objects, self.stage.size, random)
            if not chosen:
                continue
            owner += [len(images)] * len(chosen)
            images.append(sequence)
            labels.append(ids)
            objects += chosen
        return Batch(
            torch.stack(images),
            torch.stack(labels),
            torch.tensor(objects, dtype=torch.int32),
            torch.tensor(owner),
        )

    def _sequence(self, random: Generator, frames: int) -> tuple[Tensor, Tensor] | None:
        source = self.sources[random.choice(len(self.sources), p=self.probabilities)]
        if source == GENERATED:
            return self._generated(random, frames)
        stack, indices, neighbours = self._indices(source, random, frames)
        labels = stack.label_plane(indices[0])
        objects = objects_on_plane(labels, stack.smallest_on_plane)
        if not objects:
            return None
        chosen = labels == objects[random.integers(len(objects))]
        stage = self.stage
        share = stage.size / stage.whole if stage.whole else 1.0
        window = window_on(chosen, stage.size, stage.diameters, random, share)
        look = random_look(random)
        planes = {one: (stack.image_plane(one), stack.label_plane(one)) for one in set(indices)}
        drawn = []
        for position, index in enumerate(indices):
            if position:  # a still plane has to move by itself
                window = window.moved(random, 0.3 if neighbours else 1.0)
            image, ids = render(*planes[index], window, self.stage.size)
            drawn.append((apply_look(image, look, random), ids))
        return torch.stack([image for image, _ in drawn]), torch.stack([ids for _, ids in drawn])

    def _indices(
        self, source: str, random: Generator, frames: int
    ) -> tuple[LabelledStack, list[int], bool]:
        """A stack, some of its frames, and whether they are neighbours or one and the same."""
        stacks = self.by_source[source]
        stack = stacks[random.integers(len(stacks))]
        length = len(stack)
        # long strides leave an object behind: that is how its absence is learned
        stride = int(random.integers(1, 5))
        if length > frames * stride and random.random() < 0.8:
            first = int(random.integers(length - (frames - 1) * stride))
            indices = [first + index * stride for index in range(frames)]
            if random.random() < 0.5:
                indices.reverse()
            return stack, indices, True
        return stack, [int(random.integers(length))] * frames, False

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
    usable = (values > 0) & (areas >= SMALLEST) & (areas <= 0.8 * size * size)
    found = values[usable].numpy()
    return [int(value) for value in random.permutation(found)[:count]]
