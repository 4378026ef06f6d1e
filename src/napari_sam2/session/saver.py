"""Saves in the background: the newest state handed over is written, in a thread of its own."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.session.folder import SessionFolder
from napari_sam2.session.identity import identify_model
from napari_sam2.session.log import Run
from napari_sam2.session.saved import SavedSession, log_of, masks_of_image
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_sam2.session.identity import ImageIdentity
    from napari_sam2.session.log import Command
    from napari_sam2.session.values import ObjectMask, StackKey

_RETRY_S = 5
NO_CHANNELS: Mapping[str, ImageIdentity] = MappingProxyType({})


class Saver:
    """Keeps the folder of one image's part of a session up to date.

    Parameters
    ----------
    path : Path
        The folder.
    image : ImageIdentity
        The image.
    image_id : str
        What identifies the image in `StackKey`.

    Attributes
    ----------
    image : ImageIdentity
        As given; what is known of its axes may change.
    failed : Signal(object)
        Emitted, in the saving thread, with the error that a write ended with, which is tried
        again; once until one succeeds.
    """

    failed = Signal(object)

    def __init__(self, path: Path, image: ImageIdentity, image_id: str) -> None:
        self.path = path
        self.image = image
        self._image_id = image_id
        self._folder = SessionFolder(path)
        self._newest: Callable[[], SavedSession] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._told = False
        self._thread = threading.Thread(target=self._work, name="napari-sam2 saver", daemon=True)
        self._thread.start()

    def save(
        self,
        session: Session,
        channels: Mapping[str, ImageIdentity] = NO_CHANNELS,
        waiting: Sequence[Callable[[Session], object]] = (),
    ) -> None:
        """Hand over what the session is now; it is written as soon as the last write is done.

        Parameters
        ----------
        session : Session
            The session.
        channels : mapping of str to ImageIdentity
            Every image that its runs may have seen as a channel.
        waiting : sequence of callable
            What was asked for while the model runs, and is done once it has ended: written as if
            it had ended now. Each is called, in the saving thread, with a copy of the session to do
            it to.
        """
        masks = masks_of_image(self._image_id, session)
        image, image_id, log = self.image, self._image_id, session.log
        newest = partial(saved_session, image, image_id, log, masks, dict(channels), waiting)
        with self._changed:
            self._newest = newest
            self._changed.notify()

    def close(self) -> None:
        """Write what was handed over last, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        unwritten: Callable[[], SavedSession] | None = None
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self._newest is not None,
                    None if unwritten is None else _RETRY_S,
                )
                newest, closed = self._newest or unwritten, self._closed
                self._newest = unwritten = None
            if newest is None:
                return
            try:
                saved = newest()
                if saved.log or self.path.exists():  # where nothing was done yet, no folder
                    self._folder.write(saved)
                self._told = False
            except Exception as error:  # the thread must outlive whatever happens once
                unwritten = newest
                if not self._told:
                    self._told = True
                    self.failed.emit(error)
                if closed:
                    return


def saved_session(
    image: ImageIdentity,
    image_id: str,
    log: tuple[Command, ...],
    masks: Mapping[StackKey, Mapping[int, Mapping[int, ObjectMask]]],
    channels: Mapping[str, ImageIdentity] = NO_CHANNELS,
    waiting: Sequence[Callable[[Session], object]] = (),
) -> SavedSession:
    """What is written of a session: the part that is about one image, and what waits for it."""
    if waiting:
        after = Session()
        after.reopen(log, masks)
        for change in waiting:
            with suppress(KeyError, ValueError):  # it will be refused when its turn comes, too
                change(after)
        log = (*log, *after.log[len(log) + 1 :])  # it was not opened again
        masks = masks_of_image(image_id, after)
    own = log_of(image_id, log)
    runs = [command for command in own if isinstance(command, Run)]
    models = {name: _sha256(name) for name in dict.fromkeys(run.model.name for run in runs)}
    seen = {channel.image for run in runs for channel in run.channels} - {image_id}
    named = {each: channels[each] for each in seen}
    return SavedSession(image, models, own, masks, named).fitting()


def _sha256(name: str) -> str:
    try:
        return identify_model(name)
    except OSError:
        return ""  # the file is gone; the session is saved all the same
