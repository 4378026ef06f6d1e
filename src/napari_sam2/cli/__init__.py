"""The commands: ``napari-sam2 segment``, ``batch``, ``replay``, ``train`` and the others.

What needs torch, numpy or napari is imported when a command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from napari_sam2.cli import options
from napari_sam2.cli.batch import batch
from napari_sam2.cli.errors import InputError, errors_on_one_line
from napari_sam2.cli.models import models_app

app = typer.Typer(
    help="Segment Anything Model 2 for microscopy, without a window.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models_app, name="models")
app.command("batch")(batch)


_EVERYTHING = "Everything, without a prompt"


def _say(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _show_version(wanted: bool) -> None:
    if wanted:
        from napari_sam2 import __version__

        typer.echo(f"napari-sam2 {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Segment Anything Model 2 for microscopy, without a window."""


@app.command("segment")
def _segment(
    image: Annotated[Path, typer.Argument(help="A TIFF, zarr or PNG image: 2D, or a stack.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the labels go; a TIFF, overwritten.")
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ID:]z,y,x[:-]",
            help="A click, in voxels, in the order of the image's axes (y,x for a 2D image). "
            "A leading ID names the object, 1 without it; a trailing :- makes it negative.",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ID:]z,r0,c0,r1,c1",
            help="A box on one plane, from its first row and column to its last "
            "(r0,c0,r1,c1 for a 2D image).",
        ),
    ] = None,
    model: options.Model = "nano",
    device: options.Device = "auto",
    image_size: options.ImageSize = None,
    frame_axis: Annotated[
        int, typer.Option(help="The axis to propagate along, z or t; 0 is the first.")
    ] = 0,
    direction: Annotated[
        Literal["forward", "backward", "both"], typer.Option(help="Which way to propagate.")
    ] = "both",
    start: Annotated[int | None, typer.Option(help="First plane to propagate from.")] = None,
    stop: Annotated[int | None, typer.Option(help="Last plane, included.")] = None,
    stop_when_absent: Annotated[
        int | None,
        typer.Option(
            min=1, help="Leave an object after so many planes without it.", show_default="never"
        ),
    ] = None,
    tiles: options.Tiles = "auto",
    everything: Annotated[
        bool,
        typer.Option(
            "--everything",
            help="Segment all that is found on a plane, or through a stack, without a prompt.",
            rich_help_panel=_EVERYTHING,
        ),
    ] = False,
    points_per_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows and columns of the grid of points that the model is asked about.",
            show_default="32",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    crop_layers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Ask again in 2 x 2 crops (1), and in 4 x 4 (2), for small objects.",
            show_default="0",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    min_score: Annotated[float | None, options.min_score(_EVERYTHING)] = None,
    min_stability: Annotated[float | None, options.min_stability(_EVERYTHING)] = None,
    max_overlap: Annotated[float | None, options.max_overlap(_EVERYTHING)] = None,
    smallest: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Leave out objects of fewer pixels on a plane, and fill smaller holes.",
            show_default="0",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    axis: Annotated[
        Literal["z", "t"] | None,
        typer.Option(
            help="What the planes of a stack lie along.",
            show_default="what the file says",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    link: Annotated[
        Literal["overlap", "memory"] | None, options.link(_EVERYTHING, "overlap")
    ] = None,
    channel: Annotated[int | None, options.channel(_EVERYTHING)] = None,
    tracks: Annotated[
        Path | None,
        typer.Option(
            help="Of a time-lapse, where the centres over time go; a CSV, overwritten.",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
    ctc: Annotated[
        Path | None,
        typer.Option(
            help="Of a time-lapse, the folder for masks and tracks as the Cell Tracking Challenge "
            "takes them.",
            rich_help_panel=_EVERYTHING,
        ),
    ] = None,
) -> None:
    """Segment objects in IMAGE from clicks and boxes, through every plane of a stack."""
    with errors_on_one_line():
        if everything:
            from napari_sam2.cli.everything import EverythingRequest, run_everything

            if point or box:
                raise InputError(
                    "--everything needs no prompt. Leave --point and --box out, or --everything."
                )
            ranges = (start, stop, stop_when_absent)
            if frame_axis or direction != "both" or any(value is not None for value in ranges):
                raise InputError(
                    "--frame-axis, --direction, --start, --stop and --stop-when-absent belong to "
                    "prompts. Leave them out; --axis says what the planes lie along."
                )
            lines = run_everything(
                EverythingRequest(
                    image=image,
                    output=output,
                    model=model,
                    device=device,
                    image_size=image_size,
                    points_per_side=points_per_side or 32,
                    crop_layers=crop_layers or 0,
                    min_score=min_score,
                    min_stability=min_stability,
                    max_overlap=0.7 if max_overlap is None else max_overlap,
                    smallest=smallest or 0,
                    tiles=tiles,
                    axis=axis,
                    link=link or "overlap",
                    channel=channel,
                    tracks=tracks,
                    ctc=ctc,
                )
            )
            _say(lines)
            return
        from napari_sam2.cli.segment import Request, run

        alone = (points_per_side, crop_layers, min_score, min_stability, max_overlap, smallest)
        if any(value is not None for value in (*alone, axis, link, channel, tracks, ctc)):
            raise InputError(
                "--points-per-side, --crop-layers, --min-score, --min-stability, --max-overlap, "
                "--smallest, --axis, --link, --channel, --tracks and --ctc belong to --everything. "
                "Add it, or leave them out."
            )
        lines = run(
            Request(
                image=image,
                output=output,
                points=tuple(point or ()),
                boxes=tuple(box or ()),
                model=model,
                device=device,
                image_size=image_size,
                frame_axis=frame_axis,
                direction=direction,
                start=start,
                stop=stop,
                stop_when_absent=stop_when_absent,
                tiles=tiles,
            )
        )
    _say(lines)


_SessionFolder = Annotated[Path, typer.Argument(help="The folder of a saved session.")]


@app.command("replay")
def _replay(
    session: _SessionFolder,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE...",
            help="The image that the session was made on, and those of its further channels. "
            "Channels may lie in one file, along its axis C.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the labels go; a TIFF, overwritten.")
    ],
) -> None:
    """Do again what was done in SESSION on its images, and write the same labels."""
    with errors_on_one_line():
        from napari_sam2.cli.replay import run_replay

        lines = run_replay(session, images, output)
    _say(lines)


@app.command("export")
def _export(
    session: _SessionFolder,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file, or for OME-Zarr the folder.")
    ],
    format: Annotated[
        Literal["tiff", "ome-zarr", "coco", "tracks"],
        typer.Option(
            help="Labels as TIFF or OME-Zarr; COCO annotations as JSON; the centres of objects "
            "over time as a CSV for napari's Tracks."
        ),
    ] = "tiff",
) -> None:
    """Write the masks of SESSION in a format of other programs."""
    with errors_on_one_line():
        from napari_sam2.cli.replay import run_export

        lines = run_export(session, format, output)
    _say(lines)


