"""The demonstration: napari with a generated z-stack and the dock ready."""

from __future__ import annotations

import napari


def open_demo() -> None:
    """Open napari with the generated z-stack and the SAM 2 dock; returns when it is closed."""
    viewer = napari.Viewer()
    viewer.open_sample("napari-sam2", "generated_zstack")
    viewer.layers.selection.active = viewer.layers["nuclei"]
    viewer.window.add_plugin_dock_widget("napari-sam2", "Click and track")
    napari.run()
