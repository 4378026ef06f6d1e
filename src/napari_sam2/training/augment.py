"""Windows onto labelled planes: where to look, and how the plane may look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor


WHOLE_SHARE = 0.4  # of the windows are as a predictor sees the plane, whatever the object's size
BENDS = (3, 6)  # places a side that a window is bent at: fewest, most


@dataclass(frozen=True, eq=False)
class Window:
    """A turned, stretched, bent square on a plane.

    Attributes
    ----------
    centre_yx : tuple of float
        Its middle, in pixels of the plane.
    sides_yx : tuple of float
        Its height and width in pixels of the plane, before turning.
    angle : float
        Turn of the square on the plane, in radians.
    quarters : int
        Quarter turns of what is drawn.
    flip : bool
        Whether left and right are swapped.
    bend : array of float, shape (2, n, n), optional
        How far a coarse grid of places is moved in y and in x, as shares of the sides; smooth
        between them.
    """

    centre_yx: tuple[float, float]
    sides_yx: tuple[float, float]
    angle: float
    quarters: int
    flip: bool
    bend: NDArray[np.float32] | None = None

    def moved(self, random: Generator, amount: float) -> Window:
        """The window a moment later: shifted, turned and scaled a little."""
        shift = random.normal(0, 0.05 * amount, 2) * self.sides_yx
        scale = np.exp(random.normal(0, 0.04 * amount, 2))
        return replace(
            self,
            centre_yx=(self.centre_yx[0] + shift[0], self.centre_yx[1] + shift[1]),
            sides_yx=(self.sides_yx[0] * scale[0], self.sides_yx[1] * scale[1]),
            angle=self.angle + random.normal(0, 0.08 * amount),
        )


def window_on(
    mask: NDArray[np.bool_],
    size: int,
    diameters: tuple[float, float],
    random: Generator,
    share: float = 1.0,
) -> Window:
    """Choose a window that shows an object at a random scale.

    Parameters
    ----------
    mask : array of bool, shape (Y, X)
        The object.
    size : int
        Side of the rendered window in pixels.
    diameters : tuple of float
        Smallest and largest diameter of the object in rendered pixels; drawn log-uniformly.
    random : numpy.random.Generator
        The source of chance.
    share : float
        How much of the side of a predictor's view the window is.

    Returns
    -------
    Window
        Never larger than 1.1 times the plane.
    """
    rows, columns = np.nonzero(mask)
    pick = random.integers(len(rows))
    diameter = 2 * np.sqrt(len(rows) / np.pi)
    wanted = np.exp(random.uniform(*np.log(diameters)))
    stretch = np.exp(random.normal(0, 0.15))
    side = size * diameter / wanted
    # a predictor squeezes the whole plane into a square
    whole = share * random.uniform(0.8, 1.1) if random.random() < WHOLE_SHARE else None
    sides = [
        float(whole * n if whole else min(side * s, 1.1 * n))
        for s, n in zip((stretch, 1 / stretch), mask.shape, strict=True)
    ]
    centre = [
        float(np.clip(at + random.uniform(-0.4, 0.4) * s, 0.45 * s, n - 0.45 * s))
        if s < 0.9 * n
        else n / 2
        for at, s, n in zip((rows[pick], columns[pick]), sides, mask.shape, strict=True)
    ]
    return Window(
        centre_yx=(centre[0], centre[1]),
        sides_yx=(sides[0], sides[1]),
        angle=float(random.normal(0, 0.2)) if random.random() < 0.3 else 0.0,
        quarters=int(random.integers(4)),
        flip=random.random() < 0.5,
        bend=_bend(random) if random.random() < 0.4 else None,
    )


def _bend(random: Generator) -> NDArray[np.float32]:
    count = int(random.integers(BENDS[0], BENDS[1] + 1))
    # a third of the way to the next place at most, or shapes fold over
    amount = random.uniform(0.05, 0.15) / count
    places: NDArray[np.float32] = random.standard_normal((2, count, count), dtype=np.float32)
    return np.float32(amount) * places.clip(-2, 2)


def render(
    image: NDArray[Any], labels: NDArray[Any], window: Window, size: int
) -> tuple[Tensor, Tensor]:
    """Draw a window.

    Parameters
    ----------
    image : array, shape (Y, X) or (Y, X, 3)
        Intensities, 0 to 1.
    labels : array of int, shape (Y, X)
        Instance labels.
    window : Window
        Where to look.
    size : int
        Side of the result in pixels.

    Returns
    -------
    image : Tensor of float32, shape (3, size, size)
        Black outside the plane.
    labels : Tensor of int32, shape (size, size)
        0 outside the plane.
    """
    grid = _sampling_grid(window, size, image.shape[:2])
    source = torch.from_numpy(np.ascontiguousarray(image)).float()
    source = source.permute(2, 0, 1) if source.ndim == 3 else source[None]
    shrink = int(max(window.sides_yx) / size)
    if shrink > 1:  # averaging first keeps fine structure from aliasing
        source = F.avg_pool2d(source[None], shrink, ceil_mode=True)[0]
    drawn = F.grid_sample(source[None], grid, mode="bilinear", align_corners=False)[0]
    ids = torch.from_numpy(labels.astype(np.float32))[None, None]
    drawn_ids = F.grid_sample(ids, grid, mode="nearest", align_corners=False)[0, 0]
    return drawn.expand(3, -1, -1), drawn_ids.to(torch.int32)


def _sampling_grid(window: Window, size: int, shape: tuple[int, ...]) -> Tensor:
    steps = (torch.arange(size) + 0.5) / size - 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    if window.flip:
        columns = -columns
    rows, columns = rows.rot90(window.quarters), columns.rot90(window.quarters)
    if window.bend is not None:
        places = torch.from_numpy(window.bend)[None]
        bent = F.interpolate(places, size=(size, size), mode="bicubic", align_corners=True)[0]
        rows, columns = rows + bent[0], columns + bent[1]
    rows, columns = rows * window.sides_yx[0], columns * window.sides_yx[1]
    cos, sin = np.cos(window.angle), np.sin(window.angle)
    y = window.centre_yx[0] + cos * rows - sin * columns
    x = window.centre_yx[1] + sin * rows + cos * columns
    # grid_sample's coordinates run from -1 to 1 over the plane, x first
    return torch.stack([2 * (x + 0.5) / shape[1] - 1, 2 * (y + 0.5) / shape[0] - 1], dim=-1)[None]


@dataclass(frozen=True)
class Look:
    """How intensities appear: drawn once for a plane or a sequence."""

    invert: bool
    gamma: float
    low: float
    high: float
    stretch: bool
    noise: float
    blur: float
    shading: NDArray[np.float32] | None
    tint: tuple[float, float, float]


def random_look(random: Generator) -> Look:
    """Draw inversion, gamma, contrast, noise, blur, uneven light and colour."""
    tint = (1.0, 1.0, 1.0)
    if random.random() < 0.12:  # a colormap, or a channel of its own
        drawn = random.uniform(0, 1, 3)
        drawn /= drawn.max()
        tint = (float(drawn[0]), float(drawn[1]), float(drawn[2]))
    return Look(
        invert=random.random() < 0.15,
        gamma=float(np.exp(random.normal(0, 0.2))),
        low=float(random.uniform(-0.1, 0.08)),
        high=float(random.uniform(0.75, 1.2)),
        stretch=random.random() < 0.6,
        noise=float(random.exponential(0.02)) if random.random() < 0.5 else 0.0,
        blur=float(random.uniform(0.5, 1.5)) if random.random() < 0.2 else 0.0,
        shading=_shading(random) if random.random() < 0.2 else None,
        tint=tint,
    )


def _shading(random: Generator) -> NDArray[np.float32]:
    """Logarithms of the light at three by three places."""
    places: NDArray[np.float32] = random.standard_normal((3, 3), dtype=np.float32)
    return np.float32(random.uniform(0.1, 0.4)) * places


def apply_look(image: Tensor, look: Look, random: Generator) -> Tensor:
    """Apply a look to an image of shape (3, H, W) with intensities 0 to 1."""
    low, high = (float(v) for v in torch.quantile(image[:, ::4, ::4], torch.tensor([0.01, 0.995])))
    # a person sets contrast limits so that something is seen
    if look.stretch or high - low < 0.2:
        image = (image - low) / max(high - low, 1e-3)
    if look.shading is not None:
        places = torch.from_numpy(look.shading)[None, None]
        light = F.interpolate(places, size=image.shape[1:], mode="bicubic", align_corners=True)
        image = image * light[0].exp()
    image = ((image - look.low) / (look.high - look.low)).clamp(0, 1) ** look.gamma
    if look.invert:
        image = 1 - image
    if look.blur:
        image = _blur(image, look.blur)
    if look.noise:
        noise = torch.from_numpy(random.standard_normal(image.shape[1:], dtype=np.float32))
        image = image + look.noise * noise
    return (image * torch.tensor(look.tint)[:, None, None]).clamp(0, 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = int(2.5 * sigma) + 1
    x = torch.arange(-radius, radius + 1).float()
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(len(image), 1, 1, -1)
    padded = F.pad(image[None], (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel, groups=len(image))
    blurred: Tensor = F.conv2d(rows, kernel.transpose(2, 3), groups=len(image))[0]
    return blurred
