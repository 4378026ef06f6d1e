"""World and plane: the one place where the window's coordinates are converted.

napari shows layers of any number of axes in one world; a model sees one plane of one image. A
`StackGeometry` says which axes of the image make the plane, which one the frames lie along, and
at which index the others stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_sam2.inference.frames import WHOLE
from napari_sam2.session.labels import Plane, plane_index, plane_key, planes_meet
from napari_sam2.session.values import StackKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import Dims
    from napari.layers import Image, Labels, Layer
    from numpy.typing import ArrayLike, NDArray


class PlanePosition(NamedTuple):
    """A position in a stack: frame (an index), row and column (pixels of the plane)."""

    frame: int
    row: float
    column: float


@dataclass(frozen=True)
class StackGeometry:
    """Which planes of an image the user works on.

    Parameters
    ----------
    key : StackKey
        The axes of the plane, the frame axis, and where the other axes stay.
    shape : tuple of int
        Shape of the image without its RGB axis.
    """

    key: StackKey
    shape: tuple[int, ...]

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(Y, X) of a plane in pixels."""
        first, second = self.key.plane_axes
        return self.shape[first], self.shape[second]

    @property
    def frame_count(self) -> int:
        """How many frames the stack has; 1 where there is no frame axis."""
        return 1 if self.key.frame_axis is None else self.shape[self.key.frame_axis]

    def index(self, frame: int, region: tuple[slice, slice]) -> tuple[int | slice, ...]:
        """Index of a region of one frame in an array of the image's shape.

        Parameters
        ----------
        frame : int
            Index along the frame axis.
        region : tuple of slice
            Rows and columns of the plane.

        Returns
        -------
        tuple
            One index for each axis; indexing gives an array of shape (rows, columns).
        """
        return plane_index(self.key, frame, region)

    def locate(self, position: ArrayLike) -> PlanePosition | None:
        """Find where in the stack a position of the image lies.

        Parameters
        ----------
        position : array-like of float, shape (ndim,)
            In data coordinates of the image: array order, pixel centres at integers.

        Returns
        -------
        PlanePosition or None
            None where it lies at another index of an axis that stays, so in another stack, or
            nowhere, as a coordinate is not finite. It may lie outside the image.
        """
        position = np.asarray(position, dtype=float)
        if not np.isfinite(position).all():
            return None
        if any(_nearest(position[axis]) != index for axis, index in self.key.fixed):
            return None
        axis = self.key.frame_axis
        frame = 0 if axis is None else _nearest(position[axis])
        row, column = (float(position[axis]) for axis in self.key.plane_axes)
        return PlanePosition(frame, row, column)

    def contains(self, position: PlanePosition) -> bool:
        """Whether a position lies on a pixel of the stack."""
        height, width = self.plane_shape
        return (
            0 <= position.frame < self.frame_count
            and -0.5 <= position.row <= height - 0.5
            and -0.5 <= position.column <= width - 0.5
        )

    def held_axes(self, frame: int) -> tuple[tuple[int, int], ...]:
        """(axis, index) of every axis of the image that is not part of the plane."""
        axis = self.key.frame_axis
        return self.key.fixed if axis is None else (*self.key.fixed, (axis, frame))


def full_resolution(layer: Image | Labels) -> Any:
    """The pixels of a layer; of a pyramid, those of its base."""
    return layer.data[0] if layer.multiscale else layer.data


def image_shape(image: Image) -> tuple[int, ...]:
    """Shape of an image layer at full resolution, without its RGB axis."""
    return tuple(int(length) for length in full_resolution(image).shape[: image.ndim])


def plane_axes(dims: Dims, layer: Layer) -> tuple[int, int]:
    """Find the two axes of a layer that make the plane on the screen, in ascending order.

    Where the screen shows an axis that the layer lacks, its last two axes make the plane.
    """
    offset = dims.ndim - layer.ndim
    # In a 3D view the last two of the displayed axes are those that a 2D view would show.
    first, second = sorted(axis - offset for axis in dims.order[-2:])
    return (first, second) if first >= 0 else (layer.ndim - 2, layer.ndim - 1)


