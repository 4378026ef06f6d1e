"""What tells the tensors of a file from those of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

_LISTED = 20  # names of a kind in a message


@dataclass(frozen=True)
class Differences:
    """Tensors of a file against those that a model has.

    Attributes
    ----------
    missing, extra, misshaped : tuple of str
        Our names of tensors that are not there; the file's names of those that the model does not
        have, and of those of another shape, with both shapes.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    misshaped: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many tensors differ."""
        return len(self.missing) + len(self.extra) + len(self.misshaped)

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        kinds = (
            (self.missing, "missing"),
            (self.extra, "extra"),
            (self.misshaped, "of another shape"),
        )
        return "; ".join(
            f"{len(names)} {what} ({', '.join(names[:_LISTED])}"
            f"{', ...' if len(names) > _LISTED else ''})"
            for names, what in kinds
            if names
        )


def compare(
    state: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    published: Mapping[str, str],
    unknown: Iterable[str] = (),
) -> Differences:
    """Compare a file with a model.

    Parameters
    ----------
    state : mapping of str to Tensor
        The file's, under our names, with ``[n]`` behind the name of a row.
    expected : mapping of str to tuple of int
        Shapes of the model's tensors.
    published : mapping of str to str
        The file's names by ours, where they are not the same.
    unknown : iterable of str
        The file's names that are no names of ours.

    Returns
    -------
    Differences
        False where there are none.
    """
    expected = dict(expected)
    # a tensor that came in rows is missed by the row, not as a whole
    for whole in {name.partition("[")[0] for name in state if name.endswith("]")}:
        count, width = expected.pop(whole, (0, 0))
        expected |= {f"{whole}[{row}]": (1, width) for row in range(count)}
    return Differences(
        missing=tuple(sorted(expected.keys() - state.keys())),
        extra=tuple(
            sorted({*unknown, *(published.get(name, name) for name in state.keys() - expected)})
        ),
        misshaped=tuple(
            sorted(
                f"{published.get(name, name)} {tuple(tensor.shape)} instead of {expected[name]}"
                for name, tensor in state.items()
                if name in expected and tuple(tensor.shape) != expected[name]
            )
        ),
    )
