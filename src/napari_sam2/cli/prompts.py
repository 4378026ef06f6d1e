"""Clicks and boxes as they are typed, and where they lie in an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.cli.errors import InputError
from napari_sam2.inference.prompts import BoxPrompt, PointPrompt, check_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.inference.prompts import Prompt

_FORM = re.compile(r"(?:(?P<id>[0-9]+):)?(?P<numbers>[^:]+)(?::(?P<sign>[+-]))?")
_LARGEST_ID = 65535  # labels are written as uint16 at most


@dataclass(frozen=True)
class TypedPrompt:
    """What one ``--point`` or ``--box`` says.

    Attributes
    ----------
    text : str
        As typed.
    object_id : int
        1 to 65535.
    numbers : tuple of float
        In the order typed.
    positive : bool
        Always True for a box.
    """

    text: str
    object_id: int
    numbers: tuple[float, ...]
    positive: bool = True


@dataclass(frozen=True)
class Placement:
    """Where prompts lie in an image.

    Attributes
    ----------
    fixed : dict of int to int
        The index on each axis that is neither the frame axis nor in the plane.
    prompts : dict
        The prompts for each (object_id, frame).
    """

    fixed: dict[int, int]
    prompts: dict[tuple[int, int], tuple[Prompt, ...]]

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object, in ascending order."""
        return tuple(sorted({object_id for object_id, _ in self.prompts}))

    @property
    def frames(self) -> tuple[int, ...]:
        """Every prompted frame, in ascending order."""
        return tuple(sorted({frame for _, frame in self.prompts}))


def parse_point(text: str) -> TypedPrompt:
    """Read ``[ID:]z,y,x[:-]``.

    Raises
    ------
    InputError
        When the text has another form.
    """
    return _parse(text, "point", "12,64,70 or 2:12,64,70:-", signed=True)


def parse_box(text: str) -> TypedPrompt:
    """Read ``[ID:]z,r0,c0,r1,c1``.

    Raises
    ------
    InputError
        When the text has another form.
    """
    return _parse(text, "box", "12,50,60,90,100 or 2:12,50,60,90,100", signed=False)


def _parse(text: str, kind: str, example: str, *, signed: bool) -> TypedPrompt:
    match = _FORM.fullmatch(text.strip())
    try:
        if match is None or (match["sign"] and not signed):
            raise ValueError
        numbers = tuple(float(number) for number in match["numbers"].split(","))
    except ValueError:
        raise InputError(f"'{text}' is not a {kind}. Write it like {example}.") from None
    object_id = int(match["id"] or 1)
    if not 1 <= object_id <= _LARGEST_ID:
        raise InputError(
            f"The object of '{text}' is {object_id}. Number objects from 1 to {_LARGEST_ID}."
        )
    return TypedPrompt(text, object_id, numbers, positive=match["sign"] != "-")


def place(
    points: Sequence[TypedPrompt],
    boxes: Sequence[TypedPrompt],
    shape: tuple[int, ...],
    frame_axis: int,
) -> Placement:
    """Sort typed prompts by object and frame, and check them against an image.

    Parameters
    ----------
    points : sequence of TypedPrompt
        Numbers in the order of the image's axes.
    boxes : sequence of TypedPrompt
        The index on every axis outside the plane, then (row_min, col_min, row_max, col_max).
    shape : tuple of int
        The image's shape without colours, two axes or more. The plane is spanned by the last
        two axes other than the frame axis.
    frame_axis : int
        The axis to propagate along; not used for an image of two axes, which is frame 0.

    Returns
    -------
    Placement
        Every prompt lies inside the image.

    Raises
    ------
    InputError
        When there is no prompt, or one does not fit the image or the others.
    """
    if not points and not boxes:
        raise InputError("There is no prompt. Give at least one --point or --box.")
    outer = outer_axes(len(shape), frame_axis)
    first: tuple[str, dict[int, int]] | None = None
    found: dict[tuple[int, int], list[Prompt]] = {}
    for typed, is_box in [*((p, False) for p in points), *((b, True) for b in boxes)]:
        index, prompt = _located(typed, is_box, shape, outer)
        frame = index.pop(frame_axis, 0)
        first = first or (typed.text, index)
        if first[1] != index:
            raise InputError(
                f"'{first[0]}' and '{typed.text}' lie in different volumes. All prompts must "
                "agree on every axis but the frame axis and the plane's; run once per volume."
            )
        found.setdefault((typed.object_id, frame), []).append(prompt)
    plane = tuple(size for axis, size in enumerate(shape) if axis not in outer)
    for prompts in found.values():
        _checked(prompts, plane)
    assert first is not None
    return Placement(first[1], {key: tuple(prompts) for key, prompts in found.items()})


def outer_axes(ndim: int, frame_axis: int) -> tuple[int, ...]:
    """Every axis that is not in the plane, in order; none for an image of two axes.

    Parameters
    ----------
    ndim : int
        The number of axes without colours.
    frame_axis : int
        The axis to propagate along.

    Returns
    -------
    tuple of int
        The frame axis, and those before the last two others.

    Raises
    ------
    InputError
        When the image has no such axis.
    """
    if ndim == 2:
        return ()
    if not 0 <= frame_axis < ndim:
        raise InputError(
            f"The image has no axis {frame_axis}. Give a --frame-axis from 0 to {ndim - 1}."
        )
    plane = [axis for axis in range(ndim) if axis != frame_axis][-2:]
    return tuple(axis for axis in range(ndim) if axis not in plane)


def _located(
    typed: TypedPrompt, is_box: bool, shape: tuple[int, ...], outer: tuple[int, ...]
) -> tuple[dict[int, int], Prompt]:
    """Split one prompt into its index on each outer axis and what lies in the plane."""
    kind, expected = ("box", len(shape) + 2) if is_box else ("point", len(shape))
    if len(typed.numbers) != expected:
        raise InputError(
            f"'{typed.text}' has {len(typed.numbers)} numbers, but a {kind} in this image of "
            f"shape {shape} needs {expected}."
        )
    if is_box:
        row_min, col_min, row_max, col_max = typed.numbers[-4:]
        index = dict(zip(outer, typed.numbers[:-4], strict=True))
        prompt: Prompt = BoxPrompt((row_min, col_min, row_max, col_max))
    else:
        index = {axis: typed.numbers[axis] for axis in outer}
        row, column = (n for axis, n in enumerate(typed.numbers) if axis not in outer)
        prompt = PointPrompt((row, column), typed.positive)
    for axis, number in index.items():
        if number not in range(shape[axis]):
            raise InputError(
                f"'{typed.text}' is at {number:g} on axis {axis}, but the image has whole planes "
                f"0 to {shape[axis] - 1} there."
            )
    plane = tuple(size for axis, size in enumerate(shape) if axis not in outer)
    _checked([prompt], plane)
    return {axis: int(number) for axis, number in index.items()}, prompt


def _checked(prompts: list[Prompt], plane: tuple[int, ...]) -> None:
    try:
        check_prompts(prompts, (plane[0], plane[1]))
    except ValueError as error:
        raise InputError(str(error)) from error
