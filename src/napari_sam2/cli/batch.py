"""``napari-sam2 batch``: everything in many images."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_sam2.cli import options
from napari_sam2.cli.errors import errors_on_one_line

if TYPE_CHECKING:
    from napari_sam2.batch.run import Batch


def batch(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="TIFF and PNG files, OME-Zarr folders, folders of images, and patterns in quotes "
            "such as 'plates/*/nuclei_*.tif'.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for labels and the report.")
    ],
    model: options.Model = "nano",
    device: options.Device = "auto",
    image_size: options.ImageSize = None,
    points_per_side: Annotated[
        int,
        typer.Option(
            min=1, help="Rows and columns of the grid of points that the model is asked about."
        ),
    ] = 32,
    crop_layers: Annotated[
        int,
        typer.Option(
            min=0, help="Ask again in 2 x 2 crops (1), and in 4 x 4 (2), for small objects."
        ),
    ] = 0,
    min_score: Annotated[float | None, options.min_score()] = None,
    min_stability: Annotated[float | None, options.min_stability()] = None,
    max_overlap: Annotated[float, options.max_overlap()] = 0.7,
    smallest: Annotated[
        int, typer.Option(min=0, help="Leave out objects of fewer pixels, and fill smaller holes.")
    ] = 0,
    axis: Annotated[
        Literal["z", "t"] | None,
        typer.Option(
            help="What the planes of stacks lie along: depth or time.",
            show_default="what each file says",
        ),
    ] = None,
    link: Annotated[Literal["overlap", "memory"], options.link()] = "overlap",
    channel: Annotated[int | None, options.channel()] = None,
    tiles: options.Tiles = "auto",
    ctc: Annotated[
        bool,
        typer.Option(
            "--ctc",
            help="Write time-lapses as the Cell Tracking Challenge takes them, too, in a folder "
            "beside the labels.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make labels again that are there.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many processes work at once.",
            show_default="one for each GPU, or as the cores and the memory allow",
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processor threads of each worker. Another number rounds differently, so it is "
            "the same for any number of workers.",
        ),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Use the workers of this Dask scheduler, such as tcp://node1:8786.",
            show_default="start workers here",
        ),
    ] = None,
) -> None:
    """Segment everything in many images, going on from where it stopped the last time."""
    with errors_on_one_line():
        from napari_sam2.batch.run import Batch
        from napari_sam2.batch.segment import BatchSettings

        settings = BatchSettings(
            model=model,
            device=device,
            image_size=image_size,
            points_per_side=points_per_side,
            crop_layers=crop_layers,
            min_score=min_score,
            min_stability=min_stability,
            max_overlap=max_overlap,
            smallest=smallest,
            axis=axis,
            link=link,
            channel=channel,
            tiles=tiles,
            threads=threads,
            ctc=ctc,
        )
        work = Batch(inputs, output, settings, overwrite)
        try:
            _run(work, workers, scheduler)
        except KeyboardInterrupt:
            again = overwrite and work.has_begun
            command = "The same command, without --overwrite," if again else "The same command"
            typer.echo(f"Stopped. {command} goes on from here.", err=True)
            raise typer.Exit(130) from None  # as shells report Ctrl+C
        except OSError:  # such as of a full disk, which has no room for the report
            _say(work)
            raise
    _say(work)
    typer.echo(os.fsencode(f"Report: {work.output / 'report.csv'}"))  # which may be no text
    if any(report.status == "failed" for report in work.reports):
        raise typer.Exit(1)


def _say(work: Batch) -> None:
    status = [report.status for report in work.reports]
    for report in work.reports:
        if report.message:
            typer.echo(f"{report.file}: {report.message}", err=True)
    typer.echo(
        f"{status.count('done')} segmented, {status.count('skipped')} skipped as done before, "
        f"{status.count('failed')} failed"
    )


def _run(work: Batch, workers: int | None, scheduler: str | None) -> None:
    from importlib.util import find_spec

    from napari_sam2.cli.progress import progress_bar

    with work.client(workers, scheduler) as client:
        if client is not None and find_spec("bokeh"):  # dask has no dashboard without it
            typer.echo(f"Dashboard: {client.dashboard_link}", err=True)
        what = "images" if work.steps == len(work.todo) else "images and blocks of large ones"
        with progress_bar(work.steps, "Segmenting", what) as show:
            for done, _ in enumerate(work.run(client), start=1):
                show(done)
