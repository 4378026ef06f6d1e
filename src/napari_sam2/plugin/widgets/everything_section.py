"""Where to search for everything, and what of it to show."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QProgressBar, QPushButton, QSpinBox
from superqt import QLabeledDoubleSlider

from napari_sam2.inference.automatic.found_masks import USUAL_OF_NANO
from napari_sam2.plugin.everything.segment_all import Choice
from napari_sam2.plugin.widgets.layer_combo import LayerCombo
from napari_sam2.plugin.widgets.section import Section

_CROPS = ("the whole plane", "and its quarters", "and its sixteenths")


class SearchSection(Section):
    """Image, density of the points, start and stop.

    Attributes
    ----------
    search_asked, cancel_asked : Signal()
        Emitted when the buttons are pressed.
    """

    search_asked = Signal()
    cancel_asked = Signal()

    def __init__(self, viewer: object) -> None:
        super().__init__("Search")
        self.image = LayerCombo(viewer, lambda layer: isinstance(layer, Image), "no image")
        self.image.chosen.connect(self.image.show_layer)
        self.points = QSpinBox()
        self.points.setRange(2, 256)
        self.points.setValue(32)
        self.crops = QComboBox()
        self.crops.addItems(_CROPS)
        self.in_view = QCheckBox("only the part in view")
        self.search = QPushButton("Segment all")
        self.search.setToolTip("Search the plane that is shown.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what was found stays.")
        self.cancel.setEnabled(False)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1)
        self.progress.setFormat("")
        self.status = QLabel("Ready")
        self.status.setWordWrap(True)
        self.add_row("image", self.image, tip="The image to segment.")
        self.add_row(
            "points",
            self.points,
            QLabel("along each side"),
            tip="The model is asked at a grid of so many points along each side. An object between "
            "two points is missed; twice as many points take four times as long.",
        )
        self.add_row(
            "look at",
            self.crops,
            tip="Parts of the plane are looked at enlarged, too, where objects are small. Each "
            "part takes as long as the whole plane.",
        )
        self.add_row(
            "",
            self.in_view,
            tip="Zoom in, and the model sees what you see, enlarged; labels elsewhere stay. "
            "Otherwise planes much larger than the model's input are looked at in parts.",
        )
        self.add_row("", self.search, self.cancel, even=True)
        self.add_row("", self.progress)
        self.add_row("", self.status)
        self.search.clicked.connect(lambda: self.search_asked.emit())
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())

    def show_progress(self, done: int, total: int) -> None:
        """Show how many points were asked."""
        self.progress.setRange(0, max(total, 1))
        self.progress.setValue(done)
        self.progress.setFormat("%v of %m points")

    def show_status(self, text: str) -> None:
        """Show a sentence on what was found."""
        self.status.setText(text)

    def show_running(self, running: bool) -> None:
        """Offer to start, or to stop."""
        self.search.setEnabled(not running)
        self.cancel.setEnabled(running)

    def show_waiting(self, waiting: bool) -> None:
        """Offer to start unless the model is at work elsewhere."""
        self.search.setEnabled(not waiting)


class ChoiceSection(Section):
    """Thresholds, which ask the model no more.

    Score and stability are what is usual of the model until the user moves them.

    Attributes
    ----------
    changed : Signal(object)
        Emitted with the `Choice`.
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__("Show")
        usual = USUAL_OF_NANO  # the bundled model is chosen at first
        self.score, self.stability = _slider(usual.score), _slider(usual.stability)
        self.overlap = _slider(0.7)
        self._moved: set[QLabeledDoubleSlider] = set()
        for slider in (self.score, self.stability):
            slider.valueChanged.connect(lambda _, slider=slider: self._moved.add(slider))
        self.smallest = QSpinBox()
        self.smallest.setRange(0, 1_000_000)
        self.smallest.setSuffix(" pixels")
        for caption, field, tip in (
            ("score", self.score, "The model's own estimate of a mask's overlap with the truth."),
            ("stability", self.stability, "How little a mask depends on where it is cut off."),
            ("overlap", self.overlap, "Of masks that overlap more than this, the best is shown."),
            ("smallest", self.smallest, "Smaller objects, parts and holes are left out."),
        ):
            self.add_row(caption, field, tip=tip)
            field.valueChanged.connect(self._emit)

    @property
    def choice(self) -> Choice:
        """What is set."""
        score, stability = (
            slider.value() if slider in self._moved else None
            for slider in (self.score, self.stability)
        )
        return Choice(score, stability, self.overlap.value(), self.smallest.value())

    def show_limits(
        self, least_score: float, least_stability: float, score: float, stability: float
    ) -> None:
        """Let thresholds move above what masks are kept of; they start at what is usual."""
        for slider, least in ((self.score, least_score), (self.stability, least_stability)):
            with QSignalBlocker(slider):
                slider.setMinimum(least)
        self.show_usual(score, stability)
        self._emit()

    def show_usual(self, score: float, stability: float) -> None:
        """Show what is usual of the model, where the user has chosen nothing else."""
        for slider, usual in ((self.score, score), (self.stability, stability)):
            if slider not in self._moved:
                with QSignalBlocker(slider):
                    slider.setValue(usual)

    def _emit(self) -> None:
        self.changed.emit(self.choice)


def _slider(value: float) -> QLabeledDoubleSlider:
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, 1)
    slider.setSingleStep(0.01)
    slider.setDecimals(2)
    slider.setValue(value)
    return slider
