"""Sessions, saved all the time to folders of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.inference.errors import InputError, in_words
from napari_sam2.plugin.layers.image_identity import named
from napari_sam2.plugin.session_folders import delete, new_folder
from napari_sam2.session.log import Reopen
from napari_sam2.session.saved import log_of
from napari_sam2.session.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filelock import FileLock

    from napari_sam2.plugin.job_runner import Jobs
    from napari_sam2.plugin.layers.image_identity import Identities
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.session.log import Command
    from napari_sam2.session.session import Session

SAVE_MS = 500
_RETRY_MS = 5000


class Saving:
    """Keeps a folder for each image that is worked on.

    Parameters
    ----------
    session : Session
        What is saved.
    workspace : Workspace
        Has the images.
    identities : Identities
        Knows what identifies them.
    jobs : Jobs
        Ends the folders of pixels that are there no longer.
    waiting : callable
        Gives what waits for the end of a run, each to be called with the session to do it to.

    Attributes
    ----------
    failed : Signal(object)
        Emitted with an exception that the user should know of.
    """

    failed = Signal(object)

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        identities: Identities,
        jobs: Jobs,
        waiting: Callable[[], Sequence[Callable[[Session], object]]],
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._identities = identities
        self._jobs = jobs
        self._waiting = waiting
        self._savers: dict[str, tuple[Saver, FileLock]] = {}
        self._opened: dict[str, tuple[Command, ...]] = {}  # logs as they were restored
        self._has_told = False
        # Not started anew by further changes, so that none of them waits for longer than this.
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SAVE_MS)
        self._timer.timeout.connect(self.save)
        self._retry = QTimer()
        self._retry.setSingleShot(True)
        self._retry.setInterval(_RETRY_MS)
        self._retry.timeout.connect(self.save)
        session.history_changed.connect(self.save_soon)
        session.masks_changed.connect(self.save_soon)
        workspace.channels.changed.connect(self.save_soon)
        workspace.kinds.changed.connect(self.save_soon)
        workspace.prompts.edited.connect(self.save_soon)
        identities.found.connect(self.save_soon)
        identities.replaced.connect(self._on_replaced)

    def save_soon(self) -> None:
        """Save within `SAVE_MS`."""
        if not self._timer.isActive():
            self._timer.start()

    def save(self) -> None:
        """Hand over what there is to be saved."""
        self._timer.stop()
        waiting = self._waiting()
        worked_on = {stack.image for stack in self._session.stacks}
        if waiting:  # for an image that has prompts, or is to have them
            drawn = (image for image, _, each in self._workspace.prompts.every() if len(each.data))
            worked_on.update(filter(None, (self._workspace.image_id, *drawn)))
        for image_id in worked_on.difference(self._savers):
            if image_id in self._identities.known:
                self._begin(image_id)
        for image_id, (saver, _) in self._savers.items():
            known = self._identities.known[image_id]
            saver.image = named(known, self._workspace.axis_letters(image_id))
            saver.save(self._session, self._identities.known, waiting)

    def close(self) -> None:
        """Save what is not saved yet, and end."""
        if self._timer.isActive() or self._retry.isActive():
            self.save()
        self._retry.stop()
        for image_id in self._savers:
            self._ending(image_id)()
        self._savers.clear()

    def note_opened(self, image_id: str) -> None:
        """Take note that an image's session is now as an earlier one, which is kept elsewhere."""
        self._opened[image_id] = self._log(image_id)

    def _log(self, image_id: str) -> tuple[Command, ...]:
        log = log_of(image_id, self._session.log)
        return tuple(command for command in log if not isinstance(command, Reopen))

    def _on_replaced(self, image_id: str) -> None:
        """Go on in a new folder, as the session of the pixels that are there now."""
        self.save()
        self._opened.pop(image_id, None)  # what was opened was of the pixels before
        if image_id in self._savers:
            end = self._ending(image_id)
            del self._savers[image_id]
            self._jobs.run(end)

    def _ending(self, image_id: str) -> Callable[[], None]:
        """Write what was handed over last; delete the folder where nothing is new in it."""
        saver, lock = self._savers[image_id]
        is_new = self._log(image_id) not in ((), self._opened.get(image_id))

        def end() -> None:
            saver.close()
            if not is_new:
                delete(saver.path)
            lock.release()

        return end

    def _begin(self, image_id: str) -> None:
        image = self._identities.known[image_id]
        try:
            path, lock = new_folder(image)
        except OSError as error:
            self._retry.start()
            if not self._has_told:
                self._has_told = True
                self._on_failed(error)
            return
        self._has_told = False
        saver = Saver(path, image, image_id)
        saver.failed.connect(self._on_failed)
        self._savers[image_id] = saver, lock

    def _on_failed(self, error: Exception) -> None:
        told = f"The session cannot be saved now, and is tried again: {in_words(error)}"
        self.failed.emit(InputError(told))
