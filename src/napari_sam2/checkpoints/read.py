"""A file of weights to a configuration and tensors, checked."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_sam2.checkpoints.compare import Differences, compare
from napari_sam2.checkpoints.convert import convert, translate
from napari_sam2.checkpoints.errors import CheckpointError as CheckpointError
from napari_sam2.checkpoints.keys import (
    HUGGING_FACE_SAM1,
    HUGGING_FACE_SAM2,
    META_SAM1,
    META_SAM2,
)
from napari_sam2.checkpoints.pickles import read_pickle, weights_in
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


# Words before every name of the model in fine-tuned files, one or several.
PREFIXES = ("module.", "model.", "sam2.", "sam.", "_orig_mod.")

_LARGEST_SIDE = 1 << 14  # pixels; a file that says more is damaged

Config = Sam1Config | Sam2Config

FORMATS: tuple[tuple[Table, tuple[Config, ...]], ...] = (
    (META_SAM2, tuple(VARIANTS.values())),
    (HUGGING_FACE_SAM2, tuple(VARIANTS.values())),
    (META_SAM1, tuple(SAM1_VARIANTS.values())),
    (HUGGING_FACE_SAM1, tuple(SAM1_VARIANTS.values())),
)


def read_checkpoint(path: Path) -> tuple[Config, dict[str, Tensor]]:
    """Read the weights of a SAM or SAM 2 model.

    Parameters
    ----------
    path : Path
        A ``.pt`` or ``.pth`` file as Meta publishes it, the ``model.safetensors`` of the
        transformers package, a fine-tuned file with either's names, or a ``.safetensors`` file
        that this project wrote. The variant is found from the tensors, and for SAM 1 the image
        size; that of SAM 2 cannot be, so `Sam2Config.with_image_size` must say it of a model
        fine-tuned for another one.

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
        When the file is damaged, would run code, or does not fit any variant.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}. Check the path.")
    if path.suffix != ".safetensors":
        return _identify(path, read_pickle(path))
    variant, state = _read_safetensors(path)
    if variant is None:
        return _identify(path, [weights_in(state)])
    if variant not in VARIANTS:
        raise CheckpointError(
            f"{path.name} was written by a later version of napari-sam2: it names the variant "
            f"{variant!r}. Known are {', '.join(VARIANTS)}.",
            "Update napari-sam2.",
        )
    config = VARIANTS[variant]
    state = {name: tensor.float() for name, tensor in state.items()}
    _refuse(path, config, compare(state, expected_shapes(config), published={}))
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
            f"{path.name} is not a readable safetensors file ({error}).",
            "Copy or download it again.",
        ) from error


def _identify(path: Path, groups: list[dict[str, Tensor]]) -> tuple[Config, dict[str, Tensor]]:
    """The format whose names fit best, and of its variants the one whose shapes do."""
    # of two that fit as well, such as the weights and their average, the first
    state, prefix, table, variants = max(
        (
            (*_without_prefix(group), table, variants)
            for group in groups
            for table, variants in FORMATS
        ),
        key=lambda known: sum(translate(name, known[2]) is not None for name in known[0]),
    )
    published = {translate(name, table) or "": prefix + name for name in reversed(state)}
    # the variant that fits best, so that the message about one that fits nearly is of use
    best: tuple[Differences, Config, dict[str, Tensor]] | None = None
    for variant in variants:
        config = _trained_on(variant, state, table)
        expected = expected_shapes(config)
        converted, unknown = convert(state, table, expected)
        unknown = [prefix + name for name in unknown]
        differences = compare(converted, expected, published, unknown)
        if best is None or differences.count < best[0].count:
            best = differences, config, converted
    assert best is not None
    differences, config, converted = best
    _refuse(path, config, differences)
    return config, {name: tensor.float() for name, tensor in converted.items()}


def _without_prefix(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors under the prefix that most names share, and the prefix.

    Those outside it belong to what stands beside the model, such as a loss, and are left aside.
    """
    whole = ""
    for _ in range(8):  # one inside the other
        for prefix in PREFIXES:
            inside = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
            if 2 * len(inside) > len(state):
                state, whole = inside, whole + prefix
    return state, whole


def _trained_on(config: Config, state: dict[str, Tensor], table: Table) -> Config:
    """SAM 1 for the image size that its position embedding, (1, S / 16, S / 16, C), is for."""
    if isinstance(config, Sam2Config):
        return config
    for name, tensor in state.items():
        if translate(name, table) == "image_encoder.position" and tensor.ndim == 4:
            rows, columns = tensor.shape[1:3]
            if rows == columns and 64 <= 16 * rows <= _LARGEST_SIDE:
                return replace(config, image_size=16 * rows, trained_size=16 * rows)
    return config


def _refuse(path: Path, config: Config, differences: Differences) -> None:
    if differences:
        raise CheckpointError(
            f"{path.name} does not hold a SAM or SAM 2 model that is known here. Compared with the "
            f"nearest variant, {config.name}, its tensors are: {differences}.",
            "Use a file that was made from a published model without changes to its parts.",
        )
