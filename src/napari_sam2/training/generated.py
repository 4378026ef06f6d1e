"""Generated sequences with exact labels: kinds of images that the labelled data does not hold.

Objects are blobs that may touch and divide, cells that fill the plane, or filaments; they drift,
change, appear and vanish from frame to frame. What they look like is drawn apart from what they
are: filled, outlined, textured, or brighter or darker than what lies around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Labels = NDArray[np.uint16]


def generated_sequence(random: Generator, frames: int, size: int) -> tuple[Image, Labels]:
    """Draw a sequence.

    Parameters
    ----------
    random : numpy.random.Generator
        The source of chance.
    frames : int
        How many.
    size : int
        Side in pixels.

    Returns
    -------
    image : array of float32, shape (frames, size, size)
        Intensities, 0 to 1.
    labels : array of uint16, shape (frames, size, size)
        0 is background; an object keeps its label until it divides.
    """
    draw = (_blobs, _blobs, _blobs, _tissue, _filaments)[random.integers(5)]
    labels = draw(random, frames, size)
    if random.random() < 0.5:  # followed backward, two become one
        labels = labels[::-1]
    return _appearance(random, labels), labels


def _paths(random: Generator, count: int, frames: int, size: int) -> NDArray[np.float64]:
    """Where each object is on each frame: (count, frames, 2)."""
    start = random.uniform(0, size, (count, 1, 2))
    drift = random.normal(0, 1, (1, 1, 2)) + random.normal(0, 0.5, (count, 1, 2))
    drift = drift * size * random.exponential(0.01)
    restless = size * np.exp(random.uniform(np.log(0.002), np.log(0.012)))
    jitter = random.normal(0, restless, (count, frames, 2)).cumsum(axis=1)
    paths: NDArray[np.float64] = start + drift * np.arange(frames)[:, None] + jitter
    return paths


def _smooth(random: Generator, size: int, grain: float) -> Image:
    """Noise of mean 0 and deviation 1 whose features are ``grain`` pixels wide."""
    coarse = max(4, int(size / grain) + 3)
    noise = random.standard_normal((coarse, coarse), dtype=np.float32)
    field: Image = zoom(noise, size / coarse, order=3)[:size, :size]
    field = np.pad(field, [(0, size - n) for n in field.shape], mode="edge")
    scaled: Image = field / field.std()
    return scaled


def _blobs(random: Generator, frames: int, size: int) -> Labels:
    """Ellipses with wavy edges, alone or in clusters, as sections through grains or as cells."""
    radius = size * np.exp(random.uniform(np.log(0.03), np.log(0.25)))
    # a section through a grain grows and shrinks; a cell appears and vanishes at once, or divides
    dividing = frames > 1 and random.random() < 0.7
    section = not dividing and random.random() < 0.6
    crowding = random.uniform(0.1, 0.5 if dividing else 0.9)  # there is room to divide
    count = int(np.clip(crowding * size**2 / (np.pi * radius**2), 1, 60))
    paths = _paths(random, count, frames, size)
    if not dividing and random.random() < 0.5:  # in clusters
        centres = paths[: max(1, count // 8)]
        offset = random.normal(0, 1.4 * radius, (count, 1, 2))
        paths = centres[random.integers(len(centres), size=count)] + offset
    radii = radius * np.exp(random.normal(0, 0.25, count))
    stretch = np.exp(random.normal(0, random.choice([0.1, 0.4]), count))
    angles = random.uniform(0, np.pi, count)
    waves = random.normal(0, random.choice([0.0, 0.04, 0.12]), (count, 4))
    phases = random.uniform(0, 2 * np.pi, (count, 4))
    middle = random.uniform(-0.3, 1.3, count) * frames
    depth = frames * np.exp(random.uniform(np.log(0.3), np.log(3), count))
    born, gone = np.zeros(count, int), np.full(count, frames)
    if dividing:
        mothers = np.flatnonzero(random.random(count) < 0.6)
        gone[mothers] = random.integers(1, frames, len(mothers))
        # they part along the mother's long axis, and each lies across it
        along = angles[mothers] + np.where(stretch[mothers] > 1, np.pi / 2, 0)
        away = random.uniform(0.7, 0.95) * radii[mothers] * [np.cos(along), np.sin(along)]
        away = away.T[:, None] * np.linspace(1, random.uniform(1, 1.4), frames)[:, None]
        paths = np.concatenate([paths, paths[mothers] + away, paths[mothers] - away])
        who = np.concatenate([np.arange(count), mothers, mothers])
        stretch, waves, phases = stretch[who], waves[who], phases[who]
        middle, depth = middle[who], depth[who]
        daughter = np.arange(len(who)) >= count
        born, gone = np.where(daughter, gone[who], 0), np.where(daughter, frames, gone[who])
        angles = angles[who] + np.where(daughter, np.pi / 2, 0)
        radii = radii[who] * np.where(daughter, 0.78, 1.0)  # half of the volume each
        count = len(who)
    labels = np.zeros((frames, size, size), np.uint16)
    nearest = np.ones((frames, size, size), np.float32)
    for index in range(count):
        for frame in range(frames):
            height = (frame - middle[index]) / depth[index] if frames > 1 else 0.0
            if abs(height) >= 1 or not born[index] <= frame < gone[index]:
                continue
            r = radii[index] * (np.sqrt(1 - height**2) if section else 1.0)
            y, x = paths[index, frame]
            reach = int(1.6 * r * max(stretch[index], 1 / stretch[index])) + 2
            low = max(int(y) - reach, 0), max(int(x) - reach, 0)
            high = min(int(y) + reach + 1, size), min(int(x) + reach + 1, size)
            if low[0] >= high[0] or low[1] >= high[1]:
                continue
            rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
            rows, columns = rows - y, columns - x
            cos, sin = np.cos(angles[index]), np.sin(angles[index])
            u = (cos * rows + sin * columns) * stretch[index]
            v = (cos * columns - sin * rows) / stretch[index]
            around = np.arctan2(v, u)
            edge = r * (
                1
                + sum(
                    wave * np.cos((k + 2) * around + phase)
                    for k, (wave, phase) in enumerate(zip(waves[index], phases[index], strict=True))
                )
            )
            distance = (np.hypot(u, v) / np.maximum(edge, 1e-3)).astype(np.float32)
            place = (frame, slice(low[0], high[0]), slice(low[1], high[1]))
            closer = distance < nearest[place]
            nearest[place] = np.where(closer, distance, nearest[place])
            labels[place] = np.where(closer, index + 1, labels[place])
    return labels


def _tissue(random: Generator, frames: int, size: int) -> Labels:
    """Cells that fill the plane, their walls bent; some are left empty."""
    count = int(np.exp(random.uniform(np.log(4), np.log(80))))
    paths = _paths(random, count, frames, size)
    bend = random.uniform(0, 0.04) * size
    grain = size * random.uniform(0.05, 0.3)
    bent = [_smooth(random, size, grain) * bend for _ in range(2)]
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    rows, columns = rows + bent[0], columns + bent[1]
    weights = random.normal(0, random.choice([0.0, 0.15]), count) * size**2 / count
    empty = random.random(count) < random.choice([0.0, 0.3])
    labels = np.zeros((frames, size, size), np.uint16)
    for frame in range(frames):
        best = np.full((size, size), np.inf, np.float32)
        for index, (y, x) in enumerate(paths[:, frame]):
            distance = (rows - y) ** 2 + (columns - x) ** 2 + np.float32(weights[index])
            closer = distance < best
            best[closer] = distance[closer]
            labels[frame][closer] = 0 if empty[index] else index + 1
    return labels


def _filaments(random: Generator, frames: int, size: int) -> Labels:
    """Bent tubes, one above the other."""
    count = int(random.integers(2, 14))
    width = size * np.exp(random.uniform(np.log(0.012), np.log(0.06)))
    steps = 60
    labels = np.zeros((frames, size, size), np.uint16)
    drift = _paths(random, count, frames, size)
    drift = drift - drift[:, :1]
    for index in range(count):
        turn = random.uniform(0, 2 * np.pi) + random.normal(0, 0.15, steps).cumsum()
        stride = size * random.uniform(0.3, 1.2) / steps
        line = random.uniform(0, size, 2) + stride * np.stack(
            [np.sin(turn), np.cos(turn)], axis=1
        ).cumsum(axis=0)
        sway = random.normal(0, 0.004 * size, (frames, 2)).cumsum(axis=0)
        thick = width * np.exp(random.normal(0, 0.3))
        for frame in range(frames):
            bent = line + drift[index, frame] + np.linspace(0, 1, steps)[:, None] * sway[frame]
            for y, x in bent:
                reach = int(thick) + 1
                low = max(int(y) - reach, 0), max(int(x) - reach, 0)
                high = min(int(y) + reach + 2, size), min(int(x) + reach + 2, size)
                if low[0] >= high[0] or low[1] >= high[1]:
                    continue
                rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
                inside = (rows - y) ** 2 + (columns - x) ** 2 <= thick**2
                labels[frame, low[0] : high[0], low[1] : high[1]][inside] = index + 1
    return labels


def _appearance(random: Generator, labels: Labels) -> Image:
    """Intensities for labels: each object's own level and texture, edges, background, blur."""
    size = labels.shape[1]
    most = int(labels.max()) + 1
    # where objects fill the plane, their walls or their levels have to tell them apart
    crowded = np.count_nonzero(labels) > 0.6 * labels.size
    # a stained membrane, the inside like the background
    outlined = random.random() < (0.7 if crowded else 0.3)
    contrast = random.uniform(0.15, 1.0) * (-1 if random.random() < 0.2 else 1)
    levels = contrast * np.exp(
        random.normal(0, 0.5 if crowded else random.choice([0.1, 0.4]), most)
    )
    levels[0] = 0.0
    if outlined:
        levels *= random.uniform(0, 0.3)
    edge = contrast * random.uniform(0.4, 1.2) if outlined or random.random() < 0.3 else 0.0
    inner = [_smooth(random, size, g) for g in (random.uniform(2, 6), random.uniform(6, 30))]
    texture = random.uniform(0, 0.35, 2) * abs(contrast) * (random.random(2) < 0.6)
    background = _smooth(random, size, size * random.uniform(0.1, 0.6)) * random.exponential(0.06)
    background += _smooth(random, size, random.uniform(2, 8)) * random.exponential(0.03)
    blur = random.choice([0.0, 0.7, 1.2, 2.0])
    shading = random.random() < 0.3  # brighter in the middle, as a thick cell is
    image = np.empty(labels.shape, np.float32)
    for frame, plane in enumerate(labels):
        drawn = levels[plane].astype(np.float32)
        # textures move with what they are on, roughly
        shift = (random.normal(0, 1.5, 2) * frame).astype(int)
        for field, amount in zip(inner, texture, strict=True):
            drawn += amount * np.roll(field, shift, axis=(0, 1)) * (plane > 0)
        if shading:
            drawn *= 0.4 + 0.6 * gaussian_filter((plane > 0).astype(np.float32), size / 40)
        if edge:
            border = np.zeros(plane.shape, bool)
            border[1:] |= plane[1:] != plane[:-1]
            border[:, 1:] |= plane[:, 1:] != plane[:, :-1]
            line = gaussian_filter(border.astype(np.float32), random.uniform(0.6, 1.6))
            drawn += edge * line / max(float(line.max()), 1e-6)
        drawn += background
        image[frame] = gaussian_filter(drawn, blur) if blur else drawn
    low, high = np.percentile(image[:, ::2, ::2], (0.5, 99.7))
    image = ((image - low) / max(high - low, 1e-3)).clip(0, 1)
    if random.random() < 0.3:  # counted photons
        photons = np.exp(random.uniform(np.log(10), np.log(200)))
        image = (random.poisson(image * photons) / photons).clip(0, 1)
    drawn_image: Image = image.astype(np.float32)
    return drawn_image
