"""Everything on all planes: along which axis, and what objects do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QProgressBar, QPushButton

from napari_sam2.plugin.widgets.section import Section

if TYPE_CHECKING:
    from napari_sam2.plugin.everything.all_planes import Offer

_KINDS = {
    "z": "continue through depth",
    "memory": "continue through depth, by memory",
    "t": "move over time, may divide",
}
_EACH = "Search every plane with the points and thresholds above, and give each object one number."
_RUNS = {  # what the button says, and its tooltip
    "z": ("Whole stack", _EACH),
    "memory": (
        "Whole stack",
        "Search every third plane with the points and thresholds above, carry what is found "
        "through the others, and give each object one number.",
    ),
    "t": ("Whole time-lapse", _EACH),
}


class AllPlanesSection(Section):
    """Frame axis, what objects do along it, start and stop, progress.

    Attributes
    ----------
    axis_chosen : Signal(int)
        Emitted with the frame axis that the user chose.
    run_asked : Signal(str)
        Emitted with "z", "memory" or "t", what objects do, when the button is pressed.
    cancel_asked : Signal()
        Emitted when the other one is.
    """

    axis_chosen = Signal(int)
    run_asked = Signal(str)
    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__("All planes")
        self._offer: Offer | None = None
        self._is_running = self._is_waiting = False
        self.axis, self.kind = QComboBox(), QComboBox()
        for kind, text in _KINDS.items():
            self.kind.addItem(text, kind)
        self.run, self.cancel = QPushButton(), QPushButton("Cancel")
        self.cancel.setToolTip("Stop after the plane that is being searched; what was found stays.")
        self.progress = QProgressBar()
        self.progress.setRange(0, 1)
        self.progress.setFormat("")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        # Room for some lines from the start: the form does not make any for a text that grows.
        self.status.setMinimumHeight(3 * self.status.fontMetrics().lineSpacing())
        self.add_row(
            "frames",
            self.axis,
            tip="The axis that objects go on along: z of a stack, t of a time-lapse. "
            "Other axes stay where their slider is.",
        )
        self.add_row(
            "objects",
            self.kind,
            tip="Through depth, what overlaps on neighbouring planes is one object; by memory, "
            "what is found on some planes is carried through the others. Over time, objects are "
            "followed, and where one divides, two others begin.",
        )
        self.add_row("", self.run, self.cancel, even=True)
        self.add_row("", self.progress)
        self.add_row("", self.status)
        self.axis.activated.connect(lambda index: self.axis_chosen.emit(self.axis.itemData(index)))
        self.kind.currentIndexChanged.connect(self._update)
        self.run.clicked.connect(lambda: self.run_asked.emit(self.kind.currentData()))
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())
        self._update()

    def show_offer(self, offer: Offer) -> None:
        """Show which stack can be segmented, and what objects probably do in it."""
        if offer == self._offer:
            return
        before, self._offer = self._offer, offer
        with QSignalBlocker(self.axis):
            self.axis.clear()
            for axis, name in offer.axes.items():
                self.axis.addItem(name, axis)
            if offer.axis is None:
                self.axis.addItem("one plane", None)
            self.axis.setCurrentIndex(self.axis.findData(offer.axis))
        if before is None or (before.axis, before.is_time) != (offer.axis, offer.is_time):
            self.kind.setCurrentIndex(self.kind.findData("t" if offer.is_time else "z"))
        self._update()

    def show_progress(self, done: int, total: int) -> None:
        """Show how many planes are done."""
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setFormat("%v of %m planes")

    def show_explained(self, part: float) -> None:
        """Show how much of what was found belongs to objects by now, 0 to 1."""
        self.progress.setRange(0, 100)
        self.progress.setValue(round(100 * part))
        self.progress.setFormat("%p % carried")

    def show_status(self, text: str) -> None:
        """Show a sentence on what is being done."""
        self.status.setText(text)

    def show_running(self, running: bool) -> None:
        """Offer to start, or to stop."""
        self._is_running = running
        self._update()

    def show_waiting(self, waiting: bool) -> None:
        """Offer to start unless the model is at work elsewhere."""
        self._is_waiting = waiting
        self._update()

    def _update(self) -> None:
        refusal = self._offer.refusal if self._offer else "There is no image."
        free = not self._is_running
        text, tip = _RUNS[self.kind.currentData()]
        self.run.setText(text)
        self.run.setToolTip(refusal or tip)
        self.run.setEnabled(free and not self._is_waiting and not refusal)
        self.axis.setEnabled(free and self.axis.count() > 1)
        self.kind.setEnabled(free and not refusal)
        self.cancel.setEnabled(self._is_running)
