"""Random sequences of all that a person does, against sam2's video predictor."""

from __future__ import annotations

import random

import numpy as np
import pytest

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt

pytestmark = pytest.mark.parity

FRAMES, STEPS, SEEDS = 6, 14, 12


class Person:
    """Does at random what the published predictor answers as ours does; see docs/parity.md."""

    def __init__(self, both, seed: int) -> None:
        self.both, self.random = both, random.Random(seed)
        self.prompts: dict[tuple[int, int], tuple] = {}  # of an object on a frame
        self.settled: set[tuple[int, int]] = set()  # prompted before the last pass
        self.passed: set[tuple[int, int]] = set()

    def act(self) -> None:
        weights = {self.prompt: 2, self.refine: 2, self.propagate: 3, self.take_back: 1,
                   self.remove: 1}  # fmt: skip
        action = self.random.choices(list(weights), list(weights.values()))[0]
        (action if self.prompts else self.prompt)()

    def prompt(self) -> None:
        place = self.random.randint(1, 3), self.random.randrange(FRAMES)
        if place not in self.prompts:
            kind = self.random.choice(["point", "points", "box", "mask"])
            row, column = self.random.uniform(20, 70), self.random.uniform(20, 90)
            if kind == "mask":
                rows, columns = np.mgrid[:96, :120]
                radius = self.random.uniform(8, 25)
                prompts = (MaskPrompt((rows - row) ** 2 + (columns - column) ** 2 < radius**2),)
            elif kind == "box":
                height, width = self.random.uniform(8, 18), self.random.uniform(8, 18)
                prompts = (BoxPrompt((row - height, column - width, row + height, column + width)),)
            else:
                prompts = tuple(self._point() for _ in range(1 + (kind == "points")))
            self.prompts[place] = prompts
            self.both.prompt(*place, *prompts)

    def refine(self) -> None:
        place = self.random.choice(list(self.prompts))
        before = self.prompts[place]
        masked = isinstance(before[0], MaskPrompt)
        if not masked or len(before) == 1:
            added = tuple(self._point() for _ in range(1 + masked))
            self.prompts[place] = before + added
            self.both.prompt(*place, *before, add=added)

    def propagate(self) -> None:
        ends = sorted(self.random.sample(range(FRAMES), 2))
        if self.random.random() < 0.5:
            self.both.forward(*ends)
        else:
            self.both.backward(*reversed(ends))
        self.settled = set(self.prompts)
        objects = {object_id for object_id, _ in self.prompts}
        self.passed |= {(o, f) for o in objects for f in range(ends[0], ends[1] + 1)}

    def take_back(self) -> None:
        place = object_id, frame = self.random.choice(list(self.prompts))
        others = [(o, f) for o, f in self.prompts if o == object_id and f != frame]
        known = place not in self.settled or (place in self.passed and self.settled & set(others))
        if others and known:
            del self.prompts[place]
            if place in self.settled:
                self.passed.discard(place)
            self.both.remove_prompts(object_id, frame)

    def remove(self) -> None:
        objects = {object_id for object_id, _ in self.prompts}
        if len(objects) > 1:
            gone = self.random.choice(sorted(objects))
            self.prompts = {place: p for place, p in self.prompts.items() if place[0] != gone}
            self.passed = {place for place in self.passed if place[0] != gone}
            self.both.remove_object(gone)

    def _point(self) -> PointPrompt:
        place = self.random.uniform(5, 90), self.random.uniform(5, 115)
        return PointPrompt(place, positive=self.random.random() < 0.7)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_sequences(pair, seed):
    variant = ["sam2_tiny", "sam2.1_tiny"][seed % 2]
    name = f"random sequences of {STEPS} steps"
    both = pair(name, FRAMES, variant, size=128, absences=seed % 4 > 1)
    person = Person(both, seed)
    for _ in range(STEPS):
        person.act()