@app.command("train")
def _train(
    config: Annotated[
        Path, typer.Argument(help="A TOML file: the labelled images, the model, the stages.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The folder for the model, checkpoints, curves and pictures; a run found there "
            "goes on.",
            show_default="NAME_training",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="A trial: at most so many steps of each stage.")
    ] = None,
    export: Annotated[
        bool, typer.Option("--export", help="Only write the model of the last checkpoint.")
    ] = False,
) -> None:
    """Train a model on labelled images as CONFIG says, from where it stopped the last time."""
    with errors_on_one_line():
        from napari_sam2.cli.train import Request, run

        try:
            lines = run(Request(config, output, steps, export))
        except KeyboardInterrupt:
            typer.echo("Stopped. The same command goes on from the last checkpoint.", err=True)
            raise typer.Exit(130) from None  # as shells report Ctrl+C
    _say(lines)


@app.command("evaluate")
def _evaluate(
    model: Annotated[str, typer.Argument(help="A model's name, or the path of a checkpoint.")],
    data: Annotated[
        Path,
        typer.Argument(
            help="A TOML file as for training, of which the images that validate are taken; or a "
            "folder with the folders 'images' and 'labels'."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the scores and the plot.")
    ] = Path("evaluation"),
    objects: Annotated[
        int, typer.Option(min=0, help="At most so many objects on each plane; 0 is all of them.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Another seed draws other objects.")] = 0,
    device: options.Device = "auto",
) -> None:
    """Measure how well MODEL finds the labelled objects of DATA from clicks and boxes."""
    with errors_on_one_line():
        from napari_sam2.cli.evaluate import Request, run

        lines = run(Request(model, data, output, objects or None, seed, device))
    _say(lines)


@app.command("demo")
def _demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for results without a window.")
    ] = Path("demo_output"),
    window: Annotated[
        bool | None,
        typer.Option(
            "--window/--headless",
            help="Open napari, or write results. Without either: a window if there is a display.",
        ),
    ] = None,
) -> None:
    """Open napari with a sample stack and the dock ready; without a display, segment it."""
    with errors_on_one_line():
        from napari_sam2.cli.demo import has_display, open_window, run_headless

        if has_display() if window is None else window:
            open_window()
        else:
            typer.echo("Without a window: segmenting a generated z-stack. This takes a minute.")
            for line in run_headless(output):
                typer.echo(line)
