"""The published checkpoints: where they are, how large, and what their content must be.

Addresses, sizes and checksums are those of the publisher, Meta; all are under Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NANO_FILE = Path(__file__).with_name("nano.safetensors")

_BASE = "https://dl.fbaipublicfiles.com/segment_anything_2"


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights.

    Attributes
    ----------
    name : str
        What `load_model` is asked for.
    url : str
        Where the file is.
    sha256 : str or None
        Its checksum in hexadecimal; None where none is known.
    size : int or None
        Its length in bytes; None where it is not known.
    """

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            "sam2.1_tiny",
            f"{_BASE}/092824/sam2.1_hiera_tiny.pt",
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            156_008_466,
        ),
        Checkpoint(
            "sam2.1_small",
            f"{_BASE}/092824/sam2.1_hiera_small.pt",
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            184_416_285,
        ),
        Checkpoint(
            "sam2.1_base_plus",
            f"{_BASE}/092824/sam2.1_hiera_base_plus.pt",
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            323_606_802,
        ),
        Checkpoint(
            "sam2.1_large",
            f"{_BASE}/092824/sam2.1_hiera_large.pt",
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            898_083_611,
        ),
        Checkpoint(
            "sam2_tiny",
            f"{_BASE}/072824/sam2_hiera_tiny.pt",
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
        ),
        Checkpoint("sam2_small", f"{_BASE}/072824/sam2_hiera_small.pt"),
        Checkpoint("sam2_base_plus", f"{_BASE}/072824/sam2_hiera_base_plus.pt"),
        Checkpoint("sam2_large", f"{_BASE}/072824/sam2_hiera_large.pt"),
    )
}
