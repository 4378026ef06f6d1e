"""Everything on the plane in view: found once, then chosen from while thresholds move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_sam2.inference.automatic.everything import is_searched_in_parts
from napari_sam2.inference.frames import WHOLE, fixed_levels
from napari_sam2.inference.masks import label_numbers
from napari_sam2.plugin.coordinates import (
    StackGeometry,
    current_frame,
    part_in_view,
    stack_geometry,
)
from napari_sam2.plugin.everything.result_layers import own_plane_layer, plane_layer, show_alone
from napari_sam2.plugin.job_runner import Failure, JobRunner
from napari_sam2.plugin.layers.image_source import stack_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.everything_tiled import TiledCandidates
    from napari_sam2.inference.automatic.found_masks import Candidates
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator
    from napari_sam2.plugin.everything.loaded_model import LoadedModel
    from napari_sam2.session.stack_source import StackSource

_IN_PARTS = ". The plane was looked at in parts, as it is much larger than the model's input."


@dataclass(frozen=True)
class Choice:
    """Which of the masks that were found are shown; as `Candidates.choose` takes them."""

    score: float | None
    stability: float | None
    overlap: float
    smallest: int


@dataclass(frozen=True, eq=False)
class _Found:
    """Masks of a plane or a part of it, and where they are to be shown."""

    candidates: Candidates | TiledCandidates
    image: Image
    geometry: StackGeometry
    frame: int
    part: tuple[slice, slice]
    in_tiles: bool


@dataclass(frozen=True, eq=False)
class _Shown:
    """Labels of a choice."""

    found: _Found
    labels: NDArray[np.uint32]
    count: int
    largest: int


class SegmentAll:
    """Finds the masks of a plane in one thread, and chooses among them in another.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    model : LoadedModel
        What is asked.

    Attributes
    ----------
    progressed : Signal(int, int)
        Emitted with the points asked and to ask.
    status_changed : Signal(str)
        Emitted with a sentence on what was found.
    running_changed : Signal(bool)
        Emitted when a search begins and ends.
    begun : Signal(float, float, float, float)
        Emitted with the lowest score and stability that masks are kept of, and the usual ones.
    failed : Signal(object)
        Emitted with the exception that ended a search.
    """

    progressed = Signal(int, int)
    status_changed = Signal(str)
    running_changed = Signal(bool)
    begun = Signal(float, float, float, float)
    failed = Signal(object)

    def __init__(self, viewer: napari.Viewer, model: LoadedModel) -> None:
        self._viewer, self._model = viewer, model
        self._found: _Found | None = None
        self._choice: Choice | None = None
        self._offset: int | None = None  # what is added to labels; None until the first are shown
        # what comes back where a search that is to replace it does not reach its end
        self._earlier: tuple[_Found | None, int | None] | None = None
        self._again = False  # whether to choose once more: something has changed meanwhile
        self._finder, self._chooser = JobRunner(), JobRunner()
        self._finder.yielded.connect(self._on_step)
        self._finder.finished.connect(self._on_searched)
        self._chooser.yielded.connect(self._on_chosen)
        self._chooser.finished.connect(self._on_chooser_free)

    @property
    def is_busy(self) -> bool:
        """Whether masks are searched for, or a choice is not shown yet."""
        return self._finder.is_busy or self._chooser.is_busy

    def search(
        self, image: Image, points_per_side: int, crop_layers: int, in_view: bool = False
    ) -> None:
        """Search a plane; does nothing while a search is under way.

        What an earlier search found there stays until this one has ended.

        Parameters
        ----------
        image : Image
            The image whose plane is shown.
        points_per_side, crop_layers : int
            As `MaskGenerator` takes them.
        in_view : bool
            Show the model that part of the plane alone that the canvas shows, and leave labels
            elsewhere as they are.
        """
        if self._finder.is_busy:
            return
        dims = self._viewer.dims
        geometry = stack_geometry(dims, image)
        frame = current_frame(dims, image, geometry)
        source = stack_source(image, geometry.key, None)
        part = WHOLE
        if in_view:
            try:
                part = part_in_view(dims, image, geometry)
            except ValueError as error:
                self.failed.emit(error)
                return
        layer = own_plane_layer(self._viewer.layers, image)
        if layer is not None and np.any(layer.data[geometry.index(frame, part)]):
            self._earlier = self._found, self._offset
        self._found, self._offset = None, None
        self._chooser.close()  # what it was at is not of this search
        self._again = False

        def job() -> Iterator[object]:
            # torch takes seconds to import, and the window must not wait for it
            from napari_sam2.inference.automatic.mask_generator import MaskGenerator

            generator = MaskGenerator(self._model.get(), points_per_side, crop_layers=crop_layers)
            in_tiles = part == WHOLE and is_searched_in_parts(geometry.plane_shape, generator.model)
            steps: Iterator[Candidates | TiledCandidates]
            if in_tiles:
                steps = _in_tiles(generator, source, geometry.held_axes(frame))
            else:
                plane = source.frames().plane(frame, part)
                steps = generator.steps(plane, source.contrast_limits)
            for candidates in steps:
                yield _Found(candidates, image, geometry, frame, part, in_tiles)

        self.status_changed.emit("Encoding the plane")
        self.running_changed.emit(True)
        self._finder.start(job)

    def choose(self, choice: Choice) -> None:
        """Show those of the masks found that meet a choice."""
        self._choice = choice
        self._choose()

    def cancel(self) -> None:
        """Stop searching; what was found stays, or what an earlier search had found there."""
        self._finder.cancel()

    def close(self) -> None:
        """Stop everything."""
        self._finder.close()
        self._chooser.close()

    def _on_step(self, step: object) -> None:
        if isinstance(step, Failure):
            self.failed.emit(step.error)
            self.status_changed.emit("Stopped by an error")
            return
        assert isinstance(step, _Found)
        candidates = step.candidates
        if self._found is None:
            floors, usual = candidates.floors, candidates.usual
            self.begun.emit(floors.score, floors.stability, usual.score, usual.stability)
        self._found = step
        self.progressed.emit(candidates.decoded, candidates.points)
        if candidates.decoded == candidates.points:
            self._earlier = None
        self._choose()

    def _on_searched(self) -> None:
        if self._earlier is not None:
            (self._found, self._offset), self._earlier = self._earlier, None
            self.status_changed.emit("Stopped. What was found here before stays.")
        self.running_changed.emit(False)

    def _choose(self) -> None:
        found, choice = self._found, self._choice
        if found is None or choice is None or self._earlier is not None:
            return
        self._again = self._chooser.is_busy
        if self._again:
            return

        def job() -> Iterator[object]:
            chosen = found.candidates.choose(
                choice.score, choice.stability, choice.overlap, choice.smallest
            )
            labels = chosen.labels()
            numbers = label_numbers(labels)
            yield _Shown(found, labels, len(numbers), int(numbers.max(initial=0)))

        self._chooser.start(job)

    def _on_chosen(self, step: object) -> None:
        if isinstance(step, Failure):
            self.failed.emit(step.error)
            return
        assert isinstance(step, _Shown)
        found = step.found
        if found.image not in self._viewer.layers:
            return
        layer = plane_layer(self._viewer.layers, found.image, found.geometry.shape)
        if self._offset is None:
            self._offset = self._largest_elsewhere(layer, found)
            show_alone(self._viewer.layers, layer)
        labels = step.labels
        if self._offset:
            labels[labels > 0] += np.uint32(self._offset)
        if step.largest + self._offset > np.iinfo(layer.data.dtype).max:
            self.failed.emit(
                ValueError(
                    f"The layer “{layer.name}” cannot hold more labels. Save it and delete it; the "
                    "next search makes a new one."
                )
            )
            return
        layer.data[found.geometry.index(found.frame, found.part)] = labels
        layer.refresh(thumbnail=False, highlight=False, extent=False)
        self.status_changed.emit(
            f"{step.count} objects, of {len(found.candidates.masks)} masks found"
            + _IN_PARTS * found.in_tiles
        )

    @staticmethod
    def _largest_elsewhere(layer: Labels, found: _Found) -> int:
        """The largest label of the plane beyond the part that is written."""
        if found.part == WHOLE:
            return 0
        height, width = found.geometry.plane_shape
        rows, columns = found.part
        around = (
            (slice(0, rows.start), slice(0, width)),
            (slice(rows.stop, height), slice(0, width)),
            (rows, slice(0, columns.start)),
            (rows, slice(columns.stop, width)),
        )
        indices = (found.geometry.index(found.frame, part) for part in around)
        return max(int(np.max(layer.data[index], initial=0)) for index in indices)

    def _on_chooser_free(self) -> None:
        if self._again:
            self._choose()


def _in_tiles(
    generator: MaskGenerator, source: StackSource, held: tuple[tuple[int, int], ...]
) -> Iterator[TiledCandidates]:
    """Search a plane that is much larger than the model's input, and is never read whole."""
    from napari_sam2.inference.automatic.everything_tiled import search_tiles
    from napari_sam2.inference.large.large_plane import LargePlane

    levels = fixed_levels((source.data, *source.coarser), dict(held))
    return search_tiles(generator, LargePlane(levels, source.contrast_limits, source.name))
