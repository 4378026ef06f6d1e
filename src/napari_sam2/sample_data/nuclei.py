"""A generator of nuclei: a small model of tissue and of the microscope that looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from skimage.filters import gaussian

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

VOXEL = (1.0, 0.5, 0.5)
"""Voxel size in µm along z, y, x: planes are further apart than pixels, as in most stacks."""

_DRIFT = 1.2  # µm from one time point to the next


@dataclass(frozen=True, eq=False)
class _Nucleus:
    """One nucleus at one time; lengths in µm, vectors in (z, y, x)."""

    label: int
    centre: NDArray[np.float64]
    radii: NDArray[np.float64]
    angle: float  # of the long axis within the plane, radians
    brightness: float
    lobes: NDArray[np.float64]  # (3,) amplitudes that make the outline other than an ellipse
    waves: NDArray[np.float64] = field(repr=False)  # (n, 4) wave vectors and phases: the texture

    @property
    def reach(self) -> float:
        return float(self.radii.max() * (1 + np.abs(self.lobes).sum()))


def still_nuclei(
    shape: tuple[int, int, int], *, count: int, seed: int, radius: float = 8.0
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Generate a z-stack of nuclei.

    Parameters
    ----------
    shape : tuple of int
        (Z, Y, X) in voxels.
    count : int
        How many nuclei to place.
    seed : int
        The same seed gives the same stack.
    radius : float
        Typical radius in µm.

    Returns
    -------
    image, truth : arrays of uint16, shape (Z, Y, X)
        Camera counts, and labels 1 to ``count`` on background 0.

    Raises
    ------
    ValueError
        When that many nuclei do not fit into the shape.
    """
    rng = np.random.default_rng(seed)
    return _picture(_place(shape, count, radius, rng), shape, rng)


def dividing_nuclei(
    shape: tuple[int, int, int, int],
    *,
    count: int,
    divisions: int,
    seed: int,
    radius: float = 6.5,
) -> tuple[NDArray[np.uint16], NDArray[np.uint16], dict[int, int]]:
    """Generate a time-lapse of nuclei that move and divide.

    Parameters
    ----------
    shape : tuple of int
        (T, Z, Y, X), in time points and voxels.
    count : int
        How many nuclei there are at first.
    divisions : int
        How many of them divide, each at a time point of its own after the first.
    seed : int
        The same seed gives the same time-lapse.
    radius : float
        Typical radius in µm before dividing.

    Returns
    -------
    image, truth : arrays of uint16, shape (T, Z, Y, X)
        Camera counts, and labels on background 0.
    parents : dict of int to int
        The mother's label for the label of each daughter.

    Raises
    ------
    ValueError
        When that many nuclei do not fit, or more are to divide than there are, or there is no
        second time point in which to divide.
    """
    if not 0 <= divisions <= count:
        raise ValueError(f"{divisions} of {count} nuclei cannot divide. Ask for 0 to {count}.")
    if divisions and shape[0] < 2:
        raise ValueError("A division needs two time points. Ask for more, or for no division.")
    rng = np.random.default_rng(seed)
    volume = shape[1:]
    nuclei = _place(volume, count, radius, rng)
    mothers = rng.permutation(count)[:divisions] + 1
    due = {int(label): int(rng.integers(1, shape[0])) for label in mothers}
    image = np.empty(shape, np.uint16)
    truth = np.empty(shape, np.uint16)
    parents: dict[int, int] = {}
    for time in range(shape[0]):
        if time:
            nuclei = [_moved(nucleus, volume, rng) for nucleus in nuclei]
        for mother in [nucleus for nucleus in nuclei if due.get(nucleus.label) == time]:
            first = count + len(parents) + 1
            nuclei.remove(mother)
            nuclei += _daughters(mother, (first, first + 1))
            parents |= {first: mother.label, first + 1: mother.label}
        nuclei = _pushed_apart(nuclei, volume)
        image[time], truth[time] = _picture(nuclei, volume, rng)
    return image, truth, parents


def _place(
    shape: Sequence[int], count: int, radius: float, rng: np.random.Generator
) -> list[_Nucleus]:
    """Nuclei at random places, side by side but not inside each other."""
    extent = np.array(shape) * VOXEL
    nuclei: list[_Nucleus] = []
    for _ in range(500 * count):
        if len(nuclei) == count:
            break
        radii = radius * rng.uniform((0.85, 0.85, 1.0), (1.1, 1.05, 1.35))
        margin = np.minimum(radii + 1.0, extent / 2)
        nucleus = _Nucleus(
            label=len(nuclei) + 1,
            centre=rng.uniform(margin, extent - margin),
            radii=radii,
            angle=float(rng.uniform(0, np.pi)),
            brightness=float(rng.uniform(0.45, 1.0)),
            lobes=rng.uniform(-0.06, 0.06, 3),
            waves=np.hstack([rng.normal(0, 0.9, (12, 3)), rng.uniform(0, 2 * np.pi, (12, 1))]),
        )
        if all(_gap(nucleus, other) > 0.5 for other in nuclei):
            nuclei.append(nucleus)
    if len(nuclei) < count:
        raise ValueError(
            f"{count} nuclei do not fit into the shape {tuple(shape)}. "
            "Ask for fewer, or for a larger shape."
        )
    return nuclei


