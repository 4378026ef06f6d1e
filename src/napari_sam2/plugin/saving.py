"""Sessions in files: saved all the time, offered again, saved elsewhere and opened."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info, show_warning
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.plugin.coordinates import full_resolution
from napari_sam2.plugin.job_runner import Failure, JobRunner
from napari_sam2.plugin.layers.image_identity import identify_layer, is_smaller
from napari_sam2.plugin.session_folders import delete, earlier_sessions, new_folder
from napari_sam2.session.export import export
from napari_sam2.session.folder import JSON_NAME, SessionError, SessionFolder, read_session
from napari_sam2.session.identity import ImageIdentity
from napari_sam2.session.log import Run
from napari_sam2.session.saved import SavedSession, changed_numbers, masks_of_image
from napari_sam2.session.saver import Saver, saved_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filelock import FileLock

    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.work import Work
    from napari_sam2.session.export import Format
    from napari_sam2.session.session import Session

SAVE_MS = 500
_HAS_WORK = "There is work on this image already."


class Saving:
    """Keeps a folder for each image that is worked on.

    Parameters
    ----------
    session : Session
        What is saved.
    workspace : Workspace
        Has the images.
    prompting : Prompting
        Draws the prompts of a session that is opened.
    work : Work
        Tells when a session can be opened.
    waiting : callable
        Gives what waits for the end of a run, each to be called with the session to do it to.

    Attributes
    ----------
    offered : Signal(str)
        Emitted with the question whether to restore an earlier session, and with "" when it is
        asked no longer.
    failed : Signal(object)
        Emitted with an exception that the user should know of.
    """

    offered = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        prompting: Prompting,
        work: Work,
        waiting: Callable[[], Sequence[Callable[[Session], object]]],
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        self._work = work
        self._waiting = waiting
        self._seen: set[str] = set()
        self._images: dict[str, ImageIdentity] = {}
        self._channels: dict[str, ImageIdentity] = {}  # every layer that ever was one
        self._savers: dict[str, tuple[Saver, FileLock]] = {}
        self._jobs: set[JobRunner] = set()
        self._offer: tuple[str, Path] | None = None  # an image, and an earlier session of it
        # Not started anew by further changes, so that none of them waits for longer than this.
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(SAVE_MS)
        self._timer.timeout.connect(self.save)
        session.history_changed.connect(self.save_soon)
        session.masks_changed.connect(self.save_soon)
        workspace.layers_changed.connect(self._on_layers_changed)
        workspace.channels.changed.connect(self._on_channels_changed)
        workspace.kinds.changed.connect(self.save_soon)
        workspace.prompts.edited.connect(self.save_soon)

    def save_soon(self) -> None:
        """Save within `SAVE_MS`."""
        if not self._timer.isActive():
            self._timer.start()

    def save(self) -> None:
        """Hand over what there is to be saved."""
        self._timer.stop()
        for image_id in dict.fromkeys(stack.image for stack in self._session.stacks):
            if image_id in self._images and image_id not in self._savers:
                self._begin(image_id)
        waiting = self._waiting()
        for image_id, (saver, _) in self._savers.items():
            saver.image = self._named(image_id, self._images[image_id])
            saver.save(self._session, self._channels, waiting)

    def close(self) -> None:
        """Save what is not saved yet, and end."""
        for job in self._jobs:
            job.close()
        if self._timer.isActive():
            self.save()
        for saver, lock in self._savers.values():
            self._end(saver, lock)
        self._savers.clear()

    def save_as(self, folder: str) -> None:
        """Save the session of the chosen image to a folder of the user's."""
        path, saved = Path(folder), self._as_it_is()
        if saved is None:
            show_warning("There is no image layer, so there is nothing to save.")
        elif path.is_dir() and any(path.iterdir()) and not (path / JSON_NAME).exists():
            show_warning(f"{path} is not empty. Choose an empty folder, or make one.")
        else:
            self._run(
                lambda: SessionFolder(path).write(saved()),
                lambda _: show_info(f"The session is saved to {path}."),
            )

    def export(self, format: Format, file: str) -> None:
        """Write the masks of the chosen image in a format of other programs."""
        image, path, saved = self._workspace.image, Path(file), self._as_it_is()
        if image is None or saved is None or not self._has_masks(str(image.unique_id)):
            show_warning("There is no mask yet, so there is nothing to export. Click an object.")
            return
        source = image.source.path and Path(image.source.path)
        self._run(
            lambda: export(saved(), format, path, source or None),
            lambda _: show_info(f"Exported to {path}."),
        )

    def open(self, folder: str) -> None:
        """Go on with a session that was saved, on the chosen image."""
        image, path = self._workspace.image, Path(folder)
        if image is None:
            show_warning("There is no image layer. Open the image of the session first.")
            return
        image_id, identify = str(image.unique_id), identify_layer(image)

        def read() -> SavedSession:
            saved = read_session(path, image_id)
            if differences := saved.image.differences(identify()):
                raise SessionError(
                    f"The session {path.name} is of another image, “{saved.image.name}”: in the "
                    f"viewer, {'; '.join(differences)}. Choose its image first."
                )
            return saved

        def take(found: object) -> None:
            assert isinstance(found, SavedSession)
            self._work.when_idle(lambda: self._take(image_id, found))

        self._run(read, take)

    def answer(self, restore: bool) -> None:
        """Restore the session that was offered, or delete it."""
        if self._offer is None:
            return
        image_id, path = self._offer
        if restore and self._has_work(image_id):
            show_warning(f"{_HAS_WORK} Undo it, then restore.")
            return
        self._drop_offer()
        if restore:
            self.open(str(path))
        else:
            self._run(lambda: delete(path), lambda _: None)

    def _as_it_is(self) -> Callable[[], SavedSession] | None:
        """The session of the chosen image as it is now, to be made in another thread."""
        image = self._workspace.image
        if image is None:
            return None
        image_id, identify = str(image.unique_id), identify_layer(image)
        log, masks = self._session.log, masks_of_image(image_id, self._session)
        channels, known = dict(self._channels), self._images.get(image_id)
        kept = known if known is not None and is_smaller(image, known) else None
        return lambda: saved_session(
            self._named(image_id, kept or identify()), image_id, log, masks, channels
        )

    def _named(self, image_id: str, image: ImageIdentity) -> ImageIdentity:
        """The image, with what the user has said of its axes where they have no names."""
        letters = self._workspace.kinds.letters(image_id, len(image.shape) - image.rgb)
        return image if image.axes else replace(image, axes=letters)

    def _drop_offer(self) -> None:
        self._offer = None
        self.offered.emit("")

    def _has_work(self, image_id: str) -> bool:
        return any(stack.image == image_id for stack in self._session.stacks)

    def _has_masks(self, image_id: str) -> bool:
        stacks = (stack for stack in self._session.stacks if stack.image == image_id)
        return any(self._session.frames(stack) for stack in stacks)

    def _take(self, image_id: str, saved: SavedSession) -> None:
        image = self._workspace.image
        if image is None or image_id != self._workspace.image_id:
            return  # deleted or left in the meantime
        session = self._session
        if self._has_work(image_id):
            show_warning(f"{_HAS_WORK} Undo it, or open the session in a new viewer.")
            return
        shared = changed_numbers(saved.log) & {entry.object_id for entry in session.objects}
        if shared:
            show_warning(
                f"Object {min(shared)} of that session is one of another image here, too, and "
                "opening it would change that. Open the session in a new viewer."
            )
            return
        self._workspace.targets.take_up(image)  # it shows what is restored
        self._workspace.targets.make(image)
        self._channels.update(saved.channels)
        if "t" in saved.image.axes:
            self._workspace.kinds.say(image, saved.image.axes.index("t"), is_time=True)
        with session.step("Open the session"):
            session.reopen(saved.log, saved.masks)
            self._prompting.draw(image_id)
            self._prompting.record_drawings(image_id)
        numbers = [entry.object_id for entry in session.objects]
        if numbers:
            self._prompting.set_active(max(numbers), True)
        self._go_to_masks()
        self._tell_channels(saved)

    def _go_to_masks(self) -> None:
        """Show a plane with prompts, where the one in view has no masks."""
        geometry = self._workspace.geometry()
        assert geometry is not None
        here, frame = geometry.key, self._workspace.frame(geometry)
        if self._session.masks(here, frame):
            return
        # a stack that lies across the screen cannot be gone to
        stacks = [s for s in self._session.stacks if s.plane_axes == here.plane_axes]
        for stack in sorted(stacks, key=lambda stack: stack != here):
            prompted = {at for _, at in self._session.prompts(stack)}
            if stack.image == here.image and prompted:
                nearest = min(prompted, key=lambda at: abs(at - frame))
                self._workspace.go_to(replace(geometry, key=stack), nearest)
                return

    def _tell_channels(self, saved: SavedSession) -> None:
        runs = [command for command in saved.log if isinstance(command, Run)]
        seen = {channel.image for run in runs[-1:] for channel in run.channels}
        names = sorted(image.name for key, image in saved.channels.items() if key in seen)
        if names:
            show_info(
                f"In this session the model saw further channels: {', '.join(names)}. Tick them "
                "under channels to go on as before."
            )

    def _on_layers_changed(self) -> None:
        image = self._workspace.image
        if self._offer is not None and self._offer[0] != self._workspace.image_id:
            self._drop_offer()
        if image is None or str(image.unique_id) in self._seen:
            return
        self._seen.add(str(image.unique_id))
        image.events.data.connect(self._on_pixels)
        image_id, identify = str(image.unique_id), identify_layer(image)
        pixels = full_resolution(image)

        def look() -> tuple[ImageIdentity, list[Path]]:
            identity = identify()
            return identity, earlier_sessions(identity)

        def take(found: tuple[ImageIdentity, list[Path]]) -> None:
            if full_resolution(image) is not pixels:
                return
            self._images[image_id], earlier = found
            self.save_soon()
            if earlier and image_id == self._workspace.image_id and not self._has_work(image_id):
                self._offer = image_id, earlier[0]
                self.offered.emit(f"You worked on this image on {_time(earlier[0])}. Restore it?")

        self._run(look, take)

    def _on_pixels(self, event: Any) -> None:
        """Go on in a new folder, as the session of the pixels that are there now.

        Of a smaller image masks may lie outside: what is done stays with the one before.
        """
        image = event.source
        image_id, pixels, identify = (
            str(image.unique_id),
            full_resolution(image),
            identify_layer(image),
        )
        known = self._images.get(image_id)
        if known is not None and is_smaller(image, known):
            return
        self.save()
        self._images.pop(image_id, None)
        before = self._savers.pop(image_id, None)

        def look() -> ImageIdentity:
            if before is not None:
                self._end(*before)
            return identify()

        def take(identity: ImageIdentity) -> None:
            if full_resolution(image) is pixels:
                self._images[image_id] = identity
                self.save_soon()

        self._run(look, take)

    def _end(self, saver: Saver, lock: FileLock) -> None:
        saver.close()
        if not self._session.log:
            delete(saver.path)  # all was taken back
        lock.release()

    def _on_channels_changed(self) -> None:
        for layer in self._workspace.channels.of(self._workspace.image):
            layer_id, data = str(layer.unique_id), full_resolution(layer)
            if layer_id not in self._channels:
                # known by its pixels once they are read; a run may begin before
                shape = tuple(int(length) for length in data.shape)
                known = ImageIdentity(layer.name, shape, str(np.dtype(data.dtype)), False, "")
                self._channels[layer_id] = known
                self._run(identify_layer(layer), partial(self._take_channel, layer_id))

    def _take_channel(self, layer_id: str, identity: ImageIdentity) -> None:
        self._channels[layer_id] = identity
        self.save_soon()

    def _begin(self, image_id: str) -> None:
        try:
            path, lock = new_folder(self._images[image_id])
        except OSError as error:
            self.failed.emit(error)
            del self._images[image_id]  # told once
            return
        saver = Saver(path, self._images[image_id], image_id)
        saver.failed.connect(self._on_failed)
        self._savers[image_id] = saver, lock

    def _on_failed(self, error: Exception) -> None:
        self.failed.emit(error)

    def _run(self, work: Callable[[], object], take: Callable[..., None]) -> None:
        """Work in a thread and take what it gives in this one."""

        def steps() -> Iterator[object]:
            yield work()

        def on_yielded(found: object) -> None:
            if isinstance(found, Failure):
                self.failed.emit(found.error)
            else:
                take(found)

        job = JobRunner()
        self._jobs.add(job)
        job.yielded.connect(on_yielded)
        job.finished.connect(lambda: self._jobs.discard(job))
        job.start(steps)


def _time(path: Path) -> str:
    changed = (path / JSON_NAME).stat().st_mtime
    return time.strftime("%d %B at %H:%M", time.localtime(changed))
