"""What a command says when it cannot do what was asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator


class InputError(Exception):
    """Something that the user gave cannot be used; the message is for the user, on one line."""


@contextmanager
def errors_on_one_line() -> Iterator[None]:
    """Bad input ends with exit code 2, a disk, network or display that fails with 1.

    There is no traceback.
    """
    try:
        yield
    except (InputError, OSError) as error:
        typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from error


@contextmanager
def explained() -> Iterator[None]:
    """Turn what models and predictors refuse into one line for the user."""
    try:
        yield
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise InputError(str(error)) from error
