"""Does again what a log says, without a window."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_sam2.inference.channels import ChannelBlend
from napari_sam2.session.engine import Engine
from napari_sam2.session.log import Run
from napari_sam2.session.stack_source import StackSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_sam2.session.log import Command
    from napari_sam2.session.session import Session

NO_CHANNELS: Mapping[str, Any] = MappingProxyType({})


def replay(
    log: Sequence[Command],
    session: Session,
    data: Any,
    rgb: bool,
    engine: Engine | None = None,
    on_command: Callable[[int], None] | None = None,
    channels: Mapping[str, Any] = NO_CHANNELS,
    coarser: tuple[Any, ...] = (),
) -> None:
    """Repeat a log in an empty session.

    On the same machine, with the same threads, masks come out the same bit by bit.

    Parameters
    ----------
    log : sequence of Command
        What to do.
    session : Session
        Where.
    data : array-like
        The image that the log is about.
    rgb : bool
        Whether its last axis holds colours.
    engine : Engine, optional
        Runs the model; by default a new one.
    on_command : callable, optional
        Called with the number of commands done so far.
    channels : mapping of str to array-like
        The further images that runs of the log saw as channels, by what identifies them there.
    coarser : tuple of array-like
        The image at lower resolutions, of a pyramid, as a `StackSource` takes them.

    Raises
    ------
    ValueError, KeyError, OSError, TypeError
        When the log contradicts itself, or the model cannot be loaded.
    """
    engine = engine or Engine()
    for done, command in enumerate(log):
        if on_command is not None:
            on_command(done)
        if isinstance(command, Run):
            _run(command, session, _source(command, data, rgb, channels, coarser), engine)
        else:
            session.apply(command)


def _source(
    run: Run, data: Any, rgb: bool, further: Mapping[str, Any], coarser: tuple[Any, ...]
) -> StackSource:
    if run.channels:
        images = {run.stack.image: data, **further}
        data = ChannelBlend(run.channels, [images[channel.image] for channel in run.channels])
        rgb, coarser = True, ()  # as in the window
    return StackSource(run.stack, data, rgb, run.contrast_limits, coarser=coarser, view=run.view)


def _run(run: Run, session: Session, source: StackSource, engine: Engine) -> None:
    session.begin_run(replace(run, results=0, outcome="cancelled"))
    engine.memory = session.memory(run.stack)
    steps = engine.run(run, source, session.prompts(run.stack), session.choices(run.stack))
    # A run that was stopped is stopped after the same result; until the first it had not begun.
    with closing(steps) as results:  # type: ignore[type-var]
        for result in results if run.outcome == "done" else islice(results, run.results):
            session.add_result(result)
    session.end_run(run.outcome, engine.memory)
