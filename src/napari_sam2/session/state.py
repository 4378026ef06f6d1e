"""Values at places, changed in steps that can be undone and redone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_sam2.session.history import Change, History, Place

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from napari_sam2.session.history import Kind, Step
    from napari_sam2.session.log import Command
    from napari_sam2.session.values import StackKey


class State(ABC):
    """What a session is made of, whatever the values mean.

    Attributes
    ----------
    kept_changed : Signal(object)
        Emitted with its key after undo or redo changed what was kept by `keep`.
    history_changed : Signal()
        Emitted after a step was done, undone or redone.
    """

    kept_changed = Signal(object)
    history_changed = Signal()

    def __init__(self) -> None:
        self._tables: dict[tuple[Kind, StackKey | None], dict[Any, Any]] = {}
        self._history = History()
        self._untold: dict[Place, Change] | None = None  # by `telling_once`

    @property
    def log(self) -> tuple[Command, ...]:
        """Everything that was done and not undone, in order."""
        return tuple(self._history.commands())

    @property
    def undo_name(self) -> str:
        """What `undo` would take back; empty where there is nothing."""
        return _last_name(self._history.done)

    @property
    def redo_name(self) -> str:
        """What `redo` would do again; empty where there is nothing."""
        return _last_name(self._history.undone)

    def undo(self) -> None:
        """Take the last step back.

        Raises
        ------
        RuntimeError
            When there is none, or a step is under way.
        """
        step = self._history.back()
        self._move([Change(c.place, c.after, c.before) for c in reversed(step.changes)])

    def redo(self) -> None:
        """Do the step again that was undone last; raises as `undo` does."""
        self._move(self._history.forth().changes)

    @contextmanager
    def step(self, name: str = "") -> Iterator[None]:
        """Make everything that is changed within one step; steps inside belong to it.

        Parameters
        ----------
        name : str
            What the user calls it; by default, what is done first in it.
        """
        self._history.begin(name)
        try:
            yield
        finally:
            if self._history.end():
                self.history_changed.emit()

    @contextmanager
    def telling_once(self) -> Iterator[None]:
        """Let others know of all that is changed within at its end, of each place once.

        Deleting a hundred objects would have a plane of masks drawn a hundred times.
        """
        if self._untold is not None:
            yield
            return
        self._untold = {}
        try:
            yield
        finally:
            changes, self._untold = self._untold.values(), None
            for change in changes:
                if change.before is not change.after:
                    self._tell(change)

    def keep(self, key: Hashable, value: object) -> None:
        """Keep a value that is undone and redone with the step, but is in neither log nor files.

        Parameters
        ----------
        key : hashable
            What it belongs to.
        value : object
            One that never changes itself; None forgets it.
        """
        change = Change(Place("kept", None, key), self.kept(key), value)
        if change.before is not value:
            with self.step():
                self._make([change])

    def kept(self, key: Hashable) -> Any:
        """What was kept; None where there is nothing."""
        return self._table("kept", None).get(key)

    def value(self, place: Place) -> Any:
        """The value at a place; None where there is none."""
        return self._table(place.kind, place.stack).get(place.key)

    def table(self, kind: Kind, stack: StackKey | None) -> Mapping[Any, Any]:
        """All values of a kind in a stack, by key."""
        return MappingProxyType(self._table(kind, stack))

    def _make(self, changes: Sequence[Change]) -> None:
        assert self._history.open is not None
        for change in changes:
            self._history.open.record(change)
        self._put(changes)

    def _move(self, changes: Sequence[Change]) -> None:
        self._put(changes)
        for change in changes:
            if change.place.kind == "kept":
                self.kept_changed.emit(change.place.key)
        self.history_changed.emit()

    def _put(self, changes: Sequence[Change]) -> None:
        # All of them before anyone hears of one.
        for change in changes:
            table = self._tables.setdefault((change.place.kind, change.place.stack), {})
            if change.after is None:
                table.pop(change.place.key, None)
            else:
                table[change.place.key] = change.after
        for change in changes:
            if self._untold is None:
                self._tell(change)
            else:
                first = self._untold.get(change.place, change)
                self._untold[change.place] = Change(change.place, first.before, change.after)

    @abstractmethod
    def _tell(self, change: Change) -> None:
        """Let others know of a change."""

    def _table(self, kind: Kind, stack: StackKey | None) -> dict[Any, Any]:
        return self._tables.get((kind, stack), {})


def _last_name(steps: Sequence[Step]) -> str:
    return steps[-1].name if steps else ""
