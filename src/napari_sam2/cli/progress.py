"""A progress bar for whoever looks on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def progress_bar(
    count: int, doing: str = "Propagating", what: str = "planes"
) -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left on a terminal's error stream, and nothing elsewhere.

    Parameters
    ----------
    count : int
        How many there are to do at most.
    doing, what : str
        The words before and after the bar.

    Yields
    ------
    callable
        Takes the number of those done.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    counted = (BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn())
    with Progress(
        TextColumn(doing),
        *counted,
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=600,  # seconds; an image may take minutes
    ) as bar:
        task = bar.add_task("", total=count)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a download on a terminal's error stream, and nothing elsewhere.

    Parameters
    ----------
    name : str
        What is downloaded.

    Yields
    ------
    callable
        Takes the bytes that are there and the bytes of the whole, None while not known.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
