"""The dock that segments everything on a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam2.checkpoints.registry import CHECKPOINTS
from napari_sam2.plugin.downloads import Downloads
from napari_sam2.plugin.notify import tell_error
from napari_sam2.plugin.segment_all import SegmentAll
from napari_sam2.plugin.widgets.docked import Docked
from napari_sam2.plugin.widgets.everything_section import ChoiceSection, SearchSection
from napari_sam2.plugin.widgets.model_section import ModelSection
from napari_sam2.plugin.widgets.vertical_scroll import VerticalScroll

if TYPE_CHECKING:
    import napari.viewer


class SegmentAllWidget(Docked):
    """Find everything on the plane in view, and move thresholds over it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer that the dock belongs to.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.segmentation, self.downloads = SegmentAll(viewer), Downloads()
        self.model, self.search, self.choice = (
            ModelSection(),
            SearchSection(viewer),
            ChoiceSection(),
        )
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(14)
        for section in (self.model, self.search, self.choice):
            layout.addWidget(section)
        layout.addStretch(1)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(VerticalScroll(inside))
        self._wire()
        self.when_closed(
            self.segmentation.close, self.downloads.close, self.search.image.disconnect_viewer
        )
        active = viewer.layers.selection.active
        images = [layer for layer in viewer.layers if isinstance(layer, Image)]
        self.search.image.show_layer(active if active in images else next(reversed(images), None))

    def _wire(self) -> None:
        segmentation, search, choice = self.segmentation, self.search, self.choice
        self.model.model_chosen.connect(segmentation.set_model)
        self.model.download_asked.connect(lambda name: self.downloads.start(CHECKPOINTS[name]))
        self.model.cancel_asked.connect(self.downloads.cancel)
        self.downloads.progressed.connect(self.model.show_download)
        self.downloads.ended.connect(self.model.end_download)
        self.downloads.failed.connect(tell_error)
        search.search_asked.connect(self._search)
        search.cancel_asked.connect(segmentation.cancel)
        choice.changed.connect(segmentation.choose)
        segmentation.progressed.connect(search.show_progress)
        segmentation.status_changed.connect(search.show_status)
        segmentation.running_changed.connect(search.show_running)
        segmentation.begun.connect(choice.show_limits)
        segmentation.failed.connect(tell_error)

    def _search(self) -> None:
        image = self.search.image.currentData()
        if image is None:
            self.search.status.setText("There is no image. Drag a file into the window.")
            return
        self.segmentation.search(
            image,
            self.search.points.value(),
            self.search.crops.currentIndex(),
            self.search.in_view.isChecked(),
        )
