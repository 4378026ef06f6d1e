"""The active object over the frames: how certain its masks are, and where it was prompted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPolygonF
from qtpy.QtWidgets import QLabel, QPushButton, QToolTip, QWidget

from napari_sam2.plugin import keys
from napari_sam2.plugin.layers.colors import certainty_color, object_color
from napari_sam2.plugin.widgets.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QMouseEvent, QPaintEvent

_HEIGHT, _MARKERS = 44, 9  # of the strip, and of the room above the bars
_SHADE = QColor(128, 128, 128, 60)  # quiet on a dark and on a light theme
_GREY = QColor(128, 128, 128, 200)


class Strip(QWidget):
    """One bar a frame, or a few frames where there are many: as high and as blue as it is certain.

    Attributes
    ----------
    frame_asked : Signal(int)
        Emitted with the frame under the mouse while its button is pressed.
    """

    frame_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(_HEIGHT)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.count, self.frame, self.object_id = 1, 0, 1
        self.scores: Mapping[int, float | None] = {}
        self.prompted: frozenset[int] = frozenset()

    def frame_at(self, x: float) -> int:
        """Frame at a place of the strip, in pixels from its left."""
        return min(max(int(x * self.count / max(self.width(), 1)), 0), self.count - 1)

    def describe(self, frame: int) -> str:
        """What there is to say of a frame."""
        said = [f"plane {frame}"]
        if frame in self.scores:
            score = self.scores[frame]
            said.append("absent" if score is None else f"certainty {score:.2f}")
        if frame in self.prompted:
            said.append("prompted")
        return " · ".join(said)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bars, marks of prompts, and where the slider stands."""
        painter = QPainter(self)
        width, bars = self.width(), min(self.count, max(self.width() // 2, 1))
        bottom = _HEIGHT - 1.0
        painter.fillRect(QRectF(0, _MARKERS, width, bottom - _MARKERS), _SHADE)
        step = width / bars
        gap = 1.0 if step >= 4 else 0.0
        for bar in range(bars):
            frames = range(bar * self.count // bars, (bar + 1) * self.count // bars)
            found = [self.scores[frame] for frame in frames if frame in self.scores]
            present = [score for score in found if score is not None]
            if present:  # of several frames the worst is what should be looked at
                height = (bottom - _MARKERS) * (0.15 + 0.85 * min(present))
                area = QRectF(bar * step, bottom - height, step - gap, height)
                painter.fillRect(area, QColor(certainty_color(min(present))))
            elif found:
                painter.fillRect(QRectF(bar * step, bottom - 2, step - gap, 2), _GREY)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(object_color(self.object_id)))
        for frame in self.prompted:
            x = self._middle(frame)
            corners = [QPointF(x - 4, 0), QPointF(x + 4, 0), QPointF(x, _MARKERS - 2)]
            painter.drawPolygon(QPolygonF(corners))
        line = self.palette().windowText().color()
        painter.fillRect(QRectF(self._middle(self.frame) - 1, 0, 2, bottom), line)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the frame."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.frame_asked.emit(self.frame_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what there is, or go there while the button is pressed."""
        frame = self.frame_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.frame_asked.emit(frame)
        else:
            QToolTip.showText(event.globalPosition().toPoint(), self.describe(frame), self)

    def changeEvent(self, event: QEvent) -> None:
        """Draw anew in another theme."""
        self.update()
        super().changeEvent(event)

    def _middle(self, frame: int) -> float:
        return (frame + 0.5) * self.width() / self.count


class TimelineSection(Section):
    """The strip, what it shows of the plane in view, and the way to where a prompt pays most.

    Attributes
    ----------
    frame_asked : Signal(int)
        Emitted with the frame that the user wants to see.
    least_certain_asked : Signal()
        Emitted when the button is pressed.
    """

    frame_asked = Signal(int)
    least_certain_asked = Signal()

    def __init__(self) -> None:
        super().__init__("Timeline")
        self.strip = Strip()
        self.text = QLabel()
        self.least_certain = QPushButton("Least certain")
        self.least_certain.setToolTip(
            "Go to the plane where the active object is least certain: a correction pays most "
            f"there. Again for the next one. Key: {keys.LEAST_CERTAIN}"
        )
        self.add_wide(self.strip)
        self.add_wide(self.text, self.least_certain)
        self.strip.frame_asked.connect(self.frame_asked)
        self.least_certain.clicked.connect(lambda: self.least_certain_asked.emit())
        self.show_track(1, 1, {}, frozenset())

    def show_track(
        self,
        object_id: int,
        count: int,
        scores: Mapping[int, float | None],
        prompted: frozenset[int],
    ) -> None:
        """Show an object over the frames.

        Parameters
        ----------
        object_id : int
            The object.
        count : int
            Frames of the stack.
        scores : mapping of int to float or None
            Score of its mask, by frame; None where it is absent.
        prompted : frozenset of int
            Frames on which it has prompts.
        """
        strip = self.strip
        strip.object_id, strip.count = object_id, max(count, 1)
        strip.scores, strip.prompted = scores, prompted
        self.show_frame(min(strip.frame, strip.count - 1))

    def show_frame(self, frame: int) -> None:
        """Show where the slider stands."""
        self.strip.frame = frame
        self.strip.update()
        self.text.setText(self.strip.describe(frame))
