"""Tensors of a published file under our names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_sam2.checkpoints.keys import Table

_PROJECTIONS = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "output",
    "o_proj": "output",
}
# These are embeddings (n, C) in published files; their ".weight" is not part of our name.
_EMBEDDING = re.compile(r"(?:label|padding|no_mask)_embedding(?:\[\d\])?$|_tokens?$")


def translate(name: str, table: Table) -> str | None:
    """Our name of a published tensor, None when the table does not know it."""
    stem, dot, kind = name.rpartition(".")
    if kind not in ("weight", "bias"):
        stem, dot, kind = name, "", ""
    for pattern, ours in table:
        match = re.fullmatch(pattern.replace(".", r"\."), stem)
        if match:
            head, _, last = match.expand(ours).rpartition(".")
            last = _PROJECTIONS.get(last, last)
            stem = f"{head}.{last}" if head else last
            return stem if _EMBEDDING.search(stem) else stem + dot + kind
    return None


def convert(
    state: Mapping[str, Tensor], table: Table, expected: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Tensor], list[str]]:
    """Rename a published state dict.

    Parameters
    ----------
    state : mapping of str to Tensor
        As published.
    table : Table
        The format's names.
    expected : mapping of str to sequence of int
        Shapes of our tensors; leading axes of length one are dropped to fit.

    Returns
    -------
    converted : dict of str to Tensor
        Under our names; rows that do not make up the whole are left as they are, ``[n]`` in
        their names.
    unknown : list of str
        Published names that the table does not know, or that hold a tensor again with other values.
    """
    converted: dict[str, Tensor] = {}
    rows: dict[str, dict[int, Tensor]] = {}
    unknown = []
    for name, tensor in state.items():
        ours = translate(name, table)
        again = converted.get(ours or "")
        if ours is None or (again is not None and not torch.equal(again.float(), tensor.float())):
            unknown.append(name)
        elif ours.endswith("]"):
            whole, _, row = ours[:-1].partition("[")
            rows.setdefault(whole, {})[int(row)] = tensor
        else:
            converted[ours] = tensor
    for whole, found in rows.items():
        count, width = expected.get(whole, (0, 0))
        if sorted(found) == list(range(count)) and all(t.numel() == width for t in found.values()):
            converted[whole] = torch.stack([found[row].reshape(-1) for row in range(count)])
        else:
            converted |= {f"{whole}[{row}]": tensor for row, tensor in found.items()}
    for name, tensor in converted.items():
        shape = tuple(expected.get(name, tensor.shape))
        if tuple(n for n in tensor.shape if n != 1) == tuple(n for n in shape if n != 1):
            converted[name] = tensor.reshape(shape)
    return converted, unknown
