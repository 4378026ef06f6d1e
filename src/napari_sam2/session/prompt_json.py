"""Prompts as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)
from napari_sam2.session import strict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import Prompt

MOST_PIXELS = 2**31  # of a mask; more would be a file made to fill the memory


def write_prompt(prompt: Prompt) -> dict[str, Any]:
    """A prompt as JSON."""
    match prompt:
        case PointPrompt(position, positive):
            return {"type": "point", "position": list(position), "positive": positive}
        case BoxPrompt(box):
            return {"type": "box", "box": list(box)}
        case PolygonPrompt(vertices):
            return {"type": "polygon", "vertices": [list(vertex) for vertex in vertices]}
        case ScribblePrompt(path, positive):
            return {"type": "scribble", "path": [list(at) for at in path], "positive": positive}
        case MaskPrompt(mask):
            return {"type": "mask", "shape": list(mask.shape), "runs": run_lengths(mask)}


def read_prompt(value: Any) -> Prompt:
    """A prompt of JSON; a FormatError says what is wrong."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "point":
        found = strict.record(value, "type", "position", "positive")
        return PointPrompt(_position(found["position"]), strict.flag(found["positive"]))
    if kind == "box":
        low_row, low_column, high_row, high_column = strict.listing(
            strict.record(value, "type", "box")["box"], strict.number, 4
        )
        return BoxPrompt((low_row, low_column, high_row, high_column))
    if kind == "polygon":
        found = strict.record(value, "type", "vertices")
        return PolygonPrompt(strict.listing(found["vertices"], _position))
    if kind == "scribble":
        found = strict.record(value, "type", "path", "positive")
        path = strict.listing(found["path"], _position)
        return ScribblePrompt(path, strict.flag(found["positive"]))
    if kind == "mask":
        found = strict.record(value, "type", "shape", "runs")
        height, width = strict.pair(found["shape"], strict.integer)
        runs = strict.listing(found["runs"], strict.integer)
        return MaskPrompt(_from_run_lengths(runs, (height, width)))
    raise strict.FormatError(f"there should be a prompt, not {value!r:.60}")


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """How many pixels in a row are out, in, out and so on, row after row."""
    flat = np.concatenate([[False], np.asarray(mask, dtype=bool).ravel()])
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(n) for n in np.diff([0, *turns, flat.size - 1])]


def _from_run_lengths(runs: tuple[int, ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if sum(runs) != shape[0] * shape[1] or sum(runs) > MOST_PIXELS:
        raise strict.FormatError(f"a mask of shape {shape} has {sum(runs)} pixels")
    mask: NDArray[np.bool_] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)
    return mask


def _position(value: Any) -> tuple[float, float]:
    return strict.pair(value, strict.number)
