"""What is raised where an input cannot be used; importing it costs nothing."""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.EACCES: "Change the permissions, or choose another place.",
    errno.EROFS: "Choose another place.",
    errno.ENOSPC: "Make room, and try again.",
    errno.EDQUOT: "Make room, and try again.",
}


class InputError(ValueError):
    """Something that the user gave cannot be used; the message is for the user, on one line."""


def in_words(error: BaseException) -> str:
    """What an error says to a user, without the codes of the system, on one line."""
    told = str(error) or type(error).__name__  # a timeout says nothing
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        told = f"{where}{error.strerror}. {_REMEDIES.get(error.errno or 0, '')}"
    return " ".join(told.split())


def check_whole(name: str, value: float, least: int = 0) -> None:
    """Raise a ValueError where a setting is no whole number, or less than it may be."""
    if value < least or value != int(value):
        raise ValueError(f"{name} is {value}; it must be a whole number, {least} or more.")
