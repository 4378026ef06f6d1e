"""Features of encoded planes on disk, for whoever asks for the same plane with the same model.

An entry is found by what it was made from: the model's weights and input size, the precision, the
plane's pixels and how they are shown. It is written whole or not at all, carries a checksum, and
several processes may use one folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numcodecs
import safetensors
import safetensors.torch

from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.model.neck import ImageFeatures

if TYPE_CHECKING:
    import torch

FOLDER_VARIABLE = "NAPARI_SAM2_FEATURES"
BUDGET = 8 * 10**9  # bytes of a folder
ABANDONED = 3600  # seconds after which nobody writes an unfinished file any longer
SPARE = 0.1  # of the disk that is never filled
RESCAN = 64  # entries after which the folder is looked through for what others have stored
SLACK = 0.05  # of the budget that is freed at a time
_SUFFIX = ".features"
_DIGEST = 16  # bytes
_told: set[Path] = set()  # folders that something could not be kept in
# bytes of equal weight together: neighbouring numbers share their exponents
_CODEC = numcodecs.Blosc(cname="lz4", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)


def default_store(device: torch.device) -> FeatureStore | None:
    """The store in the user's cache folder; None where encoding again is as fast, as on a GPU.

    ``NAPARI_SAM2_FEATURES`` names another folder; ``off`` stores nothing.
    """
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    if device.type != "cpu" or chosen.lower() == "off":
        return None
    if chosen:
        return FeatureStore(Path(chosen).expanduser(), device)
    from platformdirs import user_cache_path

    return FeatureStore(user_cache_path("napari-sam2", appauthor=False) / "features", device)


class FeatureStore:
    """A folder of features, the least recently used of which make room for others.

    Parameters
    ----------
    folder : Path
        Made when something is stored.
    device : torch.device
        Where features are needed.
    budget : int
        Bytes that all files in the folder may take up.
    """

    def __init__(self, folder: Path, device: torch.device, budget: int = BUDGET) -> None:
        self.folder, self.device, self.budget = folder, device, budget
        self._works = True
        self._total = 0  # bytes of the folder, when it was looked through and stored since
        self._until_rescan = 0  # entries

    def get(self, key: str) -> ImageFeatures | None:
        """Read an entry; None where there is none, or it is damaged."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # others may share a folder that they alone write
            os.utime(path)  # used just now
        digest, body = content[:_DIGEST], content[_DIGEST:]
        if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
            with suppress(OSError):
                path.unlink()
            return None
        tensors = safetensors.torch.load(bytes(_CODEC.decode(body)))
        return ImageFeatures(**{name: each.to(self.device) for name, each in tensors.items()})

    def put(self, key: str, features: ImageFeatures) -> None:
        """Write an entry, unless it is there; a full disk is told once and ends the storing.

        The next store of the folder tries again.
        """
        path = self._path(key)
        # `Path.exists` would raise where the folder may not be entered
        if not self._works or os.path.exists(path):
            return
        tensors = {name: each.cpu().contiguous() for name, each in vars(features).items()}
        body = _CODEC.encode(safetensors.torch.save(tensors))
        digest = hashlib.blake2b(body, digest_size=_DIGEST).digest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(body) + _DIGEST)
            with replacing(path) as partial:
                partial.write_bytes(digest + body)
        except OSError as error:
            self._works = False
            if self.folder not in _told:
                _told.add(self.folder)
                warnings.warn(
                    f"Encoded planes could not be kept in {self.folder} ({error}), so they are "
                    "encoded again when they are needed. Free some space, or set "
                    f"{FOLDER_VARIABLE} to another folder, or to 'off'.",
                    stacklevel=2,
                )

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _make_room(self, size: int) -> None:
        """Remove the least recently used entries, where that suffices for a new one."""
        disk = shutil.disk_usage(self.folder)
        free = int(disk.free - SPARE * disk.total)
        if not self._until_rescan or self._total + size > self.budget or size > free:
            self._remove(size, free)
            self._until_rescan = RESCAN
        self._until_rescan -= 1
        self._total += size

    def _remove(self, size: int, free: int) -> None:
        found = self._entries()
        total = sum(each for _, each, _ in found)
        needed = max(total + size - self.budget, size - free)
        if needed <= total:
            # more than one entry needs, as each time the whole folder is looked through
            wanted = max(needed, total + int(SLACK * self.budget) - self.budget)
            removed = 0
            for _, each, path in sorted(found):
                if removed >= wanted:
                    break
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass  # another process was faster
                except OSError:
                    continue  # another process reads it, in Windows
                removed += each
            self._total = total - removed
            needed -= removed
        if needed > 0:
            raise OSError(f"{size / 1e6:.0f} MB do not fit")

    def _entries(self) -> list[tuple[float, int, str]]:
        """When each entry was used last, its bytes and its path."""
        found = []
        for entry in os.scandir(self.folder):
            with suppress(OSError):
                status = entry.stat()
                # another process may be writing it, unless that was long ago
                unfinished = entry.name.startswith(".")
                if not unfinished or status.st_mtime < time.time() - ABANDONED:
                    found.append((status.st_mtime, status.st_size, entry.path))
        return found
