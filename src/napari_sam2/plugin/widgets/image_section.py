"""Which image, along which axis, and where results go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox

from napari_sam2.plugin.widgets.channel_button import ChannelButton
from napari_sam2.plugin.widgets.layer_combo import LayerCombo
from napari_sam2.plugin.widgets.section import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import napari
    from napari.layers import Layer


class ImageSection(Section):
    """Image layer, its further channels, frame axis, Labels layer and what masks may cover there.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    is_target : callable
        Tells whether results can be written to a layer.

    Attributes
    ----------
    axis_chosen : Signal(int)
        Emitted with the frame axis that the user chose.
    time_chosen : Signal(bool)
        Emitted with whether the user said that this axis is time.
    protect_changed : Signal(bool)
        Emitted with whether labels that belong to no object are left as they are.
    """

    axis_chosen = Signal(int)
    time_chosen = Signal(bool)
    protect_changed = Signal(bool)

    def __init__(self, viewer: napari.Viewer, is_target: Callable[[Layer], bool]) -> None:
        super().__init__("Image")
        self.image = LayerCombo(viewer, lambda layer: isinstance(layer, Image), "no image")
        self.channels = ChannelButton()
        self.axis = QComboBox()
        self.kind = QComboBox()
        self.kind.addItem("is z", False)
        self.kind.addItem("is time", True)
        self.target = LayerCombo(viewer, is_target, "new labels layer")
        self.protect = QCheckBox("protect other labels")
        self.protect.setChecked(True)
        self.protect.setToolTip(
            "On: masks fill background only, and the labels that are already in the layer stay as "
            "they are. Off: masks cover these labels, which come back where a mask goes away, "
            "and all of them when protection is on again."
        )
        self.add_row("image", self.image, tip="The image to segment.")
        self._channels_caption = self.add_row(
            "channels",
            self.channels,
            tip="Further layers that the model sees together with the image, each in its colours "
            "and between its contrast limits, added up.",
        )
        self.show_channels(None, (), ())
        self.add_row(
            "frames",
            self.axis,
            self.kind,
            tip="The axis that objects are carried along: z of a stack, t of a time-lapse. "
            "Other axes stay where their slider is.",
        )
        self.kind.setToolTip(
            "What this axis is, as it has no name. Objects end in z, but may come back in time: "
            "that sets “stop where the object ends”."
        )
        self.add_row(
            "result",
            self.target,
            tip="The Labels layer that masks are written to.",
        )
        self.add_row("", self.protect)
        self.protect.toggled.connect(self.protect_changed)
        self.axis.activated.connect(lambda index: self.axis_chosen.emit(self.axis.itemData(index)))
        self.kind.activated.connect(lambda: self.time_chosen.emit(self.kind.currentData()))

    def show_channels(
        self, image: Image | None, fitting: Sequence[Image], chosen: Sequence[Image]
    ) -> None:
        """Show the channels of the image, where there are layers that could be any."""
        self.channels.show_channels(image, fitting, chosen)
        for widget in (self._channels_caption, self.channels):
            widget.setVisible(bool(fitting))

    def show_kind(self, is_time: bool, is_told: bool) -> None:
        """Show what frames lie along, where the image does not tell it by itself."""
        self.kind.setCurrentIndex(self.kind.findData(is_time))
        self.kind.setVisible(not is_told)

    def show_axes(self, names: Mapping[int, str], chosen: int | None) -> None:
        """Show the axes that frames can lie along, and the one that they do."""
        self.axis.clear()
        for axis, name in names.items():
            self.axis.addItem(name, axis)
        self.axis.setEnabled(len(names) > 1)
        if chosen is None:
            self.axis.addItem("one plane", None)
        self.axis.setCurrentIndex(self.axis.findData(chosen))
