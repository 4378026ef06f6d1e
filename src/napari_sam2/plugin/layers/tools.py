"""What the mouse draws in the prompt layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer, Points, Shapes

# in which prompt layer, and the layer's mode for it
TOOLS = {
    "point": ("points", "add"),
    "box": ("shapes", "add_rectangle"),
    "outline": ("shapes", "add_polygon_lasso"),
    "scribble": ("shapes", "add_path"),
}


def tool_in_use(active: Layer | None, points: Points | None, shapes: Shapes | None) -> str:
    """What the mouse draws in the active layer, one of `TOOLS`; "" where it is something else."""
    layers: dict[str, Any] = {"points": points, "shapes": shapes}
    for tool, (name, mode) in TOOLS.items():
        if active is not None and layers[name] is active and str(layers[name].mode) == mode:
            return tool
    return ""
