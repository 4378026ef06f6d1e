"""The workers: processes of this machine, or those of a cluster that is there already."""

from __future__ import annotations

import logging
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil

from napari_sam2.inference.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMORY = 2 * 10**9  # bytes for each worker on a CPU; what sam2.1_large takes for an image
_PATIENCE = 60  # seconds until a scheduler that does not answer, or has no workers, is given up
# A file is given up when the third worker has died of it, and only what a worker is busy with lies
# there, as dask cannot tell which of several it died of.
_DASK = {
    "distributed.scheduler.allowed-failures": 2,
    "distributed.scheduler.worker-saturation": 1.0,
    # a busy machine may leave a process waiting for minutes, and one that ended is noticed at once
    "distributed.scheduler.worker-ttl": None,
    "distributed.comm.timeouts.connect": "300s",
    "distributed.comm.timeouts.tcp": "300s",
}


@contextmanager
def open_client(
    device: str, threads: int, most: int, workers: int | None = None, scheduler: str | None = None
) -> Iterator[Any]:
    """Start workers, or go to those of a scheduler.

    Parameters
    ----------
    device : str
        As `load_model` takes it.
    threads : int
        Of the processor, for each worker.
    most : int
        No more workers than this are of use.
    workers : int, optional
        How many. By default one for each GPU; on a CPU as many as its cores and its free memory
        suffice for.
    scheduler : str, optional
        The address of a Dask scheduler, such as ``"tcp://node1:8786"``.

    Yields
    ------
    distributed.Client
        Of the workers, which end with the context unless they are a scheduler's.

    Raises
    ------
    InputError
        When the scheduler does not answer, or has no workers, or a number is below 1.
    """
    for name, number in (("workers", workers), ("threads", threads)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; it must be 1 or more.")
    import dask
    from distributed import Client, Nanny, Scheduler, SpecCluster

    if scheduler is not None:
        if not re.search(r":\d+/?$|^inproc:", scheduler):  # dask would try for minutes
            raise InputError(
                f"{scheduler} is no address of a Dask scheduler: it has no port. Write it as in "
                "tcp://node1:8786."
            )
        try:
            client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"No Dask scheduler answers at {scheduler}. Check the address and its port."
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=_PATIENCE)
            except TimeoutError as error:
                raise InputError(f"{scheduler} has no workers. Start some: dask worker.") from error
            yield client
        return
    gpus = _gpus(device)
    count = min(workers or len(gpus) or _fitting(device, threads), most)
    quiet = {"silence_logs": logging.CRITICAL}  # what matters of dead workers is in the report
    specs = {
        number: {
            "cls": Nanny,
            "options": {
                "host": "127.0.0.1",
                "nthreads": 1,
                "memory_limit": 0,  # dask would end workers that torch has let grow
                "env": {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {},
                **quiet,
            },
        }
        for number in range(count)
    }
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    with (
        dask.config.set(_DASK),
        SpecCluster(specs, {"cls": Scheduler, "options": options}, **quiet) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _gpus(device: str) -> list[str]:
    """The CUDA devices to give to workers, as CUDA_VISIBLE_DEVICES names them."""
    if device not in ("auto", "cuda"):
        return []
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:count] if visible else [str(number) for number in range(count)]


def _fitting(device: str, threads: int) -> int:
    """How many workers a CPU is good for; a single GPU, chosen or Apple's, for one."""
    from dask.system import CPU_COUNT

    from napari_sam2.inference.device import choose_device

    kind = choose_device("auto").type if device == "auto" else device
    if not kind.startswith("cpu"):
        return 1
    free = int(psutil.virtual_memory().available)
    return max(1, min(int(CPU_COUNT) // threads, free // _MEMORY))
