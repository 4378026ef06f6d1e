"""Sessions and masks in files that the user asks for, and earlier sessions that are offered."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from psygnal import Signal

from napari_sam2.plugin.layers.image_identity import named
from napari_sam2.plugin.session_folders import delete, earlier_sessions
from napari_sam2.session.export import export
from napari_sam2.session.folder import (
    JSON_NAME,
    SessionError,
    SessionFolder,
    image_of,
    read_session,
)
from napari_sam2.session.log import Run
from napari_sam2.session.saved import changed_numbers, masks_of_image
from napari_sam2.session.saver import saved_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image

    from napari_sam2.plugin.job_runner import Jobs
    from napari_sam2.plugin.layers.image_identity import Identities
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.plugin.prompting import Prompting
    from napari_sam2.plugin.saving import Saving
    from napari_sam2.plugin.work import Work
    from napari_sam2.session.export import Format
    from napari_sam2.session.saved import SavedSession
    from napari_sam2.session.session import Session

_HAS_WORK = "There is work on this image already."


class SessionFiles:
    """Saves elsewhere, exports, opens and restores the session of the chosen image.

    Parameters
    ----------
    session : Session
        What is saved.
    workspace : Workspace
        Has the image.
    prompting : Prompting
        Draws the prompts of a session that is opened.
    work : Work
        Tells when a session can be opened.
    saving : Saving
        Saves it from then on.
    identities : Identities
        Tells the images of sessions apart.
    jobs : Jobs
        Reads and writes.

    Attributes
    ----------
    offered : Signal(str)
        Emitted with the question whether to restore an earlier session, and with "" when it is
        asked no longer.
    model_found : Signal(object)
        Emitted with the `ModelChoice` that ran last in a session that was opened.
    """

    offered = Signal(str)
    model_found = Signal(object)

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        prompting: Prompting,
        work: Work,
        saving: Saving,
        identities: Identities,
        jobs: Jobs,
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._prompting = prompting
        self._work = work
        self._saving = saving
        self._identities = identities
        self._jobs = jobs
        self._offers: dict[str, tuple[Path, str]] = {}  # by image; with the question
        self._asked = ""
        identities.found.connect(self._on_found)
        identities.replaced.connect(self._drop_offer)
        workspace.layers_changed.connect(self._show_offer)

    def save_as(self, folder: str) -> None:
        """Save the session of the chosen image to a folder of the user's."""
        path, saved = Path(folder), self._as_it_is()
        if saved is None:
            show_warning("There is no image layer, so there is nothing to save.")
            return
        if path.is_dir() and any(path.iterdir()) and not (path / JSON_NAME).exists():
            show_warning(f"{path} is not empty. Choose an empty folder, or make one.")
            return

        def write() -> None:
            new, there = saved(), image_of(path)
            if (path / JSON_NAME).exists() and (there is None or there.differences(new.image)):
                of = "cannot be read" if there is None else f"is of another image, “{there.name}”"
                raise SessionError(f"The session in {path} {of}. Choose an empty folder.")
            SessionFolder(path).write(new)

        self._jobs.run(write, lambda _: show_info(f"The session is saved to {path}."))

    def export(self, format: Format, file: str) -> None:
        """Write the masks of the chosen image in a format of other programs."""
        image, path, saved = self._workspace.image, Path(file), self._as_it_is()
        if image is None or saved is None or not self._has_masks(str(image.unique_id)):
            show_warning("There is no mask yet, so there is nothing to export. Click an object.")
            return
        source = image.source.path and Path(image.source.path)
        self._jobs.run(
            lambda: export(saved(), format, path, source or None),
            lambda _: show_info(f"Exported to {path}."),
        )

    def open(self, folder: str) -> None:
        """Go on with a session that was saved, on the chosen image."""
        image, path = self._workspace.image, Path(folder)
        if image is None:
            show_warning("There is no image layer. Open the image of the session first.")
            return
        image_id, identity = str(image.unique_id), self._identities.of(image)

        def read() -> SavedSession:
            saved = read_session(path, image_id)
            if differences := saved.image.differences(identity()):
                raise SessionError(
                    f"The session {path.name} is of another image, “{saved.image.name}”: in the "
                    f"viewer, {'; '.join(differences)}. Choose its image first."
                )
            return saved

        self._jobs.run(
            read, lambda saved: self._work.when_idle(lambda: self._take(image_id, saved))
        )

    def answer(self, restore: bool) -> None:
        """Restore the session that was offered, or delete it."""
        image_id = self._workspace.image_id
        if image_id is None or image_id not in self._offers:
            return
        if restore and self._has_work(image_id):
            show_warning(f"{_HAS_WORK} Undo it, then restore.")
            return
        path, _ = self._offers[image_id]
        for other in [each for each, (offered, _) in self._offers.items() if offered == path]:
            self._drop_offer(other)
        if restore:
            self.open(str(path))
        else:
            self._jobs.run(lambda: delete(path))

    def _as_it_is(self) -> Callable[[], SavedSession] | None:
        """The session of the chosen image as it is now, to be made in another thread."""
        image = self._workspace.image
        if image is None:
            return None
        image_id, identity = str(image.unique_id), self._identities.of(image)
        log, masks = self._session.log, masks_of_image(image_id, self._session)
        known, letters = dict(self._identities.known), self._workspace.axis_letters(image_id)
        return lambda: saved_session(named(identity(), letters), image_id, log, masks, known)

    def _has_work(self, image_id: str) -> bool:
        return any(stack.image == image_id for stack in self._session.stacks)

    def _has_masks(self, image_id: str) -> bool:
        stacks = (stack for stack in self._session.stacks if stack.image == image_id)
        return any(self._session.frames(stack) for stack in stacks)

    def _take(self, image_id: str, saved: SavedSession) -> None:
        image = self._workspace.image
        if image is None or image_id != self._workspace.image_id:
            if image_id in self._identities.known:
                self._on_found(image_id)  # left in the meantime, if not deleted: offered again
            return
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
        self._identities.known.update(saved.channels)
        if "t" in saved.image.axes:
            self._workspace.kinds.say(image, saved.image.axes.index("t"), is_time=True)
        earlier = {entry.object_id for entry in session.objects}
        with session.step("Open the session"):
            session.reopen(saved.log, saved.masks)
            self._prompting.draw(image_id)
            self._prompting.record_drawings(image_id)
        self._saving.note_opened(image_id)
        opened = {entry.object_id for entry in session.objects} - earlier
        self._prompting.give_way(opened)
        if opened:
            self._prompting.set_active(max(opened), True)
        elif not self._prompting.is_active_new():
            self._prompting.new_object()
        self._go_to_masks()
        self._go_on_as_before(image, saved)

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

    def _go_on_as_before(self, image: Image, saved: SavedSession) -> None:
        """Let the next run see what the last one saw, with the same model."""
        runs = [command for command in saved.log if isinstance(command, Run)]
        if not runs:
            return
        last = runs[-1]
        self.model_found.emit(last.model)
        if last.contrast_limits is not None and not (last.channels or image.rgb):
            image.contrast_limits = last.contrast_limits
        seen = {channel.image for channel in last.channels}
        names = sorted(other.name for key, other in saved.channels.items() if key in seen)
        if names:
            show_info(
                f"In this session the model saw further channels: {', '.join(names)}. Tick them "
                "under channels to go on as before."
            )

    def _on_found(self, image_id: str) -> None:
        identity = self._identities.known[image_id]

        def look() -> list[tuple[Path, str]]:
            return [(path, _question(path)) for path in earlier_sessions(identity)[:1]]

        def take(earlier: list[tuple[Path, str]]) -> None:
            same = self._identities.known[image_id].sha256 == identity.sha256
            if earlier and same and not self._has_work(image_id):
                self._offers[image_id] = earlier[0]
                self._show_offer()

        self._jobs.run(look, take)

    def _drop_offer(self, image_id: str) -> None:
        self._offers.pop(image_id, None)
        self._show_offer()

    def _show_offer(self) -> None:
        """Ask for the image in use, where there is something to restore."""
        _, asked = self._offers.get(self._workspace.image_id or "", (None, ""))
        if asked != self._asked:
            self._asked = asked
            self.offered.emit(asked)


def _question(path: Path) -> str:
    changed = time.localtime((path / JSON_NAME).stat().st_mtime)
    return f"You worked on this image on {time.strftime('%d %B at %H:%M', changed)}. Restore it?"
