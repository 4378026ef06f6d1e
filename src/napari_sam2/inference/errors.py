"""What is raised where an input cannot be used; importing it costs nothing."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used; the message is for the user, on one line."""
