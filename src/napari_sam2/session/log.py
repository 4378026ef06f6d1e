"""What was done, as commands that can be done again.

The log of a session is the list of its commands, without those that were undone. Doing them again
in order gives the same objects, prompts and masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_sam2.inference.channels import Channel
    from napari_sam2.inference.prompts import MaskPrompt, Prompt
    from napari_sam2.session.pass_request import PassRequest
    from napari_sam2.session.values import ModelChoice, StackKey

Outcome = Literal["done", "cancelled", "failed"]


@dataclass(frozen=True)
class AddObject:
    """An object was added.

    Parameters
    ----------
    object_id : int
        Its number.
    name : str
        Its name.
    """

    object_id: int
    name: str

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Add object {self.object_id}"


@dataclass(frozen=True)
class ChangeObject:
    """An object got another name, or was hidden or shown.

    Parameters
    ----------
    object_id : int
        Its number.
    name : str
        Its name from now on.
    visible : bool
        Whether it is shown from now on.
    """

    object_id: int
    name: str
    visible: bool

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Change object {self.object_id}"


@dataclass(frozen=True)
class RemoveObject:
    """An object was deleted, with its prompts and masks in every stack.

    Parameters
    ----------
    object_id : int
        Its number.
    """

    object_id: int

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Delete object {self.object_id}"


@dataclass(frozen=True)
class MergeObjects:
    """Prompts and masks of an object were given to another one.

    Parameters
    ----------
    object_id : int
        The object that took them.
    other : int
        The object that is no more.
    """

    object_id: int
    other: int

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Merge object {self.other} into {self.object_id}"


@dataclass(frozen=True)
class SplitObject:
    """What an object was from a frame on became another object.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    object_id, frame : int
        The object, and the first frame that it loses.
    part : int
        The number of the new object.
    """

    stack: StackKey
    object_id: int
    frame: int
    part: int

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Split object {self.part} off {self.object_id}"


@dataclass(frozen=True)
class SetPrompts:
    """The prompts of an object on a frame were replaced.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    object_id, frame : int
        Whose prompts, and where.
    prompts : tuple of Prompt
        The whole set; none removes them.
    """

    stack: StackKey
    object_id: int
    frame: int
    prompts: tuple[Prompt, ...]

    @property
    def title(self) -> str:
        """What a user calls it."""
        done = "Prompt" if self.prompts else "Remove prompts of"
        return f"{done} object {self.object_id}"


@dataclass(frozen=True)
class Choose:
    """A candidate was chosen for an object's prompts on a frame.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    object_id, frame : int
        Of the prompts.
    index : int or None
        The candidate; None leaves the choice to the model.
    """

    stack: StackKey
    object_id: int
    frame: int
    index: int | None

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Choose a mask for object {self.object_id}"


@dataclass(frozen=True)
class RemoveMask:
    """The mask of an object on a frame was removed.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    object_id, frame : int
        Whose mask, and where.
    """

    stack: StackKey
    object_id: int
    frame: int

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Remove a mask of object {self.object_id}"


@dataclass(frozen=True)
class Paint:
    """The mask of an object on a frame was painted; it takes the place of its prompts there.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    object_id, frame : int
        Whose mask, and where.
    mask : MaskPrompt
        The whole mask.
    """

    stack: StackKey
    object_id: int
    frame: int
    mask: MaskPrompt

    @property
    def title(self) -> str:
        """What a user calls it."""
        return f"Paint object {self.object_id}"


@dataclass(frozen=True)
class Run:
    """The model ran.

    Parameters
    ----------
    stack : StackKey
        The stack that it ran on.
    model : ModelChoice
        Which model, and where.
    contrast_limits : tuple of float or None
        The intensities that it saw as black and white; of channels, 0 and 1.
    frames : tuple of int
        The first and the last frame that the run comes by.
    request : PassRequest or None
        The propagation; None where only the prompts of the frames were applied.
    results : int
        How many results were taken.
    outcome : {"done", "cancelled", "failed"}
        How it ended; a run that has not ended yet counts as cancelled.
    channels : tuple of Channel
        The channels that it saw blended; none where it saw the image alone.
    view : tuple of float or None
        The part of a large plane that it was shown, as in `StackSource`.
    """

    stack: StackKey
    model: ModelChoice
    contrast_limits: tuple[float, float] | None
    frames: tuple[int, int]
    request: PassRequest | None = None
    results: int = 0
    outcome: Outcome = "cancelled"
    channels: tuple[Channel, ...] = ()
    view: tuple[float, float, float, float] | None = None

    @property
    def title(self) -> str:
        """What a user calls it."""
        if self.request is None:
            return "Segment"
        direction = self.request.direction
        return "Propagate" if direction == "both" else f"Propagate {direction}"


@dataclass(frozen=True)
class Reopen:
    """The session was opened again, and with it the model began anew with all prompts."""

    @property
    def title(self) -> str:
        """What a user calls it."""
        return "Open the session"


Edit = (
    AddObject
    | ChangeObject
    | RemoveObject
    | MergeObjects
    | SplitObject
    | SetPrompts
    | Paint
    | Choose
    | RemoveMask
    | Reopen
)
Command = Edit | Run
