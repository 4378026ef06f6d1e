"""The published checkpoints: where they are, how large, and what their content must be.

Addresses, sizes and checksums are those of the publisher, Meta; all are under Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NANO_FILE = Path(__file__).with_name("nano.safetensors")

# Where Meta publishes; a mirror has the same paths under another base.
BASE = "https://dl.fbaipublicfiles.com"

_SAM2_0 = f"{BASE}/segment_anything_2/072824"
_SAM2_1 = f"{BASE}/segment_anything_2/092824"
_SAM1 = f"{BASE}/segment_anything"


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights.

    Attributes
    ----------
    name : str
        What `load_model` is asked for.
    family : {"sam1", "sam2.0", "sam2.1"}
        The architecture. Only SAM 2 has a memory of other planes.
    url : str
        Where the publisher has the file.
    sha256 : str or None
        Its checksum in hexadecimal; None where none is known.
    size : int or None
        Its length in bytes; None where it is not known exactly.
    licence : str
        SPDX identifier.
    purpose : str
        What it is good for, in a few words.
    parameters : int or None
        Number of weights, stored in four bytes each.
    """

    name: str
    family: Literal["sam1", "sam2.0", "sam2.1"]
    url: str
    sha256: str | None = None
    size: int | None = None
    licence: str = "Apache-2.0"
    purpose: str = ""
    parameters: int | None = None

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]

    @property
    def sizes(self) -> range | None:
        """Lengths in bytes that the file may have; None where nothing is known of them."""
        if self.size is not None:
            return range(self.size, self.size + 1)
        if self.parameters is None:
            return None
        weights = 4 * self.parameters
        return range(weights + 1, weights + weights // 100)  # the weights and an index

    @property
    def bytes_text(self) -> str:
        """`sizes` for messages."""
        if self.sizes is None:
            return "an unknown number"
        first, last = self.sizes[0], self.sizes[-1]
        return str(first) if first == last else f"{first} to {last}"

    @property
    def size_text(self) -> str:
        """The size for people: exact, from the number of weights, or not known."""
        if self.size is not None:
            return megabytes(self.size)
        if self.parameters is not None:
            return f"about {megabytes(4 * self.parameters)}"
        return "size not known"


def megabytes(count: int) -> str:
    """A number of bytes for people; a megabyte is 10^6 bytes."""
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e6:.1f} MB"


CHECKPOINTS = {
    checkpoint.name: checkpoint
    for checkpoint in (
        Checkpoint(
            "sam2.1_tiny",
            "sam2.1",
            f"{_SAM2_1}/sam2.1_hiera_tiny.pt",
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            156_008_466,
            purpose="difficult images on a laptop",
            parameters=38_962_498,
        ),
        Checkpoint(
            "sam2.1_small",
            "sam2.1",
            f"{_SAM2_1}/sam2.1_hiera_small.pt",
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            184_416_285,
            purpose="masks a little better than those of tiny, in a little more time",
            parameters=46_060_354,
        ),
        Checkpoint(
            "sam2.1_base_plus",
            "sam2.1",
            f"{_SAM2_1}/sam2.1_hiera_base_plus.pt",
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            323_606_802,
            purpose="stacks on a GPU",
            parameters=80_850_178,
        ),
        Checkpoint(
            "sam2.1_large",
            "sam2.1",
            f"{_SAM2_1}/sam2.1_hiera_large.pt",
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            898_083_611,
            purpose="the best masks, on a GPU",
            parameters=224_446_642,
        ),
        Checkpoint(
            "sam2_tiny",
            "sam2.0",
            f"{_SAM2_0}/sam2_hiera_tiny.pt",
            "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
            purpose="repeating work done with SAM 2.0",
            parameters=38_945_986,
        ),
        Checkpoint(
            "sam2_small",
            "sam2.0",
            f"{_SAM2_0}/sam2_hiera_small.pt",
            purpose="repeating work done with SAM 2.0",
            parameters=46_043_842,
        ),
        Checkpoint(
            "sam2_base_plus",
            "sam2.0",
            f"{_SAM2_0}/sam2_hiera_base_plus.pt",
            purpose="repeating work done with SAM 2.0",
            parameters=80_833_666,
        ),
        Checkpoint(
            "sam2_large",
            "sam2.0",
            f"{_SAM2_0}/sam2_hiera_large.pt",
            purpose="repeating work done with SAM 2.0",
            parameters=224_430_130,
        ),
        Checkpoint(
            "sam_vit_b",
            "sam1",
            f"{_SAM1}/sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            375_042_383,
            purpose="single images, as with the first Segment Anything",
            parameters=93_735_472,
        ),
        Checkpoint(
            "sam_vit_l",
            "sam1",
            f"{_SAM1}/sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            purpose="single images, on a GPU",
            parameters=312_342_832,
        ),
        Checkpoint(
            "sam_vit_h",
            "sam1",
            f"{_SAM1}/sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            purpose="single images, on a GPU with much memory",
            parameters=641_090_608,
        ),
    )
}
