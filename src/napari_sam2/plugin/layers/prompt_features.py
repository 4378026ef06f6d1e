"""The features “object” and “sign”, which say what a point or a shape in a prompt layer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Points, Shapes

SIGNS = ("positive", "negative")


def object_ids(layer: Points | Shapes) -> Sequence[int]:
    """Read the object of each point or shape; 1 where the layer does not say it.

    Raises
    ------
    ValueError
        When one is not a whole number from 1.
    """
    if "object" not in layer.features:
        return [1] * len(layer.data)
    objects = []
    for value in layer.features["object"]:
        if not _is_missing(value) and not is_object_id(value):
            raise ValueError(
                f"The layer “{layer.name}” has {value!r} in its feature “object”. "
                "Objects are whole numbers from 1."
            )
        objects.append(1 if _is_missing(value) else int(value))
    return objects


def signs(layer: Points | Shapes) -> Sequence[bool]:
    """Read whether each point or shape is positive; so it is where the layer does not say it.

    Raises
    ------
    ValueError
        When one is neither "positive" nor "negative".
    """
    if "sign" not in layer.features:
        return [True] * len(layer.data)
    found = []
    for value in layer.features["sign"]:
        if not _is_missing(value) and value not in SIGNS:
            raise ValueError(
                f"The layer “{layer.name}” has {value!r} in its feature “sign”. "
                "It must be “positive” or “negative”."
            )
        found.append(value != "negative")
    return found


def next_object(layer: Points | Shapes) -> tuple[int, bool | None] | None:
    """Read what the next point or shape in a layer will be.

    Returns
    -------
    tuple of int and bool or None, or None
        The object, and whether positive; None where the defaults do not say it.
    """
    defaults = layer.feature_defaults
    if "object" not in defaults:
        return None
    named = defaults["object"].iloc[0]
    number = 1 if _is_missing(named) else named  # as `object_ids` reads it
    if not is_object_id(number):
        return None
    sign = str(defaults["sign"].iloc[0]) != "negative" if "sign" in defaults else None
    return int(number), sign


def numbers_in(layer: Points | Shapes) -> set[int]:
    """The objects that a layer names."""
    named = layer.features["object"] if "object" in layer.features else ()
    return {int(value) for value in named if is_object_id(value)}


def is_object_id(value: Any) -> bool:
    """Whether a value of a table of features numbers an object."""
    # Tables of features turn whole numbers into floats and texts.
    try:
        return int(value) == float(value) >= 1
    except (TypeError, ValueError, OverflowError):
        return False


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
