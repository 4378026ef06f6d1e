"""Prompts on a large plane, and as they lie in a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.large.large_plane import block_means
from napari_sam2.inference.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    check_prompts,
    expand_prompts,
)
from napari_sam2.inference.shapes import polygon_crop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.large.fields import Bounds, Field
    from napari_sam2.inference.prompts import ModelPrompt, Prompt

Patch = tuple[int, int, "NDArray[np.bool_]"]  # first row and column of a part of a mask, and it


@dataclass(frozen=True, eq=False)
class PlacedPrompts:
    """Checked prompts of one object; of masks only their boxes are kept.

    Attributes
    ----------
    drawn : tuple of PointPrompt or BoxPrompt
        In pixels of the plane.
    patches : tuple
        What masks and polygons cover.
    """

    drawn: tuple[ModelPrompt, ...]
    patches: tuple[Patch, ...]

    @classmethod
    def of(cls, prompts: Sequence[Prompt], shape: tuple[int, int]) -> PlacedPrompts:
        """Check prompts against a plane; takes and raises what `check_prompts` does."""
        checked = check_prompts(prompts, shape)
        patches: list[Patch] = []
        others: list[Prompt] = []
        for prompt in checked:
            if isinstance(prompt, PolygonPrompt):
                patch, (row, column) = polygon_crop(prompt.vertices, shape)
                patches.append((row, column, patch))
            elif isinstance(prompt, MaskPrompt):
                patches.append((*prompt.origin, prompt.crop))
            else:
                others.append(prompt)
        return cls(expand_prompts(others, shape), tuple(patches))

    @property
    def click(self) -> PointPrompt | None:
        """The prompt, where it is a positive click alone."""
        if len(self.drawn) != 1 or self.patches:
            return None
        only = self.drawn[0]
        return only if isinstance(only, PointPrompt) and only.positive else None

    @property
    def is_box(self) -> bool:
        """Whether they are a box alone."""
        return len(self.drawn) == 1 and not self.patches and isinstance(self.drawn[0], BoxPrompt)

    @property
    def bounds(self) -> Bounds:
        """The box around all of them, in pixels of the plane."""
        corners: list[tuple[float, float]] = []
        for prompt in self.drawn:
            if isinstance(prompt, PointPrompt):
                corners.append(prompt.position)
            elif isinstance(prompt, BoxPrompt):
                corners += [prompt.box[:2], prompt.box[2:]]
        for row, column, patch in self.patches:
            height, width = patch.shape
            corners += [(row, column), (row + height - 1, column + width - 1)]
        rows, columns = zip(*corners, strict=True)
        return min(rows), min(columns), max(rows), max(columns)

    def shown_in(self, field: Field) -> tuple[ModelPrompt, ...]:
        """The same in pixels of what is shown of a field, which holds them."""
        shown: list[ModelPrompt] = []
        for prompt in self.drawn:
            if isinstance(prompt, PointPrompt):
                shown.append(PointPrompt(field.to_shown(prompt.position), prompt.positive))
            elif isinstance(prompt, BoxPrompt):
                first, last = field.to_shown(prompt.box[:2]), field.to_shown(prompt.box[2:])
                shown.append(BoxPrompt((*first, *last)))
        if self.patches:
            mask = np.zeros(field.shown, dtype=bool)
            for patch in self.patches:
                _paint(mask, patch, field)
            shown.append(MaskPrompt(mask))
        return tuple(shown)


def _paint(mask: NDArray[np.bool_], patch: Patch, field: Field) -> None:
    """Set the pixels that are shown half covered by a patch, or more."""
    row, column, covered = patch
    first = row - field.row, column - field.column
    # so that averages begin and end where those of the field do
    rest = [
        min(-(start + length) % field.step, max(whole - start - length, 0))
        for start, length, whole in zip(
            first, covered.shape, (field.height, field.width), strict=True
        )
    ]
    before = [start % field.step for start in first]
    padded = np.pad(covered, list(zip(before, rest, strict=True)))
    half = block_means(padded, field.step) >= 0.5
    top, left = (start // field.step for start in first)
    mask[top : top + half.shape[0], left : left + half.shape[1]] |= half
