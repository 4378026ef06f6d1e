"""Find the objects of a stack on some planes, and carry each through the others with memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import find_objects

from napari_sam2.inference.automatic.detections import Detections, Links
from napari_sam2.inference.automatic.mask_generator import MaskGenerator
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.automatic.stack_segmenter import (
    Segmenter,
    StackObjects,
    check_room,
    checked_find,
    finder,
    relabelled,
)
from napari_sam2.inference.errors import InputError, check_whole
from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.inference.video.video_predictor import VideoPredictor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.stack_segmenter import FindLabels
    from napari_sam2.inference.frames import FrameSource, WritableArray
    from napari_sam2.inference.load import Model

EXPLAINED = 0.5  # of a mask or an object lies in objects that are there: it is one of them
ALIKE = 0.5  # IoU from which a carried mask is what was found on a plane
LEAVE = 2  # planes in a row without an object, after which it is carried no further


class MemorySegmenter(Segmenter):
    """Finds every object of a z-stack, without anyone clicking, and gives each one number.

    Some planes are searched. The one that shows most gives its masks, which the model carries
    through the stack with memory; then the one that shows most of what no object explains yet, and
    so on, until every mask that was found is explained. An object of which half lies in one before
    it is that one, and goes on where that one was lost; one of which half lies in several is left
    out.

    Objects do not divide here: use `StackSegmenter` for a time-lapse.

    Parameters
    ----------
    find : MaskGenerator or callable
        What searches a plane, as `StackSegmenter` takes it.
    model : Model, optional
        What carries objects; by default that of a `MaskGenerator`.
    every : int
        One plane of so many is searched; objects that lie between two of them may be missed.
    least_found : int
        Objects that were found on fewer of the searched planes, to an IoU of 0.5, are left out. For
        those that lie on fewer, other planes are searched, too, and they must be found on one more.
    smallest : int
        For a `MaskGenerator`: masks of fewer pixels are left out, and smaller holes filled.

    Raises
    ------
    TypeError, ValueError
        When there is no model, or a number has no meaning.
    """

    def __init__(
        self,
        find: MaskGenerator | FindLabels,
        model: Model | None = None,
        *,
        every: int = 3,
        least_found: int = 2,
        smallest: int = 0,
    ) -> None:
        if model is None:
            if not isinstance(find, MaskGenerator):
                raise TypeError("No model carries the objects. Write MemorySegmenter(find, model).")
            model = find.model
        check_whole("every", every, 1)
        check_whole("least_found", least_found, 1)
        self._find, self._model = finder(find, smallest), model
        self._every, self._least_found = every, least_found

    def _steps(
        self, source: FrameSource, labels: WritableArray, limits: tuple[float, float]
    ) -> Iterator[StackObjects]:
        frames, most = len(source), np.iinfo(np.dtype(labels.dtype)).max
        video = VideoPredictor(self._model, source, limits, distinct=True)
        carrying = _Carrying(video, labels)
        carrying.clear(range(frames))
        # the first and the last that are searched lie as near to the ends as to each other
        for frame in range(min(self._every, frames) // 2, frames, self._every):
            found = self._search(frame, source, limits, carrying)
            if found is not None:
                check_room(int(found.max()), most)
                labels[frame] = found
            yield StackObjects(labels, frame + 1, frames)
        for explained in carrying.steps():
            yield StackObjects(labels, frames, frames, explained=explained)
        least_found = min(self._least_found, len(carrying.found))
        for frame in carrying.doubtful(least_found):
            self._search(frame, source, limits, carrying)
            yield StackObjects(labels, frames, frames, explained=1.0)
        tracks = carrying.finish(least_found)
        yield StackObjects(labels, frames, frames, tracks, is_linked=True, explained=1.0)
        if carrying.unread is not None:
            raise carrying.unread

    def _search(
        self,
        frame: int,
        source: FrameSource,
        limits: tuple[float, float],
        carrying: _Carrying,
    ) -> NDArray[np.uint32] | None:
        try:
            plane = source.plane(frame)
        except InputError as error:  # told at the end: a plane is worth less than all others
            carrying.unread = carrying.unread or error
            return None
        found = _numbered(checked_find(self._find, plane, limits))
        carrying.found[frame] = _masks(found)
        return found


class _Carrying:
    """The objects of a stack, as far as they are carried.

    Attributes
    ----------
    found : dict of int to dict
        The masks that were found on each plane that was searched, by number.
    unread : InputError or None
        What was wrong with the first plane that could not be read.
    """

    def __init__(self, video: VideoPredictor, labels: WritableArray) -> None:
        self.found: dict[int, dict[int, RunMask]] = {}
        self.unread: InputError | None = None
        self._video, self._labels = video, labels
        self._most = np.iinfo(np.dtype(labels.dtype)).max
        self._count = 0  # of objects, with those that will be left out
        self._doubtful: set[int] = set()

    def clear(self, frames: Iterable[int]) -> None:
        """Let nothing be on some planes."""
        for frame in frames:
            self._labels[frame] = np.zeros(self._video.source.plane_shape, np.uint8)

    def steps(self) -> Iterator[float]:
        """Carry what no object explains; yields the part that is explained, plane by plane."""
        left = {frame: list(masks.values()) for frame, masks in self.found.items()}
        total = _area(left)
        while self.found and (area := _area(left)):
            start = max(left, key=lambda frame: _area({frame: left[frame]}))
            carried: dict[int, dict[int, RunMask]] = {}
            for frame, masks in self._carried(start, left.pop(start)):
                carried[frame] = masks
                yield 1 - area / total
            if not self._count:  # what was shown so far gives way to what is carried
                self.clear(self.found)
            self._add(carried)
            for frame in carried.keys() & left.keys():
                plane = np.asarray(self._labels[frame])
                left[frame] = [each for each in left[frame] if not _is_explained(each, plane)]

    def _carried(
        self, start: int, seeds: list[RunMask]
    ) -> Iterator[tuple[int, dict[int, RunMask]]]:
        """Masks of one plane on it and on others, by their places from 1."""
        for number, seed in enumerate(seeds, start=1):
            self._video.set_prompts(number, start, [MaskPrompt(seed.mask())])
        try:
            for result in self._video.propagate(stop_when_absent=LEAVE):
                yield result.frame, _masks(result.labels())
        except InputError as error:
            self.unread = self.unread or error
        finally:
            for number in self._video.object_ids:
                self._video.remove_object(number)

    def _add(self, carried: dict[int, dict[int, RunMask]]) -> None:
        """Make objects of masks that were carried, as far as they are not there already."""
        areas, under = Counter[int](), defaultdict[int, Counter[int]](Counter)
        there: dict[int, set[int]] = {}
        for frame, masks in carried.items():
            plane = np.asarray(self._labels[frame])
            there[frame] = set(np.unique(plane).tolist())
            for number, mask in masks.items():
                areas[number] += mask.area
                objects, counts = np.unique(_under(mask, plane), return_counts=True)
                under[number].update(dict(zip(objects.tolist(), counts.tolist(), strict=True)))
        ids: dict[int, int] = {}
        for number in sorted(areas):
            (same, most), *_ = under[number].most_common(1) or [(0, 0)]
            if most >= EXPLAINED * areas[number]:
                ids[number] = same
            elif under[number].total() < EXPLAINED * areas[number]:
                self._count += 1
                ids[number] = self._count
        check_room(self._count, self._most)
        for frame, masks in carried.items():
            plane = np.array(self._labels[frame])
            for number in ids.keys() & masks.keys():
                if ids[number] not in there[frame]:
                    part, crop = plane[masks[number].slices], masks[number].crop()
                    part[crop & (part == 0)] = ids[number]
            self._labels[frame] = plane

    def doubtful(self, least_found: int) -> list[int]:
        """Planes to search, too: of objects on too few of those that were to be found on enough.

        They must be found on one more, as a mistake is easily made on two planes in a row.
        """
        planes = defaultdict[int, set[int]](set)
        for frame in self._frames:
            for number in np.unique(np.asarray(self._labels[frame])).tolist():
                planes[number].add(frame)
        wanted: set[int] = set()
        for number in range(1, self._count + 1):
            on = planes[number]
            if len(on & self.found.keys()) < least_found:
                self._doubtful.add(number)
                missing = least_found + 1 - len(on & (self.found.keys() | wanted))
                wanted.update(sorted(on - self.found.keys() - wanted)[: max(missing, 0)])
        return sorted(wanted)

    def finish(self, least_found: int) -> NDArray[np.float64]:
        """Leave objects out that were found on too few planes, number the others, give tracks."""
        detections = Detections(1)
        ids: list[NDArray[np.int64]] = []
        found_on = Counter[int]()
        for frame in self._frames:
            plane = np.asarray(self._labels[frame])
            found_on.update(_alike(_masks(plane), self.found.get(frame, {}), plane.shape))
            own = np.unique(plane).astype(np.int64)
            ids.append(own[own > 0])
            self._labels[frame] = detections.add(plane)
        numbers = np.zeros(self._count + 1, np.int64)
        for own in ids:  # in the order in which they begin
            kept = [n for n in own.tolist() if found_on[n] >= least_found + (n in self._doubtful)]
            new = [each for each in kept if not numbers[each]]
            numbers[new] = numbers.max() + 1 + np.arange(len(new))
        return relabelled(self._labels, detections, Links([numbers[own] for own in ids], {}), 0)

    @property
    def _frames(self) -> range:
        return range(len(self._video.source))


def _alike(
    masks: dict[int, RunMask], found: dict[int, RunMask], shape: tuple[int, ...]
) -> Iterator[int]:
    """The masks, by number, that are what was found on their plane."""
    searched = _painted(found, shape)
    for number, mask in masks.items():
        shared = np.bincount(_under(mask, searched), minlength=1)
        best = found.get(int(shared.argmax()))
        if best and shared.max() > ALIKE * (mask.area + best.area - shared.max()):
            yield number


def _numbered(labels: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
    """The same objects, labelled from 1 without gaps."""
    values = np.unique(labels)
    numbers = np.searchsorted(values[values != 0], labels) + 1
    return np.where(labels == 0, 0, numbers).astype(np.uint32)


def _masks(labels: NDArray[np.uint32]) -> dict[int, RunMask]:
    """Each object of a label map (Y, X), by its label."""
    height, width = labels.shape
    boxes = enumerate(find_objects(labels.astype(np.int32)), start=1)
    return {
        number: RunMask.of(labels[box] == number, (height, width), (box[0].start, box[1].start))
        for number, box in boxes
        if box is not None
    }


def _painted(masks: dict[int, RunMask], shape: tuple[int, ...]) -> NDArray[np.uint32]:
    """A label map of masks that do not overlap."""
    labels = np.zeros(shape, np.uint32)
    for number, mask in masks.items():
        labels[mask.slices][mask.crop()] = number
    return labels


def _under(mask: RunMask, plane: NDArray[Any]) -> NDArray[Any]:
    """The labels of a plane, but for background, at the pixels of a mask."""
    labels: NDArray[Any] = plane[mask.slices][mask.crop()]
    return labels[labels > 0]


def _is_explained(mask: RunMask, plane: NDArray[Any]) -> bool:
    return len(_under(mask, plane)) >= EXPLAINED * mask.area


def _area(masks: dict[int, list[RunMask]]) -> int:
    return sum(mask.area for each in masks.values() for mask in each)
