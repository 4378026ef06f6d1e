"""A file of weights to a configuration and tensors, checked."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_sam2.checkpoints.convert import convert, translate
from napari_sam2.checkpoints.keys import (
    HUGGING_FACE_SAM1,
    HUGGING_FACE_SAM2,
    META_SAM1,
    META_SAM2,
)
from napari_sam2.checkpoints.replacing import replacing
from napari_sam2.model.config import SAM1_VARIANTS, VARIANTS, Sam1Config, Sam2Config
from napari_sam2.model.sam1 import Sam1
from napari_sam2.model.sam2 import Sam2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_sam2.checkpoints.keys import Table

# Marks our own safetensors files, which hold our names and the variant's.
VARIANT_KEY = "napari_sam2_variant"


# Fine-tuned files wrap the weights under one of these keys, and prefix their names with one of
# these words: DataParallel, Lightning and micro-sam each do it in their own way.
WRAPPINGS = ("model", "state_dict", "model_state", "model_state_dict", "params", "ema")
PREFIXES = ("module.", "model.", "sam2.", "sam.", "_orig_mod.")

Config = Sam1Config | Sam2Config

FORMATS: tuple[tuple[Table, tuple[Config, ...]], ...] = (
    (META_SAM2, tuple(VARIANTS.values())),
    (HUGGING_FACE_SAM2, tuple(VARIANTS.values())),
    (META_SAM1, tuple(SAM1_VARIANTS.values())),
    (HUGGING_FACE_SAM1, tuple(SAM1_VARIANTS.values())),
)


class CheckpointError(ValueError):
    """A file that does not hold the weights of a model we know."""


def read_checkpoint(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Read the weights of a SAM or SAM 2 model.

    Parameters
    ----------
    path : Path
        A ``.pt`` or ``.pth`` file as Meta publishes it, the ``model.safetensors`` of the
        transformers package, a fine-tuned file with either's names, or a ``.safetensors`` file
        that this project wrote. The variant is found from the tensors.

    Returns
    -------
    config : Sam1Config or Sam2Config
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
    if path.suffix != ".safetensors":
        return _identify(path, _read_pickle(path))
    variant, state = _read_safetensors(path)
    if variant is None:
        return _identify(path, state)
    if variant not in VARIANTS:
        raise CheckpointError(
            f"{path.name} was written by a later version of napari-sam2: it names the variant "
            f"{variant!r}. Known are {', '.join(VARIANTS)}. Update napari-sam2."
        )
    config = VARIANTS[variant]
    state = {name: tensor.float() for name, tensor in state.items()}
    _check(path, state, config, unknown=[])
    return config, state


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
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()
    }
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={VARIANT_KEY: variant})


def make_network(config: Config) -> Sam1 | Sam2:
    """The network of a configuration, with random weights."""
    return Sam1(config) if isinstance(config, Sam1Config) else Sam2(config)


@cache
def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Shapes of a variant's tensors under our names."""
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in make_network(config).state_dict().items()}


def _read_safetensors(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """The variant, where this project wrote the file, and the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            variant = (file.metadata() or {}).get(VARIANT_KEY)
            return variant, {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is not a readable safetensors file ({error}). Copy or download it again."
        ) from error


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
    state = _unwrapped(loaded)
    if state is None:
        raise CheckpointError(
            f"{path.name} holds no weights: neither at its top nor under one of the keys "
            f"{', '.join(map(repr, WRAPPINGS))} are there tensors alone. It holds "
            f"{_content(loaded)}."
        )
    return state


def _unwrapped(loaded: Any) -> dict[str, Tensor] | None:
    if not isinstance(loaded, dict) or not loaded:
        return None
    if all(torch.is_tensor(value) for value in loaded.values()):
        return loaded
    for key in WRAPPINGS:
        if (found := _unwrapped(loaded.get(key))) is not None:
            return found
    return None


def _content(loaded: Any) -> str:
    if isinstance(loaded, dict):
        return "the keys " + ", ".join(repr(key) for key in list(loaded)[:5])
    return f"a {type(loaded).__name__}"


def _identify(path: Path, state: dict[str, Tensor]) -> tuple[Config, dict[str, Tensor]]:
    """The format whose names fit best, and of its variants the one whose shapes do."""
    state = _without_prefix(state)
    table, variants = max(
        FORMATS,
        key=lambda known: sum(translate(name, known[0]) is not None for name in state),
    )
    # the variant that fits best, so that the message about one that fits nearly is of use
    best: tuple[int, Config, dict[str, Tensor], list[str]] | None = None
    for variant in variants:
        config = _trained_on(variant, state, table)
        expected = expected_shapes(config)
        converted, unknown = convert(state, table, expected)
        fitting = sum(
            tuple(tensor.shape) == expected.get(name) for name, tensor in converted.items()
        )
        wrong = len(converted) - fitting + len(expected.keys() - converted.keys())
        if best is None or wrong < best[0]:
            best = wrong, config, converted, unknown
    assert best is not None
    _, config, converted, unknown = best
    _check(path, converted, config, unknown)
    return config, {name: tensor.float() for name, tensor in converted.items()}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _without_prefix({name[len(prefix) :]: state[name] for name in state})
    return state


def _trained_on(config: Config, state: dict[str, Tensor], table: Table) -> Config:
    """SAM 1 for the image size that its position embedding, (1, S / 16, S / 16, C), is for."""
    if isinstance(config, Sam2Config):
        return config
    for name, tensor in state.items():
        if translate(name, table) == "image_encoder.position" and tensor.ndim == 4:
            size = 16 * tensor.shape[1]
            return replace(config, image_size=size, trained_size=size)
    return config


def _check(
    path: Path,
    state: Mapping[str, Tensor],
    config: Config,
    unknown: list[str],
) -> None:
    expected = expected_shapes(config)
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
            f"{path.name} does not hold a SAM or SAM 2 model that is known here. Compared with the "
            f"nearest variant, {config.name}, its tensors are: {'; '.join(problems)}."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
