"""The choice of a Labels layer for the results, and numbers that are taken in it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning

from napari_sam2.plugin.job_runner import Failure, JobRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Image, Labels

    from napari_sam2.plugin.layers.result_display import ResultDisplay
    from napari_sam2.plugin.layers.workspace import Workspace
    from napari_sam2.session.session import Session

_NAMED = 5  # objects that a warning names


class TargetChoice:
    """Lets results go to a layer once its largest label is known, and tells of shared numbers.

    Parameters
    ----------
    session : Session
        Has the objects.
    workspace : Workspace
        Has the layers.
    display : ResultDisplay
        Writes to them.
    chosen : callable
        Called after results go to another layer.
    """

    def __init__(
        self,
        session: Session,
        workspace: Workspace,
        display: ResultDisplay,
        chosen: Callable[[], None],
    ) -> None:
        self._session = session
        self._workspace = workspace
        self._display = display
        self._chosen = chosen
        self._search: JobRunner | None = None
        self._told: set[tuple[str, int]] = set()  # layers and objects
        session.history_changed.connect(self._tell_shared)

    def choose(self, image: Image, layer: Labels | None) -> None:
        """Write the results of an image to another layer; None makes one when it is needed.

        Labels that are not in memory are looked through first, in a thread; until that is done,
        results go where they went.
        """
        self.close()
        targets = self._workspace.targets
        if layer is targets.of(str(image.unique_id)):
            return
        if layer is None:
            self._take(image, None)
            return
        # what is there of ours was written; others may have been added while it was not in use
        known = targets.is_known(layer)
        own = {entry.object_id for entry in self._session.objects} if known else set()
        self._told.update((str(layer.unique_id), number) for number in own)
        if isinstance(layer.data, np.ndarray) and not isinstance(layer.data, np.memmap):
            self._take(image, layer, max(_largest_labels(layer.data, own), default=0))
        else:
            self._look_through(image, layer, own)

    def close(self) -> None:
        """End the search in a layer, which is then not chosen."""
        if self._search is not None:
            self._search.close()
            self._search = None

    def _look_through(self, image: Image, layer: Labels, own: set[int]) -> None:
        data, largest, failed = layer.data, 0, False

        def on_yielded(step: object) -> None:
            nonlocal largest, failed
            if isinstance(step, int):
                largest = max(largest, step)
            elif isinstance(step, Failure):
                failed = True
                show_error(
                    f"The labels of “{layer.name}” cannot be read ({step.error}), so no results "
                    "are written there."
                )

        def on_finished() -> None:
            self._search = None
            layers = self._workspace.viewer.layers
            fits = self._workspace.targets.is_candidate(layer, image)
            if not failed and fits and image in layers and layer in layers:
                self._take(image, layer, largest)

        self._search = JobRunner()
        self._search.yielded.connect(on_yielded)
        self._search.finished.connect(on_finished)
        self._search.start(lambda: _largest_labels(data, own))
        show_info(
            f"The labels of “{layer.name}” are looked through, so that new objects get numbers "
            "that are free. Results go there as soon as that is done."
        )
        self._workspace.layers_changed.emit()  # which show where results go until then

    def _take(self, image: Image, layer: Labels | None, largest: int = 0) -> None:
        image_id = str(image.unique_id)
        self._display.leave(image_id)
        self._workspace.targets.choose(image, layer, largest)
        self._display.refresh(image_id)
        self._chosen()
        self._tell_shared()

    def _tell_shared(self) -> None:
        """Tell of objects with numbers that may be those of labels in their layer, each once."""
        targets = self._workspace.targets
        shared: dict[Labels, set[int]] = defaultdict(set)
        for stack in self._session.stacks:
            layer = targets.of(stack.image)
            if layer is not None:
                largest = targets.largest(layer)
                shared[layer] |= {n for n, _ in self._session.prompts(stack) if n <= largest}
        for layer, numbers in shared.items():
            new = sorted(n for n in numbers if (str(layer.unique_id), n) not in self._told)
            if new:
                self._told.update((str(layer.unique_id), n) for n in new)
                show_warning(
                    f"“{layer.name}” had labels up to {targets.largest(layer)} before, and "
                    f"{_objects(new)} a number up to that. If there is a label of the same number, "
                    "it counts as the object's: unless it is the same, let results go to another "
                    "Labels layer."
                )


def _largest_labels(data: Any, own: set[int]) -> Iterator[int]:
    """Largest label of each plane that is not one of our own."""
    for index in np.ndindex(*data.shape[:-2]):
        plane = np.asarray(data[index])
        largest = int(plane.max(initial=0))
        if largest in own:
            largest = int(plane[~np.isin(plane, list(own))].max(initial=0))
        yield largest


def _objects(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"object {numbers[0]} has"
    named = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    return f"objects {named} each have"
