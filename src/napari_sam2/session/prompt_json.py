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
        case MaskPrompt(shape=(height, width), crop=crop, origin=origin):
            runs = run_lengths(crop, origin, (height, width))
            return {"type": "mask", "shape": [height, width], "runs": runs}
    raise TypeError(f"There is no {type(prompt).__name__} in a session.")


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


def run_lengths(
    crop: NDArray[np.bool_], origin: tuple[int, int], shape: tuple[int, int]
) -> list[int]:
    """How many pixels in a row are out, in, out and so on, row after row.

    Parameters
    ----------
    crop : array of bool, shape (y, x)
        A part of the plane; outside it, all pixels are out.
    origin : tuple of int
        (row, column) of the crop's first pixel in the plane.
    shape : tuple of int
        (Y, X) of the plane.
    """
    rows, columns = np.nonzero(np.diff(np.pad(crop, ((0, 0), (1, 1))).astype(np.int8)))
    turns = (rows + origin[0]) * shape[1] + columns + origin[1]
    places, times = np.unique(turns, return_counts=True)
    # what ends at the right edge and goes on at the left one does not turn
    turns, size = places[times == 1], shape[0] * shape[1]
    return [int(count) for count in np.diff([0, *turns[turns < size], size])]


def _from_run_lengths(runs: tuple[int, ...], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if sum(runs) != shape[0] * shape[1] or sum(runs) > MOST_PIXELS:
        raise strict.FormatError(f"a mask of shape {shape} has {sum(runs)} pixels")
    mask: NDArray[np.bool_] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)
    return mask


def _position(value: Any) -> tuple[float, float]:
    return strict.pair(value, strict.number)
