"""Tracks as files: a table, and the format of the Cell Tracking Challenge."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.checkpoints.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


TABLE = ("id", "t", "y", "x", "parent")
MOST = 65535  # tracks, as masks have 16 bits


def write_tracks(path: Path, tracks: NDArray[np.float64], parents: Mapping[int, int]) -> None:
    """Write tracks as a CSV, all or nothing: id, t, y, x, and the mother's id where there is one.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    tracks : array of float64, shape (N, 4)
        (id, frame, row, column) of each object on each frame.
    parents : mapping of int to int
        The mother's id for that of each daughter.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(TABLE)
        for number, frame, *centre in tracks.tolist():
            writer.writerow((int(number), int(frame), *centre, parents.get(int(number), "")))


def are_tracks(path: Path) -> bool:
    """Whether a file, or a folder, is as `write_tracks`, or `write_ctc`, writes them."""
    if path.is_dir():
        return (path / "res_track.txt").exists()
    with path.open("rb") as file:
        return file.readline().strip() == ",".join(TABLE).encode()


def write_ctc(
    folder: Path, labels: Any, parents: Mapping[int, int], *, truth: bool = False
) -> None:
    """Write tracks as the Cell Tracking Challenge takes them: a mask a frame, and a table.

    In that format a track has no gaps: one that is absent for a while goes on as another one,
    whose parent it is.

    Parameters
    ----------
    folder : Path
        Made if it is not there. Masks and the table that are there are replaced.
    labels : array-like of int, shape (T, Y, X) or (T, Z, Y, X)
        The tracks, read a frame at a time; 0 is background.
    parents : mapping of int to int
        The mother's label for that of each daughter.
    truth : bool
        Give files the names of a truth (``man_track``) rather than of results (``res_track``).

    Raises
    ------
    ValueError
        When there are more tracks than the format's 16 bits have numbers.
    """
    import tifffile

    folder.mkdir(parents=True, exist_ok=True)
    frames = labels.shape[0]  # zarr arrays have no length
    present: dict[int, list[int]] = {}
    for frame in range(frames):
        for label in np.unique(np.asarray(labels[frame])).tolist():
            if label:
                present.setdefault(label, []).append(frame)
    rows: list[tuple[int, int, int, int]] = []  # label, first frame, last frame, parent
    names: list[dict[int, int]] = [{} for _ in range(frames)]
    last: dict[int, int] = {}  # the number of each track's last piece
    for label, seen in sorted(present.items(), key=lambda item: item[1]):
        cuts = np.flatnonzero(np.diff(seen) > 1) + 1
        parent = last.get(parents.get(label, 0), 0)
        for piece in np.split(np.array(seen), cuts):
            number = len(rows) + 1
            rows.append((number, int(piece[0]), int(piece[-1]), parent))
            for frame in piece:
                names[frame][label] = number
            parent = last[label] = number
    if len(rows) > MOST:
        raise ValueError(
            f"There are {len(rows)} tracks, but the format ends at {MOST}. Write fewer frames."
        )
    digits = max(3, len(str(frames - 1)))
    stem = "man_track" if truth else "mask"
    written = [f"{stem}{frame:0{digits}d}.tif" for frame in range(frames)]
    for frame, (name, numbers) in enumerate(zip(written, names, strict=True)):
        mask = _renamed(np.asarray(labels[frame]), numbers)
        tifffile.imwrite(folder / name, mask, compression="zlib")
    for other in folder.glob(f"{stem}*.tif"):  # of a longer film, which was there before
        if other.name not in written and other.stem.removeprefix(stem).isdigit():
            other.unlink()
    table = "".join(f"{' '.join(map(str, row))}\n" for row in rows)
    with replacing(folder / f"{'man' if truth else 'res'}_track.txt") as partial:
        partial.write_text(table, encoding="utf-8")


def _renamed(plane: NDArray[Any], numbers: Mapping[int, int]) -> NDArray[np.uint16]:
    values, flat = np.unique(plane, return_inverse=True)
    new = np.array([numbers.get(value, 0) for value in values.tolist()], np.uint16)
    renamed: NDArray[np.uint16] = new[flat].reshape(plane.shape)
    return renamed
