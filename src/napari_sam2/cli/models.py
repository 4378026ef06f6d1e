"""``napari-sam2 models``: list, download and check the weights of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from napari_sam2.checkpoints import download as downloads
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE, megabytes
from napari_sam2.checkpoints.verify import found_right, verify, verify_nano
from napari_sam2.cli.errors import InputError, errors_on_one_line

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam2.checkpoints.registry import Checkpoint

models_app = typer.Typer(help="List, download and check models.", no_args_is_help=True)

_INTERRUPTED = 130  # as shells report Ctrl+C


@models_app.command("list")
def _list() -> None:
    """Print every model by name, and whether it is here."""
    with errors_on_one_line():  # a folder that may not be looked into
        _print_list()


def _print_list() -> None:
    header = ("NAME", "FAMILY", "SIZE", "LICENCE", "DOWNLOADED", "GOOD FOR")
    size = megabytes(NANO_FILE.stat().st_size)
    nano = ("nano", "sam2.1", size, "BSD-3-Clause", "bundled", "a first try, without a GPU")
    rows = [header, nano, *(_row(checkpoint) for checkpoint in CHECKPOINTS.values())]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@models_app.command("download")
def _download(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As the list has them.")],
) -> None:
    """Download models, going on where an earlier download stopped."""
    with errors_on_one_line():
        _check_names(names)
        for name in names:
            if name == "nano":
                typer.echo("nano: bundled, nothing to download")
            else:
                _download_one(CHECKPOINTS[name])


@models_app.command("verify")
def _verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="All that are here, without a name."),
    ] = None,
) -> None:
    """Check that files are the published ones; the exit code is 1 when one is not."""
    with errors_on_one_line():
        _check_names(names or [])
        here = (c.name for c in CHECKPOINTS.values() if downloads.is_downloaded(c))
        failed = False
        for name in names or ["nano", *here]:
            right, text = _verdict(name)
            typer.echo(f"{name}: {text}")
            failed |= not right
    if failed:
        raise typer.Exit(1)


@models_app.command("path")
def _path(
    name: Annotated[str | None, typer.Argument(help="The folder, without a name.")] = None,
) -> None:
    """Print where a model's file lies, or would lie."""
    with errors_on_one_line():
        _check_names([name] if name else [])
        typer.echo(str(_file(name) if name else downloads.models_folder()))


def _row(checkpoint: Checkpoint) -> tuple[str, ...]:
    if downloads.is_downloaded(checkpoint):
        here = "yes"
    else:
        here = "in part" if downloads.bytes_kept(checkpoint) else "no"
    size, licence = checkpoint.size_text, checkpoint.licence
    return checkpoint.name, checkpoint.family, size, licence, here, checkpoint.purpose


def _check_names(names: list[str]) -> None:
    for name in names:
        if name != "nano" and name not in CHECKPOINTS:
            known = ", ".join(["nano", *CHECKPOINTS])
            raise InputError(f"There is no model '{name}'. Known are {known}.")


def _file(name: str) -> Path:
    return NANO_FILE if name == "nano" else downloads.path_of(CHECKPOINTS[name])


def _download_one(checkpoint: Checkpoint) -> None:
    from napari_sam2.cli.progress import download_bar

    if downloads.is_downloaded(checkpoint):
        path = downloads.download(checkpoint)  # checks it
        typer.echo(f"{checkpoint.name}: already here, {found_right(checkpoint)}: {path}")
        return
    address = downloads.address_of(checkpoint)
    typer.echo(f"{checkpoint.name}: {checkpoint.size_text} from {address}", err=True)
    try:
        with download_bar(checkpoint.name) as show:
            path = downloads.download(checkpoint, show)
    except KeyboardInterrupt:
        kept = megabytes(downloads.bytes_kept(checkpoint))
        typer.echo(
            f"Stopped; {kept} are kept. To go on from there, run: "
            f"napari-sam2 models download {checkpoint.name}",
            err=True,
        )
        raise typer.Exit(_INTERRUPTED) from None
    typer.echo(f"{checkpoint.name}: {found_right(checkpoint)}: {path}")


def _verdict(name: str) -> tuple[bool, str]:
    try:
        if name == "nano":
            return True, verify_nano()
        if not downloads.is_downloaded(CHECKPOINTS[name]):
            return False, f"not downloaded; run: napari-sam2 models download {name}"
        return True, verify(CHECKPOINTS[name], _file(name))
    except (ValueError, OSError) as error:
        return False, f"wrong: {error}"
