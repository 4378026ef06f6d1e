"""A session's folder: ``session.json`` and ``masks.zarr``.

Arrays are written first, always under new names, and ``session.json``, which names them, is
replaced last: whenever the program ends, the folder is a whole session.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.session import strict
from napari_sam2.session.image_json import read_channel, read_image, write_channel, write_image
from napari_sam2.session.log import Run
from napari_sam2.session.log_json import read_command, read_stack, write_command, write_stack
from napari_sam2.session.mask_arrays import read_masks, write_masks
from napari_sam2.session.saved import SavedSession
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_sam2.session.identity import ImageIdentity
    from napari_sam2.session.values import ObjectMask, StackKey

FORMAT, VERSION = "napari-sam2 session", 1
JSON_NAME, ZARR_NAME = "session.json", "masks.zarr"
_IMAGE = "image"  # what stands for the image in `StackKey` once it is saved


@dataclass(frozen=True, eq=False)
class _Written:
    """Masks of a frame and where they were written: the array, and which of its frames."""

    masks: Mapping[int, ObjectMask]
    array: str
    index: int
    sha256: str

    @property
    def place(self) -> tuple[str, int, str]:
        return self.array, self.index, self.sha256


class SessionError(ValueError):
    """A folder is no session, or a damaged one."""


class SessionFolder:
    """Writes a session to a folder again and again, each time only what has changed.

    Parameters
    ----------
    path : Path
        The folder; made where it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[tuple[StackKey, int], _Written] = {}
        taken = [int(each.name) for each in (path / ZARR_NAME).glob("*") if each.name.isdigit()]
        self._next = max(taken, default=-1) + 1

    def write(self, saved: SavedSession) -> None:
        """Bring the folder up to date.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        arrays = self.path / ZARR_NAME
        arrays.mkdir(parents=True, exist_ok=True)
        if not (arrays / "zarr.json").exists():
            import zarr

            zarr.create_group(str(arrays), zarr_format=3)
        wanted = {
            (stack, frame): masks
            for stack, frames in saved.masks.items()
            for frame, masks in frames.items()
        }
        written = {
            key: earlier
            for key, earlier in self._written.items()
            if wanted.get(key) == earlier.masks  # the same masks, if in another mapping
        }
        new = {key: masks for key, masks in wanted.items() if key not in written}
        if new:
            name = str(self._next)
            self._next += 1
            digests = write_masks(arrays, name, list(new.values()))
            for index, (key, digest) in enumerate(zip(new, digests, strict=True)):
                written[key] = _Written(new[key], name, index, digest)
        self._written = written
        content = _content(saved, written)
        whole = {"format": FORMAT, "version": VERSION, "sha256": _digest(content)}
        with replacing(self.path / JSON_NAME) as partial:
            partial.write_text(json.dumps({**whole, "session": content}), encoding="utf-8")
        self._clean(arrays)

    def _clean(self, arrays: Path) -> None:
        used = {each.array for each in self._written.values()}
        for each in arrays.iterdir():
            if each.name.isdigit() and each.name not in used:
                shutil.rmtree(each, ignore_errors=True)


def image_of(path: Path) -> ImageIdentity | None:
    """The image of the session in a folder; None where that cannot be told."""
    try:
        whole = json.loads((path / JSON_NAME).read_text(encoding="utf-8"))
        return read_image(whole["session"]["image"])
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return None


def read_session(path: Path, image: str = _IMAGE) -> SavedSession:
    """Read a session; nothing in it is ever executed.

    Parameters
    ----------
    path : Path
        The folder.
    image : str
        What identifies the image in `StackKey` from now on.

    Raises
    ------
    SessionError
        When the folder is no session, or not as it was written.
    """
    try:
        text = (path / JSON_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SessionError(
            f"{path} is no session: it has no {JSON_NAME} that can be read. Give the folder that "
            "a session was saved to."
        ) from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{path / JSON_NAME} is damaged: it is not JSON ({error}).") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise SessionError(f"{path / JSON_NAME} was not written by napari-sam2.")
    if whole.get("version") != VERSION:
        raise SessionError(
            f"{path} has version {whole.get('version')!r} of the format, but this napari-sam2 "
            f"reads version {VERSION}. Open it with the version that saved it."
        )
    try:
        content = strict.record(whole, "format", "version", "sha256", "session")["session"]
        if _digest(content) != whole["sha256"]:
            raise strict.FormatError("its checksum is wrong")
        saved = _read_content(content, path / ZARR_NAME, image)
        # a log that contradicts itself fails here, and not in the session of the user
        Session().reopen(saved.log, saved.masks)
        return saved
    except strict.FormatError as error:
        raise SessionError(f"{path} is damaged, or was changed by hand: {error}.") from error
    except Exception as error:  # zarr raises anything when a file of its own is broken
        raise SessionError(
            f"{path} is damaged ({type(error).__name__}: {error}). Go back to a copy of it."
        ) from error


def _content(
    saved: SavedSession,
    written: Mapping[tuple[StackKey, int], _Written],
) -> dict[str, Any]:
    runs = [command for command in saved.log if isinstance(command, Run)]
    channels = list(dict.fromkeys(channel for run in runs for channel in run.channels))
    written_channels = [write_channel(channel, saved.channels) for channel in channels]
    return {
        "image": write_image(saved.image),
        "models": dict(saved.models),
        **({"channels": written_channels} if channels else {}),
        "log": [write_command(command, channels) for command in saved.log],
        "masks": [
            {
                "stack": write_stack(stack),
                "frames": [[frame, *written[stack, frame].place] for frame in frames],
            }
            for stack, frames in saved.masks.items()
        ],
    }


def _read_content(value: Any, arrays: Path, image: str) -> SavedSession:
    names = ["channels"] * (isinstance(value, dict) and "channels" in value)
    content = strict.record(value, "image", "models", "log", "masks", *names)
    further: dict[str, ImageIdentity] = {}
    channels = strict.listing(
        content.get("channels", []), lambda each: read_channel(each, image, further)
    )
    models = content["models"]
    if not isinstance(models, dict):
        raise strict.FormatError("the models should be a record")
    masks: dict[StackKey, dict[int, Mapping[int, ObjectMask]]] = {}
    opened: dict[str, list[tuple[str, Mapping[int, ObjectMask]]]] = {}
    for entry in strict.listing(
        content["masks"], lambda each: strict.record(each, "stack", "frames")
    ):
        frames = masks.setdefault(read_stack(entry["stack"], image), {})
        for frame, name, index, sha256 in strict.listing(entry["frames"], _read_frame):
            found = opened[name] = opened.get(name) or read_masks(arrays, name)
            if not index < len(found) or found[index][0] != sha256:
                raise strict.FormatError(f"the checksum of frame {frame} is wrong")
            frames[frame] = found[index][1]
    saved = SavedSession(
        read_image(content["image"]),
        {name: strict.text(sha256) for name, sha256 in models.items()},
        strict.listing(content["log"], lambda each: read_command(each, image, channels)),
        masks,
        further,
    )
    if saved.fitting() is not saved:
        raise strict.FormatError("it is of other axes than its image")
    return saved


def _read_frame(value: Any) -> tuple[int, str, int, str]:
    frame, name, index, sha256 = strict.listing(value, lambda each: each, 4)
    # a number: a path could lead out of the folder
    if not strict.text(name).isdecimal():
        raise strict.FormatError(f"there should be the number of an array, not {name!r}")
    return strict.integer(frame), name, strict.integer(index), strict.text(sha256)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
