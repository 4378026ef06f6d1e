"""Find every object of a stack, without anyone clicking, and give each one number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import find_objects

from napari_sam2.inference.automatic.depth import ThroughDepth
from napari_sam2.inference.automatic.detections import Detections, Links
from napari_sam2.inference.automatic.mask_generator import MaskGenerator
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.transforms import checked_limits, contrast_limits_of, limits_of_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    from numpy.typing import NDArray

    from napari_sam2.inference.frames import ArrayLike, WritableArray

    class Linker(Protocol):
        """What joins detections: `ThroughDepth`, or `OverTime`."""

        @property
        def gap(self) -> int:
            """How many frames in a row an object may be missed on."""
            ...

        def __call__(self, detections: Detections) -> Links:
            """Link all detections."""
            ...


FindLabels = Callable[["NDArray[Any]", tuple[float, float]], "NDArray[np.integer[Any]]"]

SAMPLED = 16  # planes that the contrast limits of a stack are taken from
MOST_SAMPLED = 2**22  # pixels of each of them; larger ones are thinned out


@dataclass(frozen=True, eq=False)
class StackObjects:
    """The objects of a stack, as far as they are found.

    Attributes
    ----------
    labels : array-like of int, shape (T, Y, X)
        0 is background. An object has the same number on every frame once all are done; until
        then numbers are those of each frame by itself.
    done, frames : int
        How many frames were segmented, and how many there are.
    tracks : array of float64, shape (N, 4)
        (id, frame, row, column) of each object on each frame, as napari's Tracks layers take it.
        Empty until all are done.
    parents : dict of int to int
        The mother's number for that of each daughter.
    is_linked : bool
        Whether all are done: numbers stay as they are.
    explained : float or None
        Of a `MemorySegmenter`, once it carries objects: how much of what was found belongs to some
        by now, 0 to 1. The labels are those of objects then.
    """

    labels: WritableArray
    done: int
    frames: int
    tracks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    parents: dict[int, int] = field(default_factory=dict)
    is_linked: bool = False
    explained: float | None = None

    @property
    def graph(self) -> dict[int, list[int]]:
        """The mothers of each daughter, as napari's Tracks layers take them."""
        return {daughter: [mother] for daughter, mother in self.parents.items()}


class Segmenter(ABC):
    """What `StackSegmenter` and `MemorySegmenter` have in common."""

    def segment(
        self,
        stack: ArrayLike | FrameSource,
        labels: WritableArray | None = None,
        contrast_limits: tuple[float, float] | None = None,
    ) -> StackObjects:
        """Segment a stack.

        Parameters
        ----------
        stack : array-like, shape (T, Y, X) or (T, Y, X, 3), or FrameSource
            Anything with shape, dtype and indexing; read one plane at a time.
        labels : array-like of int, shape (T, Y, X), optional
            Where the labels go, such as a zarr array; by default a new array of uint32.
        contrast_limits : tuple of float, optional
            (low, high), mapped to black and white on every frame. By default 0 to 255 for uint8,
            else the 0.1 and 99.9 percentiles of 16 planes.

        Returns
        -------
        StackObjects
            All objects, without overlaps.

        Raises
        ------
        TypeError, ValueError
            When the stack or the labels have another shape or type, or there are more objects than
            the labels' type has numbers.
        InputError
            When a frame cannot be read. The others are segmented and linked before.
        """
        for objects in self.steps(stack, labels, contrast_limits):  # noqa: B007
            pass
        return objects

    def steps(
        self,
        stack: ArrayLike | FrameSource,
        labels: WritableArray | None = None,
        contrast_limits: tuple[float, float] | None = None,
    ) -> Iterator[StackObjects]:
        """Segment step by step; takes and raises what `segment` does.

        Stop iterating to cancel: what came stays, but numbers are those of each frame until the
        end, or until objects are carried with memory.

        Returns
        -------
        iterator of StackObjects
            After each frame that was searched, and each that objects were carried to; at last with
            all objects.
        """
        return self._steps(*checked_stack(stack, labels, contrast_limits))

    @abstractmethod
    def _steps(
        self, source: FrameSource, labels: WritableArray, limits: tuple[float, float]
    ) -> Iterator[StackObjects]:
        """Segment what was checked."""


class StackSegmenter(Segmenter):
    """Finds every object of a stack, without anyone clicking, and gives each one number.

    Each frame is searched by itself, and what was found is linked from frame to frame.

    Parameters
    ----------
    find : MaskGenerator or callable
        What searches a frame. A callable takes a plane, (Y, X) or (Y, X, 3), and its contrast
        limits, and returns labels (Y, X) with 0 for background: a `MaskGenerator` with other
        thresholds, say, or another program.
    link : ThroughDepth or OverTime, optional
        How the frames belong together: planes of a z-stack, as by default, or times.
    smallest : int
        For a `MaskGenerator`: masks of fewer pixels are left out, and smaller holes filled.
    """

    def __init__(
        self, find: MaskGenerator | FindLabels, link: Linker | None = None, *, smallest: int = 0
    ) -> None:
        self._find = finder(find, smallest)
        self._link: Linker = link or ThroughDepth()

    def _steps(
        self, source: FrameSource, labels: WritableArray, limits: tuple[float, float]
    ) -> Iterator[StackObjects]:
        frames, most = len(source), np.iinfo(np.dtype(labels.dtype)).max
        detections = Detections(self._link.gap + 1)
        unread: InputError | None = None
        for frame in range(frames):
            try:
                plane = source.plane(frame)
            except InputError as error:  # told at the end: a frame is worth less than all others
                unread = unread or error
                found: NDArray[np.integer[Any]] = np.zeros(source.plane_shape, np.uint8)
            else:
                found = checked_find(self._find, plane, limits)
            numbered = detections.add(found)
            check_room(len(detections.areas[frame]), most)
            labels[frame] = numbered
            yield StackObjects(labels, frame + 1, frames)
        links = self._link(detections)
        check_room(max((int(own.max(initial=0)) for own in links.ids), default=0), most)
        tracks = relabelled(labels, detections, links, self._link.gap)
        yield StackObjects(labels, frames, frames, tracks, links.parents, is_linked=True)
        if unread is not None:
            raise unread