def _gap(first: _Nucleus, second: _Nucleus) -> float:
    """Distance between two surfaces in µm, about; negative where they overlap."""
    distance = float(np.linalg.norm(first.centre - second.centre))
    return distance - 0.95 * float(first.radii.mean() + second.radii.mean())


def _moved(nucleus: _Nucleus, shape: Sequence[int], rng: np.random.Generator) -> _Nucleus:
    step = rng.normal(0, _DRIFT, 3) * (0.4, 1.0, 1.0)
    angle = nucleus.angle + float(rng.normal(0, 0.1))
    return replace(nucleus, centre=_inside(nucleus.centre + step, nucleus, shape), angle=angle)


def _daughters(mother: _Nucleus, labels: tuple[int, int]) -> list[_Nucleus]:
    """Two nuclei of about half the volume, left and right along the mother's long axis."""
    away = np.array([0.0, np.sin(mother.angle), np.cos(mother.angle)]) * mother.radii[2] * 0.75
    return [
        replace(
            mother,
            label=label,
            centre=mother.centre + side * away,
            radii=mother.radii * 0.76,
            angle=mother.angle + np.pi / 2,
            waves=mother.waves * (side, side, side, 1),  # mirrored, so that they differ
        )
        for label, side in zip(labels, (-1, 1), strict=True)
    ]


def _pushed_apart(nuclei: list[_Nucleus], shape: Sequence[int]) -> list[_Nucleus]:
    """Undo most of the overlap that moving and dividing brought."""
    nuclei = list(nuclei)
    for _ in range(20):
        for i, first in enumerate(nuclei):
            for j in range(i):
                second = nuclei[j]
                overlap = -_gap(first, second)
                if overlap > 0:
                    line = first.centre - second.centre
                    push = line / max(float(np.linalg.norm(line)), 1e-6) * overlap / 2
                    first = replace(first, centre=_inside(first.centre + push, first, shape))
                    nuclei[j] = replace(second, centre=_inside(second.centre - push, second, shape))
            nuclei[i] = first
    return nuclei


def _inside(
    centre: NDArray[np.float64], nucleus: _Nucleus, shape: Sequence[int]
) -> NDArray[np.float64]:
    extent = np.array(shape) * VOXEL
    margin = np.minimum(nucleus.radii, extent / 2)
    return np.clip(centre, margin, extent - margin)


def _picture(
    nuclei: list[_Nucleus], shape: Sequence[int], rng: np.random.Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Image the nuclei as a microscope would, and say which voxel belongs to which."""
    light = np.zeros(shape, np.float32)
    truth = np.zeros(shape, np.uint16)
    for nucleus in nuclei:
        _draw(nucleus, light, truth)
    light = gaussian(light, sigma=(1.0, 1.5, 1.5))
    depth, height, width = shape
    z, y, x = np.ogrid[0 : 1 : depth * 1j, -1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light *= 1.0 - 0.25 * z  # light is lost on its way through the sample
    light *= 1.0 - 0.3 * ((y + 0.3) ** 2 + (x - 0.2) ** 2) / 2  # and the lamp is off centre
    haze = gaussian(light, sigma=(4.0, 12.0, 12.0))
    photons = rng.poisson(8.0 + 60.0 * haze + 170.0 * light)
    counts = 100.0 + 12.0 * photons + rng.normal(0, 15.0, shape)
    return np.clip(counts, 0, 65535).astype(np.uint16), truth


def _draw(nucleus: _Nucleus, light: NDArray[np.float32], truth: NDArray[np.uint16]) -> None:
    """Add one nucleus in place; a voxel that is taken stays with whom it belongs to."""
    voxel = np.array(VOXEL)
    low = np.maximum(np.floor((nucleus.centre - nucleus.reach) / voxel), 0).astype(int)
    high = np.minimum(np.ceil((nucleus.centre + nucleus.reach) / voxel) + 1, light.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high.astype(int), strict=True))
    z, y, x = (
        index * size - centre
        for index, size, centre in zip(np.ogrid[box], voxel, nucleus.centre, strict=True)
    )
    cosine, sine = np.cos(nucleus.angle), np.sin(nucleus.angle)
    own = (z, y * cosine - x * sine, y * sine + x * cosine)  # the nucleus's own axes
    z2, y2, x2 = ((axis / size) ** 2 for axis, size in zip(own, nucleus.radii, strict=True))
    azimuth = np.arctan2(own[1], own[2])
    lobes = sum(size * np.cos((k + 2) * azimuth) for k, size in enumerate(nucleus.lobes))
    outline = 1.0 + lobes * (y2 + x2) / np.maximum(z2 + y2 + x2, 1e-6)  # round at the poles
    inside = (np.sqrt(z2 + y2 + x2) < outline) & (truth[box] == 0)
    texture = sum(
        np.cos(own[0] * w[0] + own[1] * w[1] + own[2] * w[2] + w[3]) for w in nucleus.waves
    ) / np.sqrt(len(nucleus.waves) / 2)
    truth[box][inside] = nucleus.label
    light[box][inside] = (nucleus.brightness * np.clip(1 + 0.22 * texture, 0.4, 1.6))[inside]
