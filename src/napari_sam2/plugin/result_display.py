"""Keeps Labels layers equal to the masks of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.plugin.coordinates import StackGeometry
from napari_sam2.plugin.labels_layer import LabelsWriter
from napari_sam2.session.values import FrameChange

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Labels

    from napari_sam2.plugin.targets import Targets
    from napari_sam2.session.session import Session


class ResultDisplay:
    """Writes masks to the Labels layer of their image.

    Parameters
    ----------
    session : Session
        Where the masks are.
    targets : Targets
        Knows the Labels layer of each image.
    dims : napari.components.Dims
        The viewer's axes.
    """

    def __init__(self, session: Session, targets: Targets, dims: Dims) -> None:
        self._session = session
        self._targets = targets
        self._dims = dims
        self._writers: dict[str, LabelsWriter] = {}

    def write(self, change: FrameChange) -> None:
        """Show a change; without a Labels layer the masks stay in the session alone."""
        writer = self._writer(change.stack.image)
        if writer is not None:
            writer.write(change, StackGeometry(change.stack, writer.layer.data.shape))

    def refresh(self, image_id: str) -> None:
        """Draw the labels of an image with everything that belongs to them."""
        writer = self._writer(image_id)
        if writer is not None:
            writer.layer.refresh()

    def close(self) -> None:
        """Stop drawing."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, image_id: str) -> LabelsWriter | None:
        target = self._targets.of(image_id)
        writer = self._writers.get(image_id)
        if writer is not None and writer.layer is not target:
            writer.close()
            del self._writers[image_id]
            writer = None
        if writer is None and target is not None:
            writer = self._writers[image_id] = LabelsWriter(target, self._dims)
            self._write_all(writer, image_id, target)
        return writer

    def _write_all(self, writer: LabelsWriter, image_id: str, target: Labels) -> None:
        for stack in self._session.stacks:
            if stack.image == image_id:
                geometry = StackGeometry(stack, target.data.shape)
                for frame in self._session.frames(stack):
                    masks = self._session.masks(stack, frame)
                    writer.write(FrameChange(stack, frame, {}, masks), geometry)