def finder(find: MaskGenerator | FindLabels, smallest: int) -> FindLabels:
    """What searches a plane, as `StackSegmenter` takes it, as a function."""
    if not isinstance(find, MaskGenerator):
        return find

    def labels(plane: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint32]:
        return find.generate(plane, limits).choose(smallest=smallest).labels()

    return labels


def checked_stack(
    stack: ArrayLike | FrameSource,
    labels: WritableArray | None,
    contrast_limits: tuple[float, float] | None,
) -> tuple[FrameSource, WritableArray, tuple[float, float]]:
    """The planes, labels and contrast limits of what `StackSegmenter.segment` takes."""
    source = stack if isinstance(stack, FrameSource) else FrameSource(stack)
    shape = (len(source), *source.plane_shape)
    into: WritableArray = np.zeros(shape, np.uint32) if labels is None else labels
    if tuple(into.shape) != shape or np.dtype(into.dtype).kind not in "ui":
        raise ValueError(
            f"The labels have shape {tuple(into.shape)} and dtype {into.dtype}. "
            f"Give an array of integers of the stack's shape, {shape}."
        )
    if contrast_limits is None:
        return source, into, stack_limits(source)
    return source, into, checked_limits(contrast_limits)


def checked_find(
    find: FindLabels, plane: NDArray[Any], limits: tuple[float, float]
) -> NDArray[np.integer[Any]]:
    """Search a plane, and refuse labels of another shape."""
    found = np.asarray(find(plane, limits))
    if found.shape != plane.shape[:2]:
        raise ValueError(
            f"What searches a plane gave labels of shape {found.shape} for one of "
            f"{plane.shape[:2]}. They must be alike."
        )
    return found


def stack_limits(source: FrameSource) -> tuple[float, float]:
    """Contrast limits of a whole stack: many of its planes may be empty."""
    if source.dtype in (np.uint8, np.bool_):
        return contrast_limits_of(np.zeros(0, source.dtype))  # they do not depend on pixels
    count = min(len(source), SAMPLED)
    frames = np.linspace(0, len(source) - 1, count).round().astype(int)
    height, width = source.plane_shape
    step = int(np.ceil(np.sqrt(height * width / MOST_SAMPLED)))
    planes = [plane[::step, ::step] for plane in _readable(source, frames.tolist())]
    return limits_of_parts(np.stack(planes), _readable(source, range(len(source))))


def _readable(source: FrameSource, frames: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Planes without those that cannot be read: the others tell enough."""
    any_read = False
    for frame in frames:
        try:
            plane = source.plane(frame)
        except InputError:
            if frame == frames[-1] and not any_read:
                raise
        else:
            any_read = True
            yield plane


def check_room(count: int, most: int) -> None:
    """Refuse more objects than the labels' type has numbers."""
    if count > most:
        raise ValueError(
            f"There are {count} objects, but the labels' type ends at {most}. Give uint32."
        )


def relabelled(
    labels: WritableArray, detections: Detections, links: Links, gap: int
) -> NDArray[np.float64]:
    """Number the objects of each frame as they are linked, and fill the gaps in them.

    Where an object was missed, it is drawn as on the frame before the gap, moved along the line
    between its centres, as far as nothing else is there. Only frames that a gap may still reach
    are held in memory.
    """
    held: dict[int, NDArray[Any]] = {}
    boxes: dict[int, list[Any]] = {}  # of the objects of a held frame, by number from 1
    seen: dict[int, tuple[int, NDArray[np.float64]]] = {}  # frame and centre
    rows: list[NDArray[np.float64]] = [np.zeros((0, 4))]
    for frame, (ids, centres) in enumerate(zip(links.ids, detections.centres, strict=True)):
        plane = np.asarray(labels[frame])
        held[frame] = np.concatenate([[0], ids])[plane].astype(plane.dtype)
        linked = ids > 0
        rows.append(np.column_stack([ids, np.full(len(ids), frame), centres])[linked])
        for number, centre in zip(ids[linked].tolist(), centres[linked], strict=True):
            last, start = seen.get(number, (frame, centre))
            for missed in range(last + 1, frame):
                step = (centre - start) * (missed - last) / (frame - last)
                if last not in boxes:
                    boxes[last] = find_objects(held[last])
                _draw_moved(held[last], boxes[last][number - 1], held[missed], number, step)
                rows.append(np.array([[number, missed, *(start + step)]]))
            seen[number] = frame, centre
        seen = {number: place for number, place in seen.items() if place[0] >= frame - gap}
        if frame > gap:
            labels[frame - gap - 1] = held.pop(frame - gap - 1)
            boxes.pop(frame - gap - 1, None)
    for frame, plane in held.items():
        labels[frame] = plane
    tracks = np.concatenate(rows)
    return tracks[np.lexsort((tracks[:, 1], tracks[:, 0]))]


def _draw_moved(
    last: NDArray[Any],
    box: tuple[slice, slice],
    missed: NDArray[Any],
    number: int,
    step: NDArray[np.float64],
) -> None:
    origin = [each.start for each in box]
    places = np.argwhere(last[box] == number) + origin + step.round().astype(int)
    inside = ((places >= 0) & (places < missed.shape)).all(axis=1)
    rows, columns = places[inside].T
    free = missed[rows, columns] == 0
    missed[rows[free], columns[free]] = number
