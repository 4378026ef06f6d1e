"""Memories beyond a budget wait on disk."""

from __future__ import annotations

import ctypes
import tempfile
import warnings
import weakref
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam2.inference.memory_bank import FrameMemory


GIVE_BACK_EVERY = 64  # memories put away


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
        self._full = False

    def note(self, memory: FrameMemory) -> None:
        """Count a memory as the one used last; others make room for it."""
        reference = weakref.ref(memory, self._forget)
        # equal to the reference under which it was noted before, perhaps with another size
        self._forget(reference)
        if memory.nbytes:
            self._sizes[reference] = memory.nbytes
            self.held += memory.nbytes
            self._keep_within()

    def shrink(self) -> None:
        """Hold half as much from now on."""
        self.budget //= 2
        self._keep_within()

    def _keep_within(self) -> None:
        while self.held > self.budget and len(self._sizes) > 1 and not self._full:
            oldest = next(iter(self._sizes))
            found = oldest()
            if found is not None:
                self._put_away(found)
            self._forget(oldest)

    def _forget(self, reference: weakref.ref[FrameMemory]) -> None:
        self.held -= self._sizes.pop(reference, 0)

    def _put_away(self, memory: FrameMemory) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="napari-sam2-")
        path = Path(self._folder.name) / f"{self._written}.pt"
        self._written += 1
        try:
            memory.put_away(path)
            if self._written % GIVE_BACK_EVERY == 0:
                _give_back()
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter
            path.unlink(missing_ok=True)
            self._full = True
            warnings.warn(
                f"Memories of earlier planes could not be put on disk ({error}), so they stay in "
                "memory. Free some space, or set TMPDIR to a folder on another disk.",
                stacklevel=2,
            )


def _give_back() -> None:
    """Return freed memory to the system: what stays in between keeps glibc from doing so itself."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
