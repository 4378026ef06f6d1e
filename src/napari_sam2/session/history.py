"""What was changed, in steps that can be undone and redone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from napari_sam2.session.log import Command
    from napari_sam2.session.values import StackKey

Kind = Literal["object", "prompts", "choice", "masks", "memory", "kept"]


class Place(NamedTuple):
    """Where in a session a value is: a kind of value, a stack where it has one, and a key."""

    kind: Kind
    stack: StackKey | None
    key: Hashable


@dataclass(frozen=True, eq=False)
class Change:
    """A value that took the place of another; None is no value.

    Parameters
    ----------
    place : Place
        Where.
    before, after : object
        Values that never change themselves.
    """

    place: Place
    before: Any
    after: Any


@dataclass(frozen=True, eq=False)
class Step:
    """What is undone at once.

    Parameters
    ----------
    name : str
        What the user did: "Propagate".
    changes : tuple of Change
        One for each place.
    commands : tuple of Command
        What would bring the changes about again.
    """

    name: str
    changes: tuple[Change, ...]
    commands: tuple[Command, ...]


@dataclass
class OpenStep:
    """A step that is being done.

    Parameters
    ----------
    name : str
        What it is called; may be empty.
    """

    name: str
    commands: list[Command] = field(default_factory=list)
    _changes: dict[Place, Change] = field(default_factory=dict)

    def record(self, change: Change) -> None:
        """Take a change into the step; several of one place become one."""
        earlier = self._changes.pop(change.place, None)
        before = change.before if earlier is None else earlier.before
        self._changes[change.place] = Change(change.place, before, change.after)

    def closed(self) -> Step | None:
        """The step as it is undone; None where it changed nothing."""
        changes = tuple(c for c in self._changes.values() if c.before is not c.after)
        if not changes and not self.commands:
            return None
        name = self.name or (self.commands[0].title if self.commands else "Edit")
        return Step(name, changes, tuple(self.commands))


class History:
    """Steps that were done, and those that were undone and can be redone.

    Not bounded: a step holds only what it changed.
    """

    def __init__(self) -> None:
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self.open: OpenStep | None = None
        self._depth = 0

    def begin(self, name: str) -> None:
        """Open a step; within an open one, go on with that."""
        if self.open is None:
            self.open = OpenStep(name)
        self._depth += 1

    def end(self) -> bool:
        """Close what `begin` opened; gives whether a step was added."""
        if self.open is None:
            raise RuntimeError("No step is open. Call begin first.")
        self._depth -= 1
        if self._depth:
            return False
        step, self.open = self.open.closed(), None
        if step is not None:
            self.done.append(step)
            # what they held, such as memories of the model, is out of reach from now on
            self.undone.clear()
        return step is not None

    def back(self) -> Step:
        """Move the last step to those undone."""
        self._check(self.done, "undo")
        self.undone.append(self.done.pop())
        return self.undone[-1]

    def forth(self) -> Step:
        """Move the step undone last to those done."""
        self._check(self.undone, "redo")
        self.done.append(self.undone.pop())
        return self.done[-1]

    def commands(self) -> Iterator[Command]:
        """Everything that was done and not undone, in order, the open step included."""
        for step in self.done:
            yield from step.commands
        if self.open is not None:
            yield from self.open.commands

    def _check(self, steps: list[Step], what: str) -> None:
        if self.open is not None:
            raise RuntimeError(f"A step is under way. End it before you {what}.")
        if not steps:
            raise RuntimeError(f"There is nothing to {what}.")
