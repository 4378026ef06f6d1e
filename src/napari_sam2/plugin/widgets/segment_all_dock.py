"""The dock that segments everything, on a plane or on all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_sam2.checkpoints.registry import CHECKPOINTS
from napari_sam2.inference.automatic.everything import EverythingSettings
from napari_sam2.plugin.downloads import Downloads
from napari_sam2.plugin.everything.all_planes import AllPlanes
from napari_sam2.plugin.everything.loaded_model import LoadedModel
from napari_sam2.plugin.everything.segment_all import SegmentAll
from napari_sam2.plugin.notify import tell_error
from napari_sam2.plugin.widgets.all_planes_section import AllPlanesSection
from napari_sam2.plugin.widgets.docked import Docked, unwrapped
from napari_sam2.plugin.widgets.everything_section import ChoiceSection, SearchSection
from napari_sam2.plugin.widgets.model_section import ModelSection
from napari_sam2.plugin.widgets.vertical_scroll import VerticalScroll

if TYPE_CHECKING:
    import napari.viewer


class SegmentAllWidget(Docked):
    """Find everything on the plane in view, move thresholds over it, and do so on all planes.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer that the dock belongs to.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer = unwrapped(viewer)
        self._loaded = LoadedModel()
        self.segmentation = SegmentAll(viewer, self._loaded)
        self.all_planes = AllPlanes(viewer, self._loaded)
        self.downloads = Downloads()
        self.model, self.search, self.choice, self.stack = (
            ModelSection(),
            SearchSection(viewer),
            ChoiceSection(),
            AllPlanesSection(),
        )
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(14)
        for section in (self.model, self.search, self.choice, self.stack):
            layout.addWidget(section)
        layout.addStretch(1)
        outside = QVBoxLayout(self)
        outside.setContentsMargins(0, 0, 0, 0)
        outside.addWidget(VerticalScroll(inside))
        # the list of images is made anew with each change of the layers, entry by entry
        self._choose_image = QTimer(self)
        self._choose_image.setSingleShot(True)
        self._choose_image.timeout.connect(self._take_image)
        self._wire()
        self._wire_stack()
        self.when_closed(
            self.segmentation.close,
            self.all_planes.close,
            self.downloads.close,
            self.search.image.disconnect_viewer,
        )
        self._adopt_image()
        self.all_planes.choose_image(self.search.image.currentData())

    def _take_image(self) -> None:
        if self.search.image.currentData() is None:  # one may have been added since
            self._adopt_image()
        self.all_planes.choose_image(self.search.image.currentData())

    def _adopt_image(self) -> None:
        """Choose the image that the user probably means: the active layer, or else the topmost."""
        layers = self._viewer.layers
        candidates = (layers.selection.active, *reversed(layers))
        self.search.image.show_layer(next((c for c in candidates if isinstance(c, Image)), None))

    def _wire(self) -> None:
        segmentation, search, choice = self.segmentation, self.search, self.choice
        self.model.model_chosen.connect(self._loaded.choose)
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
        segmentation.running_changed.connect(self.stack.show_waiting)
        segmentation.begun.connect(choice.show_limits)
        segmentation.failed.connect(tell_error)

    def _wire_stack(self) -> None:
        all_planes, stack = self.all_planes, self.stack
        self.search.image.currentIndexChanged.connect(lambda _: self._choose_image.start(0))
        stack.axis_chosen.connect(all_planes.choose_axis)
        stack.run_asked.connect(self._run)
        stack.cancel_asked.connect(all_planes.cancel)
        all_planes.offered.connect(stack.show_offer)
        all_planes.progressed.connect(stack.show_progress)
        all_planes.carried.connect(stack.show_explained)
        all_planes.status_changed.connect(stack.show_status)
        all_planes.running_changed.connect(stack.show_running)
        all_planes.running_changed.connect(self.search.show_waiting)
        all_planes.begun.connect(self.choice.show_usual)
        all_planes.failed.connect(tell_error)

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

    def _run(self, kind: str) -> None:
        choice = self.choice.choice
        self.all_planes.start(
            "t" if kind == "t" else "z",
            EverythingSettings(
                link="memory" if kind == "memory" else "overlap",
                points_per_side=self.search.points.value(),
                crop_layers=self.search.crops.currentIndex(),
                min_score=choice.score,
                min_stability=choice.stability,
                max_overlap=choice.overlap,
                smallest=choice.smallest,
            ),
        )
