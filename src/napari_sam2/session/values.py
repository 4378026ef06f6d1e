"""What a session consists of: values that never change, so that undo can exchange them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.inference.crops import MaskCrop


@dataclass(frozen=True)
class ModelChoice:
    """Which model runs, and where.

    Parameters
    ----------
    name : str
        The name of a checkpoint, or the path of a checkpoint file.
    device : str
        "auto", "cpu", "cuda" or "mps".
    precision : str
        "auto", "float32", "bfloat16" or "float16".
    image_size : int or None
        Side of the model's input in pixels; None for its own.
    """

    name: str = "nano"
    device: str = "auto"
    precision: str = "auto"
    image_size: int | None = None


@dataclass(frozen=True)
class StackKey:
    """Which planes of which image are meant.

    Moving the slider of an axis that is not the frame axis, or turning the stack to another
    side, leads to another stack with its own prompts and masks; going back finds them again.

    Parameters
    ----------
    image : str
        What identifies the image.
    plane_axes : tuple of int
        The two axes of the image that make the plane, in ascending order.
    frame_axis : int or None
        The axis that frames lie along; None where the image is one plane.
    fixed : tuple of (int, int)
        (axis, index) of every other axis, in ascending order.
    """

    image: str
    plane_axes: tuple[int, int]
    frame_axis: int | None
    fixed: tuple[tuple[int, int], ...] = ()

    def fits(self, ndim: int) -> bool:
        """Whether its axes are those of an image of so many, without colours."""
        others = [] if self.frame_axis is None else [self.frame_axis]
        axes = (*self.plane_axes, *others, *(axis for axis, _ in self.fixed))
        return sorted(axes) == list(range(ndim))


@dataclass(frozen=True)
class TrackedObject:
    """Something that gets one label.

    Parameters
    ----------
    object_id : int
        Its number and its label, 1 or more.
    name : str
        What the user calls it.
    visible : bool
        Whether its masks are shown.
    """

    object_id: int
    name: str
    visible: bool = True


def default_name(object_id: int) -> str:
    """What an object is called until it has another name."""
    return f"object {object_id}"


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """The mask of one object on one frame.

    Parameters
    ----------
    crop : MaskCrop
        The mask as its bounding box; empty where the object is absent.
    score : float
        The model's own estimate of the mask's IoU, 0 to 1.
    present : bool
        Whether the model sees the object on this frame.
    """

    crop: MaskCrop
    score: float
    present: bool


@dataclass(frozen=True, eq=False)
class FrameChange:
    """The masks of one frame before and after a change.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    frame : int
        Index along the frame axis.
    before, after : mapping of int to ObjectMask
        The mask of each object.
    """

    stack: StackKey
    frame: int
    before: Mapping[int, ObjectMask]
    after: Mapping[int, ObjectMask]
