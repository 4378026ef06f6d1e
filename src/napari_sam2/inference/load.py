"""Load a model by name or from a file."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_sam2.checkpoints.download import address_of, path_of
from napari_sam2.checkpoints.read import CheckpointError, make_network, read_checkpoint
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE
from napari_sam2.checkpoints.verify import check_bytes, check_model
from napari_sam2.inference.device import choose_device, choose_dtype, precision
from napari_sam2.inference.graphs import Graphs
from napari_sam2.inference.transforms import Fit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from napari_sam2.checkpoints.registry import Checkpoint
    from napari_sam2.model.config import Sam1Config, Sam2Config
    from napari_sam2.model.sam1 import Sam1
    from napari_sam2.model.sam2 import Sam2


LARGE = 50_000_000  # weights; tiny has 39 million, small 46, base_plus 81
_NO_MEMORY = (
    "SAM 1 has no memory: each plane is prompted with the mask of the plane before and its box, "
    "and an object that is lost is not found again. SAM 2 remembers."
)


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to run.

    Attributes
    ----------
    network : Sam1 or Sam2
        In evaluation mode, on its device, weights in float32, which do not change any more.
    device : torch.device
        Where it runs.
    dtype : torch.dtype
        Precision it computes in.
    """

    network: Sam1 | Sam2
    device: torch.device
    dtype: torch.dtype

    @property
    def config(self) -> Sam1Config | Sam2Config:
        """Sizes of the network."""
        return self.network.config

    @property
    def has_memory(self) -> bool:
        """Whether it tracks with memory; SAM 1 is prompted anew on each frame instead."""
        return self.config.family == "sam2"

    @cached_property
    def weights(self) -> int:
        """How many numbers it has learned."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @cached_property
    def encoder_digest(self) -> str:
        """What tells features of this model from those of others: weights, size and precision."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.config} {self.dtype} {torch.__version__}".encode())
        for name, tensor in sorted(self.network.image_encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy())
        return digest.hexdigest()

    @cached_property
    def graphs(self) -> Graphs:
        """Calls of the network that a GPU has seen before, replayed."""
        return Graphs(self.network, self.device, self.dtype)

    @property
    def note(self) -> str:
        """What a user should know before propagating; empty where there is nothing."""
        notes = []
        if self.device.type == "cpu" and self.weights > LARGE:
            notes.append(
                f"This model has {self.weights / 1e6:.0f} million weights and runs on the CPU, "
                "where each plane takes seconds. nano and sam2.1_tiny are quicker; a GPU is used "
                "where PyTorch finds one."
            )
        if not self.has_memory:
            notes.append(_NO_MEMORY)
        return " ".join(notes)

    def fit(self, shape: tuple[int, int]) -> Fit:
        """How a plane of a shape (Y, X) lies in the model's input."""
        return Fit.of(self.config, shape)

    def precision(self) -> AbstractContextManager[object]:
        """Context in which the network is called."""
        return precision(self.device, self.dtype)


def load_model(
    name_or_path: str | Path = "nano",
    device: str = "auto",
    dtype: str = "auto",
    image_size: int | None = None,
) -> Model:
    """Load a model.

    Parameters
    ----------
    name_or_path : str or Path
        ``"nano"``, the bundled model; the name of a downloaded one, such as ``"sam2.1_tiny"``;
        or the path of a checkpoint of SAM, SAM 2 or 2.1, published or fine-tuned (see
        `read_checkpoint`).
    device : str
        ``"auto"`` (CUDA, else MPS, else CPU) or a name that torch knows.
    dtype : str
        ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    image_size : int, optional
        Side of the model's square input in pixels, a multiple of 32; the model's own by default.
        A smaller one is faster and gives other masks. To be given with a file of SAM 2 that was
        fine-tuned for another size, which its tensors do not show.

    Returns
    -------
    Model
        For `ImagePredictor` and `VideoPredictor`.

    Raises
    ------
    ValueError
        When the name, the file's content, the device, the dtype or the size is not usable.
    FileNotFoundError
        When there is no such file.
    """
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    path, known = _find(name_or_path)
    with _told_what_to_do(known, path):
        config, state = read_checkpoint(path)
        if known is not None and known.sha256 is None:  # a checksum tells models apart by itself
            check_model(known.name, path, config)
    if image_size is not None:
        config = config.with_image_size(image_size)
    network = make_network(config)
    network.load_state_dict(state)
    network.to(chosen_device).eval().requires_grad_(False)
    return Model(network, chosen_device, chosen_dtype)


def _find(name_or_path: str | Path) -> tuple[Path, Checkpoint | None]:
    """The file, and what it is to be when it was asked for by the name of a published one."""
    if name_or_path == "nano":
        return NANO_FILE, None
    known = CHECKPOINTS.get(str(name_or_path))
    if known is None or Path(name_or_path).is_file():
        return Path(name_or_path), None
    path = path_of(known)
    if not path.is_file():
        raise ValueError(
            f"{known.name} is not downloaded. Run: napari-sam2 models download {known.name} "
            f"({known.size_text} from {address_of(known)}), or put the file {path.name} into "
            f"{path.parent} by hand."
        )
    with _told_what_to_do(known, path):
        check_bytes(known, path)
    return path, known


@contextmanager
def _told_what_to_do(known: Checkpoint | None, path: Path) -> Iterator[None]:
    """The remedy for a file that was asked for by name is another than for one of the user's."""
    try:
        yield
    except ValueError as error:
        if known is None:
            raise
        fact = error.fact if isinstance(error, CheckpointError) else str(error)
        raise CheckpointError(
            f"{fact.rstrip('.')}.",
            f"Remove {path} and run: napari-sam2 models download {known.name}. To use the file as "
            "it is, give its path instead of the name.",
        ) from error
