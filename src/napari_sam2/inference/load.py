"""Load a model by name or from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.checkpoints.read import read_checkpoint
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE
from napari_sam2.inference.device import choose_device, choose_dtype, precision
from napari_sam2.model.sam2 import Sam2

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from napari_sam2.model.config import Sam2Config


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to run.

    Attributes
    ----------
    network : Sam2
        In evaluation mode, on its device, weights in float32.
    device : torch.device
        Where it runs.
    dtype : torch.dtype
        Precision it computes in.
    """

    network: Sam2
    device: torch.device
    dtype: torch.dtype

    @property
    def config(self) -> Sam2Config:
        """Sizes of the network."""
        return self.network.config

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
        ``"nano"``, the bundled model, or the path of a checkpoint: a published SAM 2 or 2.1
        ``.pt`` file, or a ``.safetensors`` file of this project.
    device : str
        ``"auto"`` (CUDA, else MPS, else CPU) or a name that torch knows.
    dtype : str
        ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
    image_size : int, optional
        Side of the model's square input in pixels, a multiple of 32; the model's own by default.
        A smaller one is faster and gives other masks.

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
    config, state = read_checkpoint(_find(name_or_path))
    if image_size is not None:
        config = config.with_image_size(image_size)
    network = Sam2(config)
    network.load_state_dict(state)
    network.to(chosen_device).eval().requires_grad_(False)
    return Model(network, chosen_device, chosen_dtype)


def _find(name_or_path: str | Path) -> Path:
    if name_or_path == "nano":
        return NANO_FILE
    known = CHECKPOINTS.get(str(name_or_path))
    if known is not None and not Path(name_or_path).exists():
        raise ValueError(
            f"The weights of {known.name} are not bundled. Download {known.url} and give the "
            f"path of the file {known.file} instead of the name."
        )
    return Path(name_or_path)
