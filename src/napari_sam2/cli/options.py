"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

Model = Annotated[str, typer.Option(help="A model's name, or the path of a checkpoint.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the model's input in pixels, a multiple of 32; a smaller one is faster "
        "and gives other masks.",
        show_default="the model's own",
    ),
]
Tiles = Annotated[
    Literal["auto", "off"],
    typer.Option(
        help="Look at planes much longer than the model's input in parts (by a third where there "
        "are prompts, twice as long for everything), and by nano closer at small objects of a "
        "single plane; or at the whole of each."
    ),
]


def link(panel: str | None = None, usual: str | None = None) -> Any:
    """How objects go on through depth; ``panel`` is where the help shows it."""
    return typer.Option(
        help="How objects go on through depth: masks of each plane are linked where they overlap, "
        "or those of every third plane are carried with memory.",
        show_default=usual or True,
        rich_help_panel=panel,
    )


def min_score(panel: str | None = None) -> Any:
    """What a mask's score must reach; ``panel`` is where the help shows it."""
    return _least("Least overlap with its object that the model expects of a mask.", panel)


def min_stability(panel: str | None = None) -> Any:
    """What a mask's stability must reach; ``panel`` is where the help shows it."""
    return _least("How little a mask must depend on its threshold.", panel)


def max_overlap(panel: str | None = None) -> Any:
    """How much masks may overlap; ``panel`` is where the help shows it."""
    return typer.Option(
        min=0,
        max=1,
        help="Of masks that overlap more than this (IoU), the best is an object.",
        show_default="0.7",
        rich_help_panel=panel,
    )


def channel(panel: str | None = None) -> Any:
    """Which channel is segmented; ``panel`` is where the help shows it."""
    return typer.Option(
        min=0,
        help="Which channel is segmented, from 0, where an image has several.",
        show_default="the only one",
        rich_help_panel=panel,
    )


def _least(what: str, panel: str | None) -> Any:
    return typer.Option(
        min=0, max=1, help=what, show_default="what suits the model", rich_help_panel=panel
    )
