"""Memories beyond a budget wait on disk."""

from __future__ import annotations

import ctypes
import math
import shutil
import tempfile
import time
import warnings
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.inference.video.memory_bank import FrameMemory


GIVE_BACK_EVERY = 16  # memories put away
SPARE = 10**9  # bytes of a disk that are never filled
PAUSE = 60  # seconds after which a disk that was full is tried again


class MemoryBudget:
    """Holds memories in RAM, or on the device, up to a number of bytes.

    The ones least recently used go to a temporary folder, from which `FrameMemory` reads them
    when they are asked for: a correction far from the running pass needs them still.

    Parameters
    ----------
    budget : int
        Bytes. The memory noted last is always kept.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.held = 0  # bytes
        self._sizes: OrderedDict[weakref.ref[FrameMemory], int] = OrderedDict()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._written = 0
        self._next_try = -math.inf  # in the time of `time.monotonic`
        self._told = False

    def note(self, memory: FrameMemory) -> None:
        """Count a memory as the one used last; others make room for it."""
        reference = weakref.ref(memory, self._forget)
        # equal to the reference under which it was noted before, perhaps with another size
        self._forget(reference)
        if memory.nbytes:
            self._sizes[reference] = memory.nbytes
            self.held += memory.nbytes
            self._keep_within()

    def resize(self, budget: int) -> None:
        """Hold so many bytes from now on."""
        self.budget = budget
        self._keep_within()

    def shrink(self) -> None:
        """Hold half as much from now on."""
        self.resize(self.budget // 2)

    def _keep_within(self) -> None:
        while self.held > self.budget and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            found = oldest()
            if found is not None and not self._put_away(found):
                return
            self._forget(oldest)

    def _forget(self, reference: weakref.ref[FrameMemory]) -> None:
        self.held -= self._sizes.pop(reference, 0)

    def _put_away(self, memory: FrameMemory) -> bool:
        """Put a memory on disk; False while that is full."""
        if time.monotonic() < self._next_try:
            return False
        path = None
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="napari-sam2-")
            folder = Path(self._folder.name)
            if shutil.disk_usage(folder).free < SPARE + memory.nbytes:
                raise OSError(f"less than {SPARE / 1e9:.0f} GB is free in {folder.parent}")
            path = folder / f"{self._written}.pt"
            self._written += 1
            memory.put_away(path)
        except OSError as error:
            if path is not None:
                path.unlink(missing_ok=True)
            self._next_try = time.monotonic() + PAUSE
            self._tell(error)
            return False
        if self._written % GIVE_BACK_EVERY == 0:
            _give_back()
        return True

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            warnings.warn(
                f"Memories of earlier planes could not be put on disk ({error}), so they stay in "
                "memory. Free some space, or set TMPDIR to a folder on another disk.",
                stacklevel=2,
            )


def _give_back() -> None:
    """Return freed memory to the system: what stays in between keeps glibc from doing so itself."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
