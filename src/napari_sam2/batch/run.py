"""Segment everything in many images: what is done already stays, what fails is reported."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam2.batch.blocks import BlockDone, in_blocks, link_blocks, sample_limits, search_block
from napari_sam2.batch.cluster import open_client
from napari_sam2.batch.folder import OutputFolder, fingerprint
from napari_sam2.batch.jobs import find_jobs
from napari_sam2.batch.segment import BatchSettings, FileReport, do_job, make_ready, one_line
from napari_sam2.checkpoints.replacing import remove
from napari_sam2.inference.errors import InputError
from napari_sam2.session.identity import identify_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from napari_sam2.batch.blocks import Block


def run_batch(
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    settings: BatchSettings | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    overwrite: bool = False,
) -> list[FileReport]:
    """Segment everything in many images.

    A script that calls it must do so below ``if __name__ == "__main__":``, as each worker process
    imports it.

    Parameters
    ----------
    inputs, output, settings, overwrite
        As in `Batch`.
    workers : int, optional
        How many processes. By default one for each GPU; on a CPU as many as its cores and its free
        memory suffice for. Labels do not depend on it.
    scheduler : str, optional
        The address of a Dask scheduler whose workers are to be used instead.

    Returns
    -------
    list of FileReport
        One for each image, in the order of their names; also in ``report.csv``.

    Raises
    ------
    InputError
        When something cannot be used. An image that cannot is reported only.
    """
    batch = Batch(inputs, output, settings or BatchSettings(), overwrite)
    with batch.client(workers, scheduler) as client:
        for _ in batch.run(client):
            pass
    return batch.reports


class Batch:
    """Images to segment, of which some may be done already.

    Parameters
    ----------
    inputs : str, Path or iterable of these
        As `find_jobs` takes them.
    output : str or Path
        The folder for labels, ``report.csv``, and ``batch.json`` with the settings; made when it
        is not there.
    settings : BatchSettings
        How to segment.
    overwrite : bool
        Make labels again that are there.

    Attributes
    ----------
    jobs, todo : list of Job
        All images, and those that are not done yet.
    has_begun : bool
        Whether anything in the folder was changed.

    Raises
    ------
    InputError
        When an input or the model is not there, two images would have the same labels, or the
        folder holds labels that were made with other settings.
    """

    def __init__(
        self,
        inputs: str | Path | Iterable[str | Path],
        output: str | Path,
        settings: BatchSettings,
        overwrite: bool = False,
    ) -> None:
        if Path(settings.model).is_file():
            # workers may be in another folder
            settings = replace(settings, model=os.path.abspath(settings.model))
        try:
            self._sha256 = identify_model(settings.model)
        except OSError as error:
            raise InputError(
                f"The model {settings.model} is not here ({error.strerror or error}). Give nano, "
                "the path of a checkpoint, or a name that napari-sam2 models download knows."
            ) from error
        self.has_begun = False
        self.settings, self.output = settings, Path(os.path.abspath(output))
        self._overwrite = overwrite
        if self.output.exists() and not self.output.is_dir():
            raise InputError(f"{output} is a file. Give a folder for the labels.")
        self.jobs = find_jobs(inputs, self.output)
        self._folder = OutputFolder(self.output, self.jobs)
        self._folder.check(self._record(), {job.output for job in self.jobs if overwrite})
        for job in () if overwrite else self.jobs:
            self._folder.check_source(job)
        self._images = {job: fingerprint(job.source) for job in self.jobs}
        images = {} if overwrite else self._images
        found = (self._folder.done_before(job, image) for job, image in images.items())
        self._reports = {report.file: report for report in found if report}
        self.todo = [job for job in self.jobs if job.name not in self._reports]
        large = (
            in_blocks(job, self.settings, self._sha256, self._images[job]) for job in self.todo
        )
        self._large = {each.job.name: each for each in large if each}
        self._missing = [
            block
            for each in self._large.values()
            for block in each.blocks
            if overwrite or not block.path.exists()
        ]

    @property
    def reports(self) -> list[FileReport]:
        """Of the images that are done, skipped or failed so far, in the order of their names."""
        return [self._reports[job.name] for job in self.jobs if job.name in self._reports]

    @property
    def steps(self) -> int:
        """How often `run` yields: once for each image of ``todo``, and each block to search."""
        return len(self.todo) + len(self._missing)

    def client(
        self, workers: int | None = None, scheduler: str | None = None
    ) -> AbstractContextManager[Any]:
        """Start workers for what is to do, or go to a scheduler's; takes what `run_batch` takes.

        Returns
        -------
        context manager of distributed.Client or None
            None where nothing is to do.
        """
        if not self.todo:
            return nullcontext()
        settings = self.settings
        # an image in blocks is not worked on beside its blocks
        most = max(1, self.steps - len(self._large))
        return open_client(settings.device, settings.threads, most, workers, scheduler)

    def run(self, client: Any) -> Iterator[FileReport | BlockDone]:
        """Segment what is not done, and write the report, also when stopped or interrupted.

        Parameters
        ----------
        client : distributed.Client or None
            As `client` gives it.

        Yields
        ------
        FileReport or BlockDone
            One for each image of ``todo``, as soon as it is done, and each block of a large one.

        Raises
        ------
        InputError
            When the workers cannot load the model, or another run writes to the folder.
        OSError
            When the folder cannot be written.
        """
        if self.todo:
            try:
                client.submit(make_ready, self.settings, self._sha256, pure=False).result()
            except Exception as error:  # whatever the worker raised, or its end
                raise InputError(f"The workers cannot begin: {_of_worker(error)}") from error
        kept = [large.folder for large in self._large.values()]
        todo = {job: self._images[job] for job in self.todo}
        with self._folder.begin(self._record(), todo, kept):
            self.has_begun = True
            for folder in kept if self._overwrite else ():
                remove(folder)
            try:
                for report in self._results(client) if self.todo else ():
                    if isinstance(report, FileReport):
                        self._reports[report.file] = report
                    yield report
            finally:
                self._folder.write_report(self.reports)

    def _results(self, client: Any) -> Iterator[FileReport | BlockDone]:
        from distributed import as_completed

        how = {"settings": self.settings, "pure": False}
        missing: dict[str, list[Block]] = {name: [] for name in self._large}
        for block in self._missing:
            missing[block.job.name].append(block)
        unfinished = [name for name, blocks in missing.items() if blocks]
        # once for all blocks, as it reads planes from all over an image
        sampled = client.map(sample_limits, [self._large[name] for name in unfinished], **how)
        whole = [job for job in self.todo if job.name not in self._large]
        # blocks go first, also where they are not known of yet: large images take longest
        futures = dict(zip(client.map(do_job, whole, priority=-1, **how), whole, strict=True))
        searched: dict[Any, str] = {}  # and the image of each
        try:
            limits = dict(zip(unfinished, sampled, strict=True))
            for name, large in self._large.items():
                try:
                    known = limits[name].result() if name in limits else None
                except Exception as error:  # whatever the worker raised, or its end
                    yield FileReport(name, "failed", message=_of_worker(error))
                    continue
                found = client.map(search_block, missing[name], limits=known, **how)
                searched |= dict.fromkeys(found, name)
                futures[client.submit(link_blocks, large, found, **how)] = large.job
            for each in sampled:
                each.release()
            for future in as_completed([*searched, *futures], loop=client.loop):
                if future in futures:
                    name = futures.pop(future).name
                    try:
                        yield future.result()
                    except Exception as error:  # of a block; else it is the worker that failed
                        client.cancel([each for each in searched if searched[each] == name])
                        yield FileReport(name, "failed", message=_of_worker(error))
                else:
                    del searched[future]
                    if future.status == "finished":
                        yield future.result()
                future.release()  # or dask does it again when the worker that did it has ended
        finally:
            client.cancel([*sampled, *searched, *futures])

    def _record(self) -> dict[str, Any]:
        return {**asdict(self.settings), "sha256": self._sha256}


def _of_worker(error: Exception) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            f"{error.allowed_failures + 1} worker processes were ended while they were at it, "
            "perhaps for lack of memory. Use fewer workers."
        )
    return one_line(error)