def frame_axes(dims: Dims, layer: Layer) -> tuple[int, ...]:
    """Axes of a layer that frames can lie along: all but those of the plane, in array order."""
    return tuple(axis for axis in range(layer.ndim) if axis not in plane_axes(dims, layer))


def axis_name(dims: Dims, layer: Layer, axis: int) -> str:
    """Name of a layer's axis: its label, or "axis" and its number where it has none."""
    label = str(dims.axis_labels[dims.ndim - layer.ndim + axis])
    # napari numbers unnamed axes from the last one: "-3", "-2", "-1".
    return f"axis {axis}" if not label or label.lstrip("-").isdigit() else label


def stack_geometry(dims: Dims, image: Image, frame_axis: int | None = None) -> StackGeometry:
    """Read off the viewer which stack is meant.

    Parameters
    ----------
    dims : napari.components.Dims
        The viewer's axes: which are displayed, and where the sliders stand.
    image : napari.layers.Image
        The image.
    frame_axis : int, optional
        Axis of the image that frames lie along. By default, and where this axis is displayed,
        the last one that is not: z of (t, z, y, x).

    Returns
    -------
    StackGeometry
        Axes that are neither of the plane nor the frame axis stay where the sliders stand.
    """
    leading = frame_axes(dims, image)
    if frame_axis not in leading:
        frame_axis = leading[-1] if leading else None
    shape = image_shape(image)
    here = slider_index(dims, image, shape)
    fixed = tuple((axis, here[axis]) for axis in leading if axis != frame_axis)
    key = StackKey(str(image.unique_id), plane_axes(dims, image), frame_axis, fixed)
    return StackGeometry(key, shape)


