"""What is clicked and drawn, and for which object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Points, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QLabel, QPushButton, QSpinBox

from napari_sam2.plugin import keys
from napari_sam2.plugin.layers.colors import object_color
from napari_sam2.plugin.layers.tools import TOOLS
from napari_sam2.plugin.widgets.layer_combo import LayerCombo
from napari_sam2.plugin.widgets.section import Section

if TYPE_CHECKING:
    import napari

_TOOL_TIPS = {
    "point": "Click on the object.",
    "box": "Draw a rectangle around the object.",
    "outline": "Draw around the object with the button pressed; the outline is taken as it is.",
    "scribble": "Draw along the object with the button pressed.",
}


class PromptSection(Section):
    """Prompt layers, active object, sign, and the run on one plane.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Attributes
    ----------
    tool_chosen : Signal(str)
        Emitted with what the user wants to draw.
    active_chosen : Signal(int, bool)
        Emitted with the object and the sign that the user chose.
    new_object_asked, candidate_asked, label_given, label_taken_back : Signal()
        Emitted when the buttons are pressed.
    run_asked, one_each_asked : Signal()
        Emitted when the buttons are pressed.
    auto_run_changed : Signal(bool)
        Emitted with whether prompts run by themselves.
    in_view_changed : Signal(bool)
        Emitted with whether the model sees only the part in view.
    """

    tool_chosen = Signal(str)
    active_chosen = Signal(int, bool)
    new_object_asked = Signal()
    candidate_asked = Signal()
    label_given = Signal()
    label_taken_back = Signal()
    run_asked = Signal()
    one_each_asked = Signal()
    auto_run_changed = Signal(bool)
    in_view_changed = Signal(bool)

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__("Prompts")
        self.points = LayerCombo(viewer, lambda layer: isinstance(layer, Points), "new layer")
        self.shapes = LayerCombo(viewer, lambda layer: isinstance(layer, Shapes), "new layer")
        self.object = QSpinBox()
        self.object.setRange(1, 2**31 - 1)
        self.swatch = QLabel()
        self.swatch.setFixedSize(14, 14)
        self.new_object = QPushButton("New object")
        self.new_object.setToolTip(f"Begin the next object. Key: {keys.NEW_OBJECT}")
        self.positive = QPushButton("+ positive")
        self.negative = QPushButton("− negative")
        self.tools = {tool: QPushButton(tool) for tool in TOOLS}
        for tool, button in self.tools.items():
            button.setCheckable(True)
            button.setToolTip(_TOOL_TIPS[tool])
            button.clicked.connect(lambda _, tool=tool: self.tool_chosen.emit(tool))
        signs = QButtonGroup(self)
        for button in (self.positive, self.negative):
            button.setCheckable(True)
            signs.addButton(button)
        self.candidate = QPushButton("Next candidate")
        self.candidate.setToolTip(
            "A click may mean a part or the whole: show another of the three masks that the "
            f"active object may have on this plane. Key: {keys.NEXT_CANDIDATE}"
        )
        self.use_label = QPushButton("Use as mask")
        self.use_label.setToolTip(
            "Select a Labels layer and pick a label: its pixels on this plane become a mask of "
            "the active object, which points and boxes can refine."
        )
        self.remove_label = QPushButton("Take back")
        self.remove_label.setToolTip("Remove such a mask from the active object on this plane.")
        self.one_each = QPushButton("One object each")
        self.one_each.setToolTip(
            "Make every point or shape of the selected layer an object of its own: detections, or "
            "boxes, become masks in one go. Your own layer stays as it is."
        )
        self.auto_run = QCheckBox("run by itself")
        self.auto_run.setChecked(True)
        self.auto_run.setToolTip("Show the mask after every click, without a button.")
        self.in_view = QCheckBox("only the part in view")
        self.in_view.setToolTip(
            "On an image of one plane: the model sees what you see, however far you zoom in or "
            "out, instead of the part that suits the object. From the next click on."
        )
        self.run = QPushButton("Run on plane")
        self.run.setToolTip(f"Show the masks of this plane's prompts. Key: {keys.RUN_PLANE}")
        self._add_rows()
        self.object.valueChanged.connect(self._emit_active)
        signs.buttonClicked.connect(self._emit_active)
        self.new_object.clicked.connect(lambda: self.new_object_asked.emit())
        self.candidate.clicked.connect(lambda: self.candidate_asked.emit())
        self.use_label.clicked.connect(lambda: self.label_given.emit())
        self.remove_label.clicked.connect(lambda: self.label_taken_back.emit())
        self.run.clicked.connect(lambda: self.run_asked.emit())
        self.one_each.clicked.connect(lambda: self.one_each_asked.emit())
        self.auto_run.toggled.connect(self.auto_run_changed)
        self.in_view.toggled.connect(self.in_view_changed)
        self.show_active(1, True)

    def _add_rows(self) -> None:
        self.points.setToolTip(
            "Clicks. Your own Points layer serves as well; its features “object” and “sign” are "
            "read where it has them."
        )
        self.shapes.setToolTip(
            "A rectangle is a box; a polygon, an ellipse and a lasso are outlines; a path and a "
            "line are scribbles. Your own Shapes layer serves as well."
        )
        self.add_wide(*self.tools.values())
        self.add_row("layers", self.points, self.shapes, even=True)
        self.add_row(
            "object",
            self.object,
            self.swatch,
            self.new_object,
            tip="The object that the next click or shape belongs to.",
        )
        self.add_row(
            "click is",
            self.positive,
            self.negative,
            tip="Of clicks and scribbles. Positive: this belongs to the object. Negative: this "
            f"does not; so are clicks with the right button. Key to switch: {keys.TOGGLE_SIGN}",
            even=True,
        )
        self.add_row("label", self.use_label, self.remove_label, even=True)
        self.add_row("mask", self.candidate, self.run, even=True)
        self.add_row("", self.auto_run, self.one_each)
        self.add_row("", self.in_view)

    def show_tool(self, chosen: str) -> None:
        """Show what the mouse draws; empty where it does something else."""
        for tool, button in self.tools.items():
            button.setChecked(tool == chosen)

    def show_active(self, object_id: int, positive: bool) -> None:
        """Show the active object and the sign of the next point."""
        self.object.blockSignals(True)
        self.object.setValue(object_id)
        self.object.blockSignals(False)
        (self.positive if positive else self.negative).setChecked(True)
        self.swatch.setStyleSheet(
            f"background-color: {object_color(object_id)}; border-radius: 7px;"
        )

    def _emit_active(self) -> None:
        self.active_chosen.emit(self.object.value(), self.positive.isChecked())
