"""Tensors out of the files that ``torch.save`` writes, without running what is in them."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import IO, TYPE_CHECKING, Any

import torch

from napari_sam2.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

# Fine-tuned files wrap the weights under one of these keys, or several: DataParallel, Lightning and
# micro-sam each do it in their own way.
WRAPPINGS = ("model", "state_dict", "model_state", "model_state_dict", "params", "ema")

# What torch itself puts into a file of tensors. For messages alone: torch decides what is loaded.
_TENSORS_ALONE = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode"
    r"|(builtins|__builtin__)\.(set|bytearray|complex)"
    r"|torch\.(\w*\d\w*|bool|Size|device|Tensor|\w*Storage|storage\.\w*Storage)"
    r"|torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|nn\.parameter\.Parameter)"
    r"|torch\.serialization\._get_layout"
)


class _Inert:
    """Stands in for something of numpy that lies beside the weights: takes all, does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# A metric kept as a numpy number is no reason to refuse a file. Nothing of numpy is made or called
# for it: torch finds these under numpy's names, those of numpy 1 and 2.
_STAND_INS = [
    type(name, (_Inert,), {"__module__": module})
    for module, name in (
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
        *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    )
]
_STAND_IN_NAMES = {f"{kind.__module__}.{kind.__qualname__}" for kind in _STAND_INS}


def read_pickle(path: Path) -> list[dict[str, Tensor]]:
    """The groups of named tensors in a file, at its top and under the usual keys.

    Parameters
    ----------
    path : Path
        A file of ``torch.save``, of the zip or of the older format.

    Returns
    -------
    list of dict of str to Tensor
        One at least. What else the file holds is left aside.

    Raises
    ------
    CheckpointError
        When it is damaged, is no such file, would run code, or holds no tensors.
    """
    try:
        with _numpy_left_out():
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # bytes of another format can break the reader anywhere
        # not torch's own words, which advise to open the file without this care
        raise _why_not(path, error) from error
    groups = list(_groups(loaded))
    if not groups:
        raise CheckpointError(
            f"{path.name} holds no weights: neither at its top nor under one of the keys "
            f"{', '.join(map(repr, WRAPPINGS))} are there tensors with names. It holds "
            f"{_content(loaded)}.",
            "Save the model's state_dict() with torch.save.",
        )
    return groups


def weights_in(content: dict[Any, Any]) -> dict[str, Tensor]:
    """The entries that can be weights: dense tensors of floating-point numbers under a name."""
    return {
        name: value
        for name, value in content.items()
        if isinstance(name, str)
        and torch.is_tensor(value)
        and value.is_floating_point()
        and value.layout == torch.strided
        and not (value.is_meta or value.is_nested)
    }


def _numpy_left_out() -> AbstractContextManager[None]:
    allowing = getattr(torch.serialization, "safe_globals", None)  # from torch 2.5 on
    return nullcontext() if allowing is None else allowing(_STAND_INS)


def _groups(loaded: Any) -> Iterator[dict[str, Tensor]]:
    waiting, seen = [loaded], set()
    while waiting:
        content = waiting.pop(0)
        if not isinstance(content, dict) or id(content) in seen:  # it may even hold itself
            continue
        seen.add(id(content))
        if found := weights_in(content):
            yield found
        waiting += [content.get(key) for key in WRAPPINGS]


def _content(loaded: Any) -> str:
    if isinstance(loaded, dict) and loaded:
        return "the keys " + ", ".join(repr(key)[:60] for key in list(loaded)[:5])
    return f"a {type(loaded).__name__}"


def _why_not(path: Path, error: Exception) -> CheckpointError:
    """What is the matter with a file that was not read."""
    damaged = CheckpointError(
        f"{path.name} is not a checkpoint, or is damaged.", "Copy or download it again."
    )
    try:
        names = _global_names(path)
    except Exception:
        return damaged
    if names is None:
        fact = f"{path.name} is a TorchScript program, which could do anything."
    elif foreign := sorted(name for name in names if not _TENSORS_ALONE.fullmatch(name)):
        more = ", ..." if len(foreign) > 5 else ""
        fact = (
            f"{path.name} holds more than tensors: it asks for {', '.join(foreign[:5])}{more}. It "
            "was not opened, as such a file could run code."
        )
    elif isinstance(error, pickle.UnpicklingError):
        fact = (
            f"{path.name} is a pickle of a kind that cannot be read without the risk that it runs "
            "code."
        )
    else:
        return damaged
    return CheckpointError(
        fact,
        "Use the file that the model's authors publish, or have them save the model's "
        "state_dict() with torch.save.",
    )


def _global_names(path: Path) -> set[str] | None:
    """What a pickle would import, found without running it; None for a program.

    Whatever is no whole pickle raises an exception of some kind.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return _names_in_zip(file)
        file.seek(0)
        names = _imports(file)
        for _ in range(3):  # the older format has its tensors behind three short pickles
            with suppress(ValueError):
                names |= _imports(file)
    return names


def _names_in_zip(file: IO[bytes]) -> set[str] | None:
    with zipfile.ZipFile(file) as archive:
        files = archive.namelist()
        if any(re.search(r"/(constants\.pkl|code/.*)$", name) for name in files):
            return None
        (pickled,) = (name for name in files if re.fullmatch(r"([^/]*/)?data\.pkl", name))
        with archive.open(pickled) as content:
            return _imports(content)


def _imports(file: IO[bytes]) -> set[str]:
    names: set[str] = set()
    # the newer of two ways to ask for something takes it from the two texts before, and each of
    # these may be one that was kept earlier
    texts: list[str] = []
    memo: dict[Any, Any] = {}
    last: Any = None
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = last
            continue
        if opcode.name in ("GLOBAL", "INST"):
            names.add(argument.replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(texts[-2:]))
        last = memo.get(argument) if opcode.name.endswith("GET") else argument
        if isinstance(last, str):
            texts.append(last)
    return names - _STAND_IN_NAMES