def slider_index(dims: Dims, layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where the sliders stand, as the nearest index along each axis of a layer."""
    here = np.zeros(layer.ndim)
    known = np.asarray(dims.point)[-layer.ndim :]
    here[-len(known) :] = known  # fewer while napari takes a layer in or out
    position = layer.world_to_data(here * unit_factors(dims.units, layer))
    return tuple(
        min(max(_nearest(value), 0), length - 1)
        for value, length in zip(position, shape, strict=True)
    )


def current_frame(dims: Dims, image: Image, geometry: StackGeometry) -> int:
    """Frame that the slider stands at."""
    axis = geometry.key.frame_axis
    return 0 if axis is None else slider_index(dims, image, geometry.shape)[axis]


def part_in_view(dims: Dims, image: Image, geometry: StackGeometry) -> tuple[slice, slice]:
    """Rows and columns of the plane that the canvas shows; all of them in a 3D view.

    Raises
    ------
    ValueError
        When it shows none.
    """
    if dims.ndisplay != 2:
        return WHOLE
    # of a pyramid, napari counts in pixels of the level that is drawn; the last ones are included
    factors = (
        image.downsample_factors[image.data_level] if image.multiscale else np.ones(image.ndim)
    )
    first = image.corner_pixels[0] * factors
    last = (image.corner_pixels[1] + 1) * factors
    rows, columns = (
        slice(int(first[axis]), min(int(np.ceil(last[axis])), geometry.shape[axis]))
        for axis in geometry.key.plane_axes
    )
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        raise ValueError(f"Nothing of “{image.name}” is in view. Move it there: Ctrl+0 does.")
    return rows, columns


def is_shown(dims: Dims, layer: Labels, geometry: StackGeometry, frame: int) -> bool:
    """Whether a frame is part of what the viewer shows of a layer of the image's shape."""
    return planes_meet(plane_key(geometry.key, frame), plane_in_view(dims, layer))


def plane_in_view(dims: Dims, layer: Labels) -> Plane:
    """Index of what the viewer shows of a layer of labels; None along the axes that it shows."""
    here = slider_index(dims, layer, layer.data.shape)
    offset = dims.ndim - layer.ndim
    displayed = {axis - offset for axis in dims.displayed}
    return tuple(None if axis in displayed else index for axis, index in enumerate(here))


def to_image(positions: ArrayLike, source: Layer, image: Image) -> NDArray[np.float64]:
    """Carry positions of one layer over to an image, through the world.

    Parameters
    ----------
    positions : array-like of float, shape (N, source.ndim)
        In data coordinates of the source layer.
    source : napari.layers.Layer
        A layer with at least as many axes as the image.
    image : napari.layers.Image
        The image.

    Returns
    -------
    array of float64, shape (N, image.ndim)
        In data coordinates of the image.

    Raises
    ------
    ValueError
        When the source layer has fewer axes than the image, so that the plane is unknown.
    """
    if source.ndim < image.ndim:
        raise ValueError(
            f"The layer “{source.name}” has {source.ndim} axes and the image {image.ndim}, "
            "so the plane that it marks is not known. Use a layer with as many axes as the image."
        )
    positions = np.asarray(positions, dtype=float).reshape(-1, source.ndim)
    if equally_placed(source, image):
        return positions  # through the world and back they would be rounded

    factors = unit_factors(source.units, image)

    def one(position: NDArray[np.float64]) -> NDArray[np.float64]:
        world = np.asarray(source.data_to_world(position))[-image.ndim :]
        return np.asarray(image.world_to_data(world * factors), dtype=float)

    return _apply_affine(one, positions)


def placement(image: Image, first: int = 0) -> dict[str, Any]:
    """Arguments that give a new layer the image's place in the world.

    What is drawn in such a layer has the image's data coordinates.

    Parameters
    ----------
    image : napari.layers.Image
        The image.
    first : int
        The first of its axes that the layer has; it has all that follow.
    """
    kept = image.ndim - first
    # napari gives the triangle above the diagonal, row by row, or else the whole matrix
    shear = np.asarray(image.shear)
    return {
        "scale": image.scale[first:],
        "translate": image.translate[first:],
        "rotate": image.rotate[first:, first:],
        "shear": shear[first:, first:] if shear.ndim == 2 else shear[-kept * (kept - 1) // 2 :],
        "affine": image.affine.affine_matrix[first:, first:],
        "units": image.units[first:],
        "axis_labels": image.axis_labels[first:],
    }


def equally_placed(first: Layer, second: Layer) -> bool:
    """Whether two layers have as many axes, and each position the same place in the world."""
    names = ("scale", "translate", "rotate", "shear")
    return (
        first.ndim == second.ndim
        and all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
        and np.array_equal(first.affine.affine_matrix, second.affine.affine_matrix)
        and first.units == second.units
    )


def unit_factors(units: Sequence[Any] | None, layer: Layer) -> NDArray[np.float64]:
    """How many of a layer's units each of these is; napari converts a layer's coordinates by them.

    Parameters
    ----------
    units : sequence of pint.Unit or None
        Of the last axes, as many as there are; None for the layer's own.
    layer : napari.layers.Layer
        The layer.

    Returns
    -------
    array of float64, shape (ndim,)
        1 where the two have no factor, such as pixels and micrometers.
    """
    factors = np.ones(layer.ndim)
    for back, unit in enumerate(reversed((units or ())[-layer.ndim :]), start=1):
        if unit.is_compatible_with(layer.units[-back]):
            factors[-back] = (1 * unit).to(layer.units[-back]).magnitude
    return factors


def _apply_affine(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    positions: NDArray[np.float64],
) -> NDArray[np.float64]:
    # napari converts one position at a time, which is slow for thousands; but the map is affine,
    # so the origin and the unit vectors tell all of it.
    ndim = positions.shape[1]
    origin = function(np.zeros(ndim))
    matrix = np.stack([function(unit) - origin for unit in np.eye(ndim)])
    return np.asarray(positions @ matrix + origin)


def _nearest(value: float) -> int:
    return int(np.floor(value + 0.5))
