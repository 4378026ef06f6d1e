from __future__ import annotations

import torch

from napari_sam2.checkpoints.compare import compare


def tensors(**shapes):
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_nothing_differs():
    found = compare(tensors(a=(2, 3)), {"a": (2, 3)}, {})
    assert not found
    assert (found.count, str(found)) == (0, "")


def test_the_file_s_own_names_are_given():
    state = tensors(a=(2, 3), b=(4,), c=(1,))
    expected = {"a": (3, 2), "b": (4,), "d": (5,)}
    found = compare(state, expected, {"a": "head.a", "b": "head.b", "c": "head.c"}, ["loss"])
    assert str(found) == (
        "1 missing (d); 2 extra (head.c, loss); 1 of another shape (head.a (2, 3) instead of "
        "(3, 2))"
    )
    assert found.count == 4


def test_rows_are_missed_one_by_one():
    state = {"e[0]": torch.zeros(1, 2), "e[2]": torch.zeros(5), "e[9]": torch.zeros(1, 2)}
    found = compare(state, {"e": (3, 2)}, {"e[2]": "points.2.weight"})
    assert found.missing == ("e[1]",)
    assert found.extra == ("e[9]",)
    assert found.misshaped == ("points.2.weight (5,) instead of (1, 2)",)


def test_twenty_of_a_kind_are_listed():
    expected = {f"t{number:02}": (1,) for number in range(20)}
    listed = ", ".join(expected)
    assert str(compare({}, expected, {})) == f"20 missing ({listed})"
    assert str(compare({}, {**expected, "u": (1,)}, {})) == f"21 missing ({listed}, ...)"
