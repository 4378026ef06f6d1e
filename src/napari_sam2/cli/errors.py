"""What a command says when it cannot do what was asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from napari_sam2.inference.errors import InputError as InputError
from napari_sam2.inference.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def errors_on_one_line() -> Iterator[None]:
    """Bad input ends with exit code 2, a disk, network, display or memory that fails with 1.

    There is no traceback.
    """
    try:
        yield
    except (InputError, OSError, MemoryError) as error:
        typer.echo(f"Error: {in_words(error)}", err=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from error


def with_others(error: InputError, output: Path) -> InputError:
    """An error of one plane that also says where the labels of the others are."""
    return InputError(f"{error} What was found on other planes is in {output}.")


@contextmanager
def explained() -> Iterator[None]:
    """Turn what models and predictors refuse into one line for the user."""
    try:
        yield
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise InputError(str(error)) from error
