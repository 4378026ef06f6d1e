"""``napari-sam2 replay`` and ``export``: a saved session without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.cli.errors import InputError
from napari_sam2.cli.image_search import find_images
from napari_sam2.cli.progress import progress_bar
from napari_sam2.inference.label_files import check_output, write_labels
from napari_sam2.session.export import Format, export
from napari_sam2.session.folder import SessionError, read_session
from napari_sam2.session.identity import identify_model
from napari_sam2.session.labels import write_labels as write_change
from napari_sam2.session.replay import replay
from napari_sam2.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam2.session.saved import SavedSession


def run_replay(session: Path, images: Sequence[Path], output: Path) -> list[str]:
    """Repeat a session and write its labels.

    Parameters
    ----------
    session : Path
        The folder of the session.
    images : sequence of Path
        The image and those of its further channels, in any order; one file may hold several.
    output : Path
        The TIFF for the labels.

    Returns
    -------
    list of str
        Lines for the user.

    Raises
    ------
    InputError
        When something cannot be used, or is not what the session was made with.
    OSError
        When the labels cannot be written.
    """
    saved = _read(session)
    for path in images:
        check_output(output, path)
    opened, channels = find_images(saved, images)
    _check_models(saved)
    numbers = {getattr(each, name, 0) for each in saved.log for name in ("object_id", "part")}
    labels = np.zeros(
        opened.shape, dtype=np.uint16 if max(numbers, default=0) < 2**16 else np.uint32
    )
    again = Session()
    again.masks_changed.connect(lambda change: write_change(labels, change))
    with progress_bar(len(saved.log)) as show:
        try:
            replay(saved.log, again, opened.data, opened.rgb, None, show, channels, opened.coarser)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(f"The session cannot be repeated: {error}") from error
        show(len(saved.log))
    write_labels(output, labels, opened.axes)
    count = len(saved.log)
    return [
        f"{count} command{'s' * (count != 1)} repeated.",
        f"Labels of shape {labels.shape}, {labels.dtype}: {output}",
    ]


def run_export(session: Path, format: Format, output: Path) -> list[str]:
    """Write a session in another format.

    Parameters
    ----------
    session : Path
        The folder of the session.
    format : {"tiff", "ome-zarr", "coco", "tracks"}
        What to write.
    output : Path
        The file, or for OME-Zarr the folder.

    Returns
    -------
    list of str
        Lines for the user.

    Raises
    ------
    InputError
        When something cannot be used.
    OSError
        When the output cannot be written.
    """
    export(_read(session), format, output)
    return [f"Written: {output}"]


def _read(path: Path) -> SavedSession:
    try:
        return read_session(path)
    except SessionError as error:
        raise InputError(str(error)) from error


def _check_models(saved: SavedSession) -> None:
    """Refuse a model that the session was not made with."""
    for name, sha256 in saved.models.items():
        try:
            other = identify_model(name)
        except OSError as error:
            raise InputError(f"The model {name} of the session is not here: {error}") from error
        if sha256 and other != sha256:
            raise InputError(
                f"The model {name} is another one than that of the session: its SHA-256 is "
                f"{other[:12]}…, not {sha256[:12]}…. Use the file that the session was made with."
            )
