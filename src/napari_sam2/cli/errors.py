"""What a command says when it cannot do what was asked."""

from __future__ import annotations


class InputError(Exception):
    """Something that the user gave cannot be used; the message is for the user, on one line."""
