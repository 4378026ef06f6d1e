"""What is raised where an input cannot be used; importing it costs nothing."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used; the message is for the user, on one line."""


def check_whole(name: str, value: float, least: int = 0) -> None:
    """Raise a ValueError where a setting is no whole number, or less than it may be."""
    if value < least or value != int(value):
        raise ValueError(f"{name} is {value}; it must be a whole number, {least} or more.")
