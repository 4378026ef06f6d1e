"""The folder for labels: what is in it, and how it was made."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.batch.jobs import RECORD, is_labels, read_record
from napari_sam2.batch.segment import FileReport, count_whole
from napari_sam2.checkpoints.replacing import remove, replacing
from napari_sam2.inference.errors import InputError, in_words
from napari_sam2.session.ctc import are_tracks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from napari_sam2.batch.jobs import Job

# of `replacing`, and of images in blocks
_PARTIAL = re.compile(
    r"\.+.+_labels(\.ome)?(\.[0-9a-f]{12})?(\.\d+-\d+\.(part|gone))+\.(tif|zarr|csv|ctc|blocks)"
)
_BLOCKS = re.compile(r"\.(.+_labels(?:\.ome)?)\.[0-9a-f]{12}\.blocks")


class OutputFolder:
    """A folder with labels, ``report.csv``, and ``batch.json``: how they were made, and of what.

    Parameters
    ----------
    path : Path
        Made when something is written.
    jobs : iterable of Job
        Those whose labels lie in it, in folders of it perhaps.
    """

    def __init__(self, path: Path, jobs: Iterable[Job]) -> None:
        self.path = path
        outputs = [job.output for job in jobs]
        self._folders = {path, *(output.parent for output in outputs)}
        self._own = {output.with_name(output.stem) for output in outputs}
        self._made = self._read()

    def check(self, record: dict[str, Any], made_again: set[Path]) -> None:
        """Refuse to leave labels of other settings beside new ones.

        Parameters
        ----------
        record : dict
            The settings, and ``"sha256"`` of the model; what it is called does not count.
        made_again : set of Path
            Labels that will not be left.

        Raises
        ------
        InputError
            When labels were made otherwise.
        """
        made = self._made
        other = [key for key in record if key != "model" and made.get(key) != record[key]]
        other = other if made else ["not known"]
        known = (self.path / key for key in made.get("images", {}))  # in other folders, too
        kept = (path for path in (*self._entries(), *known) if is_labels(path) and path.exists())
        if other and (found := next((path for path in kept if path not in made_again), None)):
            raise InputError(
                f"{found} was made with other settings ({', '.join(other)}). Choose another "
                "--output, or --overwrite with all of its images."
            )
        foreign = [] if made else [self._record, self.path / "report.csv"]
        for path in foreign:
            if path.exists():
                raise InputError(f"{path} is not of a batch. Choose another --output, or move it.")

    def done_before(self, job: Job, image: str) -> FileReport | None:
        """What became of an image in an earlier run, if its labels are whole and of this image.

        Parameters
        ----------
        job : Job
            Of the image.
        image : str
            What `fingerprint` gives of it.
        """
        if self._known(job)[1] != image:
            return None
        count = count_whole(job.output)
        return None if count is None else FileReport(job.name, "skipped", count)

    def check_source(self, job: Job) -> None:
        """Refuse to replace the labels of another image, which is called alike; see `check`."""
        source = Path(self._known(job)[0])
        if not (source.is_absolute() and source.exists() and job.source.exists()):
            return  # not known, or moved, or to be reported
        if not source.samefile(job.source):
            raise InputError(
                f"{job.output} has the labels of {source}, not of {job.source}. Choose another "
                "--output, or --overwrite."
            )

    @contextmanager
    def begin(
        self, record: dict[str, Any], todo: Mapping[Job, str], kept: Collection[Path] = ()
    ) -> Iterator[None]:
        """Keep other runs away, and remove what is made again or was left by killed workers.

        Parameters
        ----------
        record : dict
            As `check` takes it.
        todo : mapping of Job to str
            Whose labels are made, and what `fingerprint` gives of the images.
        kept : collection of Path
            Folders with blocks to go on with.

        Raises
        ------
        InputError
            When another run is at it, or the folder cannot be written.
        """
        from filelock import FileLock

        with ExitStack() as stack:
            with self._beginning():
                for folder in self._folders:
                    folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(self.path / ".batch.lock", timeout=0))
                self._prepare(record, todo, kept)
            yield
            self._remove_partial(kept)

    def write_report(self, reports: Iterable[FileReport]) -> None:
        """Write ``report.csv``."""
        names = [field.name for field in fields(FileReport)]
        with (
            replacing(self.path / "report.csv") as partial,
            # files may have names that are no text
            partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            csv.writer(file).writerows([names, *map(astuple, reports)])

    @property
    def _record(self) -> Path:
        return self.path / RECORD

    def _read(self) -> dict[str, Any]:
        return read_record(self.path) or {}

    def _known(self, job: Job) -> tuple[str, str]:
        """The image that labels were made of, and its fingerprint; empty where it is not known."""
        known = self._made.get("images", {}).get(self._key(job), "")
        return ("", known) if isinstance(known, str) else (known["path"], known["fingerprint"])

    @contextmanager
    def _beginning(self) -> Iterator[None]:
        """Nothing is done yet: what goes wrong is no failure of an image."""
        from filelock import Timeout

        try:
            yield
        except Timeout as error:
            raise InputError(
                f"Another run writes to {self.path}. Wait for it, or choose another --output."
            ) from error
        except OSError as error:
            raise InputError(in_words(error)) from error

    def _prepare(
        self, record: dict[str, Any], todo: Mapping[Job, str], kept: Collection[Path]
    ) -> None:
        self._check_free(todo)
        self._remove_partial(kept)
        images = self._read().get("images", {})
        # what is removed is not taken for done, nor labels of other settings, whenever this ends
        others = {key: each for key, each in images.items() if key not in map(self._key, todo)}
        self._write_record(record, others)
        for job in todo:
            for path in (job.output, job.tracks, job.ctc):
                remove(path)
        remove(self.path / "report.csv")
        # known before labels are there: an image that changes meanwhile is done again
        new = {
            self._key(job): {"path": str(job.source), "fingerprint": image}
            for job, image in todo.items()
        }
        self._write_record(record, others | new)

    def _write_record(self, record: dict[str, Any], images: dict[str, Any]) -> None:
        record = {**record, "images": dict(sorted(images.items()))}
        with replacing(self._record) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def _check_free(self, jobs: Iterable[Job]) -> None:
        """Refuse to take what only has the name of tracks for tracks of an earlier run."""
        for job in jobs:
            known = job.output.exists() or self._key(job) in self._made.get("images", {})
            for path in (job.tracks, job.ctc):
                if path.exists() and not (known and are_tracks(path)):
                    raise InputError(
                        f"{path} is not of a batch, but called as the tracks of {job.name} are. "
                        "Choose another --output, or rename it."
                    )

    def _key(self, job: Job) -> str:
        return job.output.relative_to(self.path).as_posix()

    def _remove_partial(self, kept: Collection[Path]) -> None:
        for path in list(self._entries()):
            if _PARTIAL.fullmatch(path.name) or (self._are_own_blocks(path) and path not in kept):
                remove(path)

    def _are_own_blocks(self, path: Path) -> bool:
        """Whether blocks are of an image of this run, and not of one that another goes on with."""
        found = _BLOCKS.fullmatch(path.name)
        return found is not None and path.with_name(found[1]) in self._own

    def _entries(self) -> Iterator[Path]:
        for folder in self._folders:
            if folder.is_dir():
                yield from folder.iterdir()


def fingerprint(image: Path) -> str:
    """What is another when an image has changed, of the sizes and the times of its files.

    The time of a zarr folder alone would stay when chunks are written.
    """
    inside = [os.path.join(at, name) for at, _, names in os.walk(image) for name in names]
    digest = hashlib.sha256()
    try:
        for path in sorted(inside) or [str(image)]:
            status = os.stat(path)
            told = path.removeprefix(str(image)), status.st_size, status.st_mtime_ns
            digest.update(repr(told).encode())
    except OSError:  # it will be reported
        return ""
    return digest.hexdigest()
