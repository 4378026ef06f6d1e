"""JSON read strictly: what is not exactly as it was written is refused, and said where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Reader = Callable[[Any], T]


class FormatError(ValueError):
    """A file is not what this program writes; the message is the fact alone."""


def record(value: Any, *names: str) -> dict[str, Any]:
    """An object with exactly these names."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise FormatError(f"there should be a record of {', '.join(names)}, not {_short(value)}")
    return value


def listing(value: Any, read: Reader[T], length: int | None = None) -> tuple[T, ...]:
    """A list of values of one kind."""
    if not isinstance(value, list) or (length is not None and len(value) != length):
        count = "" if length is None else f" of {length}"
        raise FormatError(f"there should be a list{count}, not {_short(value)}")
    return tuple(read(item) for item in value)


def integer(value: Any, least: int = 0) -> int:
    """A whole number, not less than another."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FormatError(f"there should be a whole number from {least}, not {_short(value)}")
    return value


def label(value: Any) -> int:
    """A whole number that a label can have."""
    if integer(value, 1) >= 2**32:
        raise FormatError(f"no label is as large as {value}")
    return int(value)


def number(value: Any) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) == float("inf"):
        raise FormatError(f"there should be a number, not {_short(value)}")
    return float(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise FormatError(f"there should be a text, not {_short(value)}")
    return value


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FormatError(f"there should be true or false, not {_short(value)}")
    return value


def one_of(value: Any, choices: tuple[T, ...]) -> T:
    """One of several texts."""
    for choice in choices:
        if value == choice and isinstance(value, str):
            return choice
    raise FormatError(f"there should be one of {', '.join(map(str, choices))}, not {_short(value)}")


def one_at(values: Sequence[T], value: Any) -> T:
    """The value that has a number in a list, from 0."""
    number = integer(value)
    if number >= len(values):
        raise FormatError(f"there should be a number below {len(values)}, not {number}")
    return values[number]


def optional(value: Any, read: Reader[T]) -> T | None:
    """A value, or null."""
    return None if value is None else read(value)


def pair(value: Any, read: Reader[T]) -> tuple[T, T]:
    """Two values of one kind."""
    first, second = listing(value, read, 2)
    return first, second


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
