"""Keeps Labels layers equal to the masks of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.notifications import show_warning
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.plugin.coordinates import StackGeometry
from napari_sam2.plugin.layers.labels_layer import LabelsWriter
from napari_sam2.plugin.layers.painting import (
    join_pixels,
    painted_key,
    painted_pixels,
    stacks_of_image,
)
from napari_sam2.plugin.layers.write_queue import WriteQueue
from napari_sam2.session.labels import bounding_region, plane_key, planes_meet
from napari_sam2.session.values import FrameChange

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from napari.components import Dims
    from napari.layers import Labels

    from napari_sam2.inference.crops import MaskCrop
    from napari_sam2.plugin.layers.painting import Stroke
    from napari_sam2.plugin.layers.targets import Targets
    from napari_sam2.session.labels import Pixels
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import ObjectMask, StackKey


class ResultDisplay:
    """Writes masks to the Labels layer of their image; objects that are hidden are left out.

    A change of many planes takes a moment, as the window goes on meanwhile: see `WriteQueue`. Call
    `finish` before anything that reads or writes other planes than the one in view.

    Parameters
    ----------
    session : Session
        Where the masks are.
    targets : Targets
        Knows the Labels layer of each image.
    dims : napari.components.Dims
        The viewer's axes.

    Attributes
    ----------
    failed : Signal(object, object)
        Emitted with a layer that does not take results, and the exception that says so.
    """

    failed = Signal(object, object)

    def __init__(self, session: Session, targets: Targets, dims: Dims) -> None:
        self._session = session
        self._targets = targets
        self._queue = WriteQueue(dims)
        self._queue.failed.connect(self.failed.emit)
        self._writers: dict[str, LabelsWriter] = {}
        self._hidden: set[int] = set()  # objects
        self._protect = True
        self._told: set[LabelsWriter] = set()  # of masks that lie outside their layers
        # where was painted during a run, with the layer, as the session does not know of it yet
        self._painted: list[tuple[Hashable, Pixels]] = []
        # planes across others where masks went away, to be filled once these are written
        self._to_fill: dict[tuple[StackKey, int], LabelsWriter] = {}
        self._fill_timer = QTimer()
        self._fill_timer.setSingleShot(True)
        self._fill_timer.setInterval(0)
        self._fill_timer.timeout.connect(self._fill)
        session.object_changed.connect(self._on_object_changed)

    @property
    def is_behind(self) -> bool:
        """Whether a layer is not complete yet."""
        return self._queue.is_waiting or bool(self._to_fill)

    def finish(self, layer: Labels | None = None) -> None:
        """Complete a layer at once, or all."""
        self._fill()
        self._queue.flush(layer)

    def write(self, change: FrameChange) -> None:
        """Show a change; without a Labels layer the masks stay in the session alone."""
        known = self._writers.get(change.stack.image)
        writer = self._writer(change.stack.image)
        if writer is not None and writer is known:  # a new one has written everything
            # one that was hidden just now, by undo, may have been painted in the same step
            before, after = (
                _behind(self._hidden, change.before),
                _without(self._hidden, change.after),
            )
            self._write(writer, FrameChange(change.stack, change.frame, before, after))

    def refresh(self, image_id: str) -> None:
        """Draw the labels of an image with everything that belongs to them."""
        writer = self._writer(image_id)
        if writer is not None:
            writer.layer.refresh()

    def set_protect(self, protect: bool) -> None:
        """Let masks fill background only, or cover other labels; what is shown changes at once."""
        self._protect = protect
        for image_id in list(self._writers):
            writer = self._writer(image_id)
            if writer is not None:
                self._rewrite(writer, image_id, protect)

    def show_painted(self, painted: Iterable[tuple[StackGeometry, Sequence[Stroke]]]) -> None:
        """Let no mask cover these strokes, which the session will take; they replace earlier."""
        self._painted = [
            (painted_key(layer, at.key, frame), pixels)
            for geometry, strokes in painted
            if (layer := self._targets.of(geometry.key.image)) is not None
            for at in stacks_of_image(geometry, self._session)
            for frame, pixels in painted_pixels(at, strokes, self._session).items()
        ]

    def leave(self, image_id: str) -> None:
        """Bring back what masks cover in the layer of an image, before another one is chosen."""
        writer, target = self._writers.get(image_id), self._targets.of(image_id)
        if writer is not None and writer.layer is target and not self._protect:
            self._rewrite(writer, image_id, protect=True)
            self.refresh(image_id)

    def close(self) -> None:
        """Complete the layers and stop drawing."""
        self._session.object_changed.disconnect(self._on_object_changed)
        self._fill()
        self._queue.close()
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, writer: LabelsWriter, change: FrameChange) -> None:
        geometry = StackGeometry(change.stack, writer.shape)
        before, after = (_within(m, geometry, change.frame) for m in (change.before, change.after))
        if (before, after) != (change.before, change.after):
            self._tell_outside(writer)
            if not before and not after:
                return
        change = FrameChange(change.stack, change.frame, before, after)
        key = painted_key(writer.layer, change.stack, change.frame)
        painted = self._session.kept(key)
        for place, pixels in self._painted:
            if place == key:
                painted = join_pixels(painted, pixels)
        try:
            writer.write(change, painted)
        except Exception as error:
            self.failed.emit(writer.layer, error)
            return
        self._fill_across(writer, change)

    def _fill_across(self, writer: LabelsWriter, change: FrameChange) -> None:
        """Let masks of stacks along other axes have what this one leaves."""
        before, after = change.before, change.after
        region = bounding_region(
            [m.crop.slices for n, m in before.items() if after.get(n) is not m]
        )
        if region is None:
            return
        plane = plane_key(change.stack, change.frame)
        spans = {
            axis: range(part.start, part.stop)
            for axis, part in zip(change.stack.plane_axes, region, strict=True)
        }
        for stack in self._session.stacks:
            is_other = stack.image == change.stack.image and stack != change.stack
            if not (is_other and stack.fits(len(writer.shape))):
                continue
            for frame in self._session.frames(stack):
                across = plane_key(stack, frame)
                if planes_meet(across, plane) and all(
                    index is None or index in spans.get(axis, (index,))
                    for axis, index in enumerate(across)
                ):
                    self._to_fill[stack, frame] = writer
        if self._to_fill and not self._fill_timer.isActive():
            self._fill_timer.start()

    def _fill(self) -> None:
        """Write planes across again, each once for all that has changed."""
        self._fill_timer.stop()
        planes, self._to_fill = self._to_fill, {}
        for (stack, frame), writer in planes.items():
            if self._writers.get(stack.image) is writer:
                masks = _without(self._hidden, self._session.masks(stack, frame))
                self._write(writer, FrameChange(stack, frame, masks, masks))

    def _tell_outside(self, writer: LabelsWriter) -> None:
        if writer not in self._told:
            self._told.add(writer)
            show_warning(
                f"The image of “{writer.layer.name}” is smaller than it was, so masks outside it "
                "are not shown. The session keeps them."
            )

    def _on_object_changed(self) -> None:
        """Take what is hidden now out of the layers, and put what is shown again into them."""
        hidden = {entry.object_id for entry in self._session.objects if not entry.visible}
        changed, earlier, self._hidden = hidden ^ self._hidden, self._hidden, hidden
        if not changed:
            return
        for stack in self._session.stacks:
            writer = self._writers.get(stack.image)
            for frame in self._session.frames(stack):
                masks = self._session.masks(stack, frame)
                if writer is not None and changed & masks.keys():
                    before, after = (_without(each, masks) for each in (earlier, hidden))
                    self._write(writer, FrameChange(stack, frame, before, after))

    def _writer(self, image_id: str) -> LabelsWriter | None:
        target = self._targets.of(image_id)
        writer = self._writers.get(image_id)
        if writer is not None and writer.layer is not target:
            writer.close()
            del self._writers[image_id]
            writer = None
        if writer is None and target is not None:
            writer = self._writers[image_id] = LabelsWriter(target, self._queue, self._protect)
            self._rewrite(writer, image_id, self._protect)
        return writer

    def _rewrite(self, writer: LabelsWriter, image_id: str, protect: bool) -> None:
        writer.protect = protect
        for stack in self._session.stacks:
            if stack.image == image_id:
                for frame in self._session.frames(stack):
                    masks = _without(self._hidden, self._session.masks(stack, frame))
                    self._write(writer, FrameChange(stack, frame, masks, masks))


def _within(
    masks: Mapping[int, ObjectMask], geometry: StackGeometry, frame: int
) -> Mapping[int, ObjectMask]:
    """Masks that lie within a stack, as they do not where an image has lost planes."""
    held, shape = geometry.held_axes(frame), geometry.shape
    if len(held) + 2 != len(shape) or any(shape[axis] <= index for axis, index in held):
        return {}
    height, width = geometry.plane_shape
    return {
        object_id: mask
        for object_id, mask in masks.items()
        if mask.crop.origin[0] + mask.crop.logits.shape[0] <= height
        and mask.crop.origin[1] + mask.crop.logits.shape[1] <= width
    }


def _behind(hidden: set[int], masks: Mapping[int, ObjectMask]) -> Mapping[int, ObjectMask]:
    """Masks of which those of hidden objects win against no other."""
    return {
        object_id: replace(mask, crop=_lowest(mask.crop)) if object_id in hidden else mask
        for object_id, mask in masks.items()
    }


def _lowest(crop: MaskCrop) -> MaskCrop:
    least = np.finfo(np.float16).smallest_subnormal
    return replace(crop, logits=np.minimum(crop.logits, least))


def _without(hidden: set[int], masks: Mapping[int, ObjectMask]) -> Mapping[int, ObjectMask]:
    return {object_id: mask for object_id, mask in masks.items() if object_id not in hidden}
