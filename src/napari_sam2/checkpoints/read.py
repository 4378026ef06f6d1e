"""A file of weights to a configuration and tensors, checked."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_sam2.checkpoints.keys import META_SAM2, convert
from napari_sam2.model.config import VARIANTS, Sam2Config
from napari_sam2.model.sam2 import Sam2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

# Marks our own safetensors files, which hold our names and the variant's.
VARIANT_KEY = "napari_sam2_variant"


class CheckpointError(ValueError):
    """A file that does not hold the weights of a model we know."""


def read_checkpoint(path: Path) -> tuple[Sam2Config, dict[str, Tensor]]:
    """Read the weights of a SAM 2 model.

    Parameters
    ----------
    path : Path
        A ``.pt`` file as Meta publishes it, or a ``.safetensors`` file that this project wrote.
        The variant is found from the tensors.

    Returns
    -------
    config : Sam2Config
        The variant.
    state : dict of str to Tensor
        Under our names, every tensor there and of the right shape.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    CheckpointError
        When the file is damaged, holds more than tensors, or does not fit any variant.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Check the path.")
    if path.suffix == ".safetensors":
        return _read_own(path)
    state = _read_pickle(path)
    return _identify(path, state)


def write_checkpoint(
    path: Path, variant: str, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float16
) -> None:
    """Write weights as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
        The file, replaced when it exists.
    variant : str
        A name in `VARIANTS`.
    state : mapping of str to Tensor
        Under our names.
    dtype : torch.dtype
        Half precision by default: the file is half as large and the masks are the same.
    """
    partial = path.with_name(path.name + ".partial")
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()
    }
    save_file(tensors, partial, metadata={VARIANT_KEY: variant})
    os.replace(partial, path)


def expected_shapes(config: Sam2Config) -> dict[str, tuple[int, ...]]:
    """Shapes of a variant's tensors under our names."""
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in Sam2(config).state_dict().items()}


def _read_own(path: Path) -> tuple[Sam2Config, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            variant = (file.metadata() or {}).get(VARIANT_KEY)
            state = {name: file.get_tensor(name).float() for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is not a readable safetensors file ({error}). Copy or download it again."
        ) from error
    if variant not in VARIANTS:
        raise CheckpointError(
            f"{path.name} was not written by napari-sam2, or by a later version: it names the "
            f"variant {variant!r}. Known are {', '.join(VARIANTS)}."
        )
    config = VARIANTS[variant]
    _check(path, state, expected_shapes(config), unknown=[])
    return config, state


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch says so for a pickle that would run code and for one it cannot parse
        raise CheckpointError(
            f"{path.name} is damaged, or holds more than tensors and was not opened: such a file "
            f"could run code. Use the file that the model's authors publish. ({_first_line(error)})"
        ) from error
    except Exception as error:  # bytes of another format can break the reader anywhere
        raise CheckpointError(
            f"{path.name} is not a checkpoint, or is damaged. Copy or download it again. "
            f"({_first_line(error)})"
        ) from error
    state = loaded.get("model") if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(
            f"{path.name} holds no weights under the key 'model', as SAM 2's published files do."
        )
    return state


def _identify(path: Path, state: dict[str, Tensor]) -> tuple[Sam2Config, dict[str, Tensor]]:
    # the variant that fits best, so that the message about one that fits nearly is of use
    best: tuple[int, Sam2Config, dict[str, Tensor], list[str]] | None = None
    for config in VARIANTS.values():
        expected = expected_shapes(config)
        converted, unknown = convert(state, META_SAM2, expected)
        fitting = sum(
            tuple(tensor.shape) == expected.get(name) for name, tensor in converted.items()
        )
        wrong = len(converted) - fitting + len(expected.keys() - converted.keys())
        if best is None or wrong < best[0]:
            best = wrong, config, converted, unknown
    assert best is not None
    _, config, converted, unknown = best
    _check(path, converted, expected_shapes(config), unknown)
    return config, {name: tensor.float() for name, tensor in converted.items()}


def _check(
    path: Path,
    state: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    unknown: list[str],
) -> None:
    missing = sorted(expected.keys() - state.keys())
    extra = sorted({*unknown, *(state.keys() - expected.keys())})
    misshaped = sorted(
        f"{name} {tuple(tensor.shape)} instead of {expected[name]}"
        for name, tensor in state.items()
        if name in expected and tuple(tensor.shape) != expected[name]
    )
    problems = [
        f"{len(names)} {what} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        for what, names in (("missing", missing), ("extra", extra), ("of another shape", misshaped))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{path.name} does not hold a SAM 2 model that is known here. Compared with the "
            f"nearest variant its tensors are: {'; '.join(problems)}."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
