"""What there is in a session, to be read."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_sam2.session.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.engine import Memory
    from napari_sam2.session.values import ObjectMask, StackKey, TrackedObject

NOTHING: Mapping[Any, Any] = MappingProxyType({})
_IN_STACKS = ("prompts", "masks")


class Contents(State):
    """Objects, and by stack their prompts, masks and what the model remembers."""

    @property
    def objects(self) -> tuple[TrackedObject, ...]:
        """Every object, in the order of their numbers."""
        table = self._table("object", None)
        return tuple(table[object_id] for object_id in sorted(table))

    @property
    def stacks(self) -> tuple[StackKey, ...]:
        """Every stack with prompts or masks, in the order of their first use."""
        used = {stack for (kind, stack), t in self._tables.items() if t and kind in _IN_STACKS}
        every = dict.fromkeys(stack for _, stack in self._tables)
        return tuple(stack for stack in every if stack is not None and stack in used)

    def prompts(self, stack: StackKey) -> Mapping[tuple[int, int], tuple[Prompt, ...]]:
        """Prompts of a stack, by (object, frame)."""
        return MappingProxyType(dict(self._table("prompts", stack)))

    def choices(self, stack: StackKey) -> Mapping[tuple[int, int], int]:
        """Candidates that were chosen, by (object, frame); 0 is the predictor's first."""
        return MappingProxyType(dict(self._table("choice", stack)))

    def frames(self, stack: StackKey) -> tuple[int, ...]:
        """Frames of a stack that have masks, in ascending order."""
        return tuple(sorted(self._table("masks", stack)))

    def masks(self, stack: StackKey, frame: int) -> Mapping[int, ObjectMask]:
        """Masks of a frame, by object; empty where there is none."""
        masks: Mapping[int, ObjectMask] = self._table("masks", stack).get(frame, NOTHING)
        return masks

    def memory(self, stack: StackKey) -> Memory | None:
        """What the model remembers of a stack; None before its first run."""
        memory: Memory | None = self._table("memory", stack).get(None)
        return memory

    @property
    def remembered(self) -> frozenset[int]:
        """Objects that the model remembers of any stack, also those that were removed since."""
        tables = (table for (kind, _), table in self._tables.items() if kind == "memory")
        return frozenset(n for table in tables for memory in table.values() for n, _ in memory.sent)

    def find_object(self, object_id: int) -> TrackedObject:
        """Give an object; a KeyError says that there is none with this number."""
        found: TrackedObject | None = self._table("object", None).get(object_id)
        if found is None:
            raise KeyError(f"There is no object {object_id}.")
        return found
