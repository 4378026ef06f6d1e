"""Which images there are, and where the labels of each go."""

from __future__ import annotations

import glob
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.inference.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KINDS = {".tif", ".tiff", ".png"}  # besides zarr folders
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")
_CTC = ".ctc"
RECORD = "batch.json"  # in the folder for labels
_LABELS = re.compile(r"[^.].*_labels(\.tif|\.ome\.zarr)")


@dataclass(frozen=True)
class Job:
    """An image and the place of its labels.

    Attributes
    ----------
    name : str
        The image's path below the folder that all images have in common.
    source, output : Path
        The image, and its labels: OME-Zarr for a zarr folder, TIFF for others.
    """

    name: str
    source: Path
    output: Path

    @property
    def tracks(self) -> Path:
        """The table of a time-lapse's tracks, beside the labels."""
        return self.output.with_suffix(".csv")

    @property
    def ctc(self) -> Path:
        """The folder with a time-lapse's tracks for the Cell Tracking Challenge."""
        return self.output.with_suffix(_CTC)


def find_jobs(inputs: str | Path | Iterable[str | Path], output: Path) -> list[Job]:
    """Find images, and lay out their labels as they lie.

    Parameters
    ----------
    inputs : str, Path or iterable of these
        Files, zarr folders, folders to be searched with all below them, and patterns such as
        ``"plates/*/nuclei_*.tif"``. In folders and patterns TIFF, PNG and zarr are taken, hidden
        files are not, nor are labels in the output folder or that of another run, and what is in
        folders called ``.ctc``.
    output : Path
        The folder for labels.

    Returns
    -------
    list of Job
        In the order of their names.

    Raises
    ------
    InputError
        When one of the inputs finds nothing, or two images would have the same labels. A file that
        is not there, beside others that are, is left to be reported.
    """
    output = _absolute(output)
    inputs = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    found: set[Path] = set()
    roots = []
    if not inputs:
        raise InputError("There are no inputs. Give files, folders or patterns.")
    for each in inputs:
        root, paths = _search(each)
        images = [path for path in map(_absolute, paths) if not _is_ours(path, output)]
        if not images:
            raise InputError(f"There is no TIFF, PNG or zarr image in {each}. Check the path.")
        found.update(images)
        roots.append(_absolute(root))
    if not any(map(os.path.lexists, found)):
        raise InputError(f"There is no file {inputs[0]}. Check the path.")
    try:
        root = Path(os.path.commonpath(roots))
    except ValueError as error:  # other drives of Windows, or none at all
        raise InputError("Give images that lie on one drive.") from error
    jobs: dict[str, Job] = {}
    for source in sorted(found):
        job = _job(source, root, output)
        other = jobs.setdefault(os.path.normcase(job.output), job)
        if other is not job:
            raise InputError(
                f"{other.name} and {job.name} would both have the labels "
                f"{job.output.relative_to(output)}. Rename one, or give them another --output each."
            )
    return list(jobs.values())


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a run has written of itself to its folder for labels; None where there was none."""
    record = _read_json(folder / RECORD)
    return record if "images" in record else None


def is_labels(path: Path) -> bool:
    """Whether a file or folder is named as labels are."""
    return _LABELS.fullmatch(path.name) is not None


def _job(source: Path, root: Path, output: Path) -> Job:
    name = source.relative_to(root)
    ending = ".ome.zarr" if source.is_dir() else ".tif"
    stem = name.name.removesuffix(".zarr") if source.is_dir() else name.stem
    stem = stem.removesuffix(".ome")
    return Job(name.as_posix(), source, output / name.with_name(f"{stem}_labels{ending}"))


def _search(given: str | Path) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the images."""
    path = Path(given)
    if _is_zarr(path) and _groups_inside(path):
        return path, list(_images_at(path))
    if _is_zarr(path) or path.is_file():
        return path.parent, [path]
    if path.is_dir():
        try:
            return path, list(_images_below(path, frozenset()))
        except OSError as error:
            raise InputError(f"{given} cannot be read ({error.strerror}).") from error
    if not glob.has_magic(str(given)):
        return path.parent, [path]
    plain = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    matches = sorted(map(Path, glob.glob(str(given), recursive=True)))
    is_image = cache(lambda folder: _is_zarr(folder) and not _groups_inside(folder))
    # what is inside a zarr image is no image of its own
    outer = [
        match
        for match in matches
        if not any(is_image(folder) for folder in match.parents if plain in folder.parents)
    ]
    return plain, [image for match in outer for image in _images_at(match)]


def _images_at(path: Path, within: frozenset[str] = frozenset()) -> Iterator[Path]:
    """The images; what cannot be read is taken for one, which is then reported."""
    if _is_zarr(path):
        groups = _groups_inside(path)
        for group in groups:
            yield from _images_at(group, within)
        if not groups:
            yield path
    # a link to what is not there is no file
    elif path.suffix.lower() in KINDS and (path.is_file() or path.is_symlink()):
        yield path
    elif path.is_dir():
        try:
            yield from _images_below(path, within)
        except OSError:
            yield path


def _images_below(folder: Path, within: frozenset[str]) -> Iterator[Path]:
    itself = os.path.realpath(folder)
    if itself in within:
        return  # by a link to a folder that it lies in
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            yield from _images_at(path, within | {itself})


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and (
        # `Path.is_file` would raise where the folder cannot be read
        path.suffix == ".zarr" or any(os.path.isfile(path / name) for name in _ZARR_FILES)
    )


def _groups_inside(path: Path) -> list[Path]:
    """The groups in a zarr group that is no image, such as the wells of a plate."""
    attributes = _attributes(path)
    if {"multiscales", "bioformats2raw.layout"} & attributes.keys():
        return []
    try:
        inside = [each for each in sorted(path.iterdir()) if each.is_dir()]
    except OSError:
        return []
    zarr_inside = [each for each in inside if _is_zarr(each)]
    return [] if any(map(_is_array, zarr_inside)) or _is_array(path) else zarr_inside


def _attributes(path: Path) -> dict[str, Any]:
    """What a zarr group says of itself."""
    try:
        own = _read_json(path / "zarr.json").get("attributes", {})
        attributes = {**_read_json(path / ".zattrs"), **own}
        return {**attributes, **attributes.get("ome", {})}
    except TypeError:  # no records
        return {}


def _is_array(path: Path) -> bool:
    node = _read_json(path / "zarr.json").get("node_type")
    return node == "array" or (path / ".zarray").is_file()


def _read_json(path: Path) -> dict[str, Any]:
    """A record of a file; an empty one where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_ours(path: Path, output: Path) -> bool:
    # a folder for the Cell Tracking Challenge is replaced as a whole: it must hold no other labels
    if path.parent.suffix == _CTC:
        return True
    return is_labels(path) and any(
        folder == output or read_record(folder) is not None for folder in path.parents
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # links stay as the user named them
