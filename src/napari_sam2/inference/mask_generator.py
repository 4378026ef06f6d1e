"""Segment everything on a plane: the model is asked at many points, and the best answers stay."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam2.inference.candidates import Candidate, Candidates
from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.mask_runs import MaskRuns
from napari_sam2.inference.transforms import contrast_limits_of, to_model_points, to_plane_logits
from napari_sam2.model.prompt_encoder import POSITIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from napari_sam2.inference.load import Model
    from napari_sam2.model.neck import ImageFeatures

# As in the sam2 package's generator, so that the same masks come out.
CROP_OVERLAP = 512 / 1500  # of the plane's shorter side, between the crops of the first layer
CROP_EDGE = 20  # pixels from a crop's edge within which a mask is taken to be cut off
STABILITY_OFFSET = 1.0  # logits; how far the threshold is moved


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a batch of points gave.

    Attributes
    ----------
    candidates : Candidates
        The masks of the batch.
    done, total : int
        Points so far, and in all.
    """

    candidates: Candidates
    done: int
    total: int


class MaskGenerator:
    """Finds the masks of everything on a plane.

    Parameters
    ----------
    model : Model
        From `load_model`.
    points_per_side : int
        The model is asked at a grid of so many points along each side of the plane.
    crop_layers : int
        Layers of crops that are looked at by themselves, for small objects: the first has 2 x 2
        crops, the next 4 x 4. Each crop is encoded, and has a grid of its own.
    batch : int
        Points decoded together.
    lowest_score : float
        Masks that the model scores lower are forgotten at once: memory stays small.

    Raises
    ------
    ValueError
        When a number is out of range.
    """

    def __init__(
        self,
        model: Model,
        points_per_side: int = 32,
        crop_layers: int = 0,
        batch: int = 64,
        lowest_score: float = 0.3,
    ) -> None:
        for name, value, least in (
            ("points_per_side", points_per_side, 1),
            ("crop_layers", crop_layers, 0),
            ("batch", batch, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}; it is {least} at least.")
        self.model = model
        self.points_per_side = points_per_side
        self.crop_layers = crop_layers
        self.batch = batch
        self.lowest_score = lowest_score

    def generate(
        self,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float] | None = None,
        points_yx: ArrayLike | None = None,
    ) -> Candidates:
        """Ask the model everywhere.

        Parameters
        ----------
        plane : array, shape (Y, X) or (Y, X, 3)
            Any real dtype, as `ImagePredictor.set_image` takes it.
        contrast_limits : tuple of float, optional
            (low, high), mapped to black and white; the same default as for `set_image`.
        points_yx : array-like, shape (N, 2), optional
            Where to ask instead of on the grid, such as what a detector found: (row, column) in
            pixels of the plane.

        Returns
        -------
        Candidates
            Every mask found; `Candidates.choose` takes the good ones without asking again.

        Raises
        ------
        TypeError, ValueError
            When the plane has another shape or no real numbers, or points lie outside of it.
        """
        found = [step.candidates for step in self.steps(plane, contrast_limits, points_yx)]
        return Candidates(found[0].shape, tuple(one for each in found for one in each.masks))

    def steps(
        self,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float] | None = None,
        points_yx: ArrayLike | None = None,
    ) -> Iterator[Decoded]:
        """Ask as `generate`, one batch at a time: to stop is to iterate no further.

        Yields
        ------
        Decoded
            The masks of a batch of points.
        """
        plane = np.asarray(plane)
        source = FrameSource(plane[None])  # the same checks as for a stack
        plane, shape = source.plane(0), source.plane_shape
        limits = contrast_limits or contrast_limits_of(plane)
        given = None if points_yx is None else _checked(points_yx, shape)
        work = []
        for window in crops(shape, self.crop_layers):
            points = grid(window, self.points_per_side) if given is None else _inside(given, window)
            work += [
                (window, points[start : start + self.batch])
                for start in range(0, len(points), self.batch)
            ]
        total, done = sum(len(points) for _, points in work), 0
        encoded: tuple[tuple[slice, slice], ImageFeatures] | None = None
        for window, points in work:
            if encoded is None or encoded[0] != window:
                encoded = window, encode_plane(self.model, plane[window], limits)
            masks = self._ask(encoded[1], window, points, shape)
            done += len(points)
            yield Decoded(Candidates(shape, masks), done, total)

    def _ask(
        self,
        features: ImageFeatures,
        window: tuple[slice, slice],
        points_yx: NDArray[np.float64],
        plane_shape: tuple[int, int],
    ) -> tuple[Candidate, ...]:
        origin = window[0].start, window[1].start
        fit = self.model.fit((window[0].stop - origin[0], window[1].stop - origin[1]))
        network = self.model.network
        with torch.inference_mode(), self.model.precision():
            points = to_model_points(points_yx - origin, fit, self.model.device)[:, None]
            labels = torch.full((len(points), 1), POSITIVE, device=self.model.device)
            many = features.expand(len(points))
            embedding = network.without_memory(features).expand(len(points), -1, -1, -1)
            three = network.decode(embedding, many, points, labels, None).candidates()
            scores = three.scores.float().flatten()
            kept = torch.nonzero(scores > self.lowest_score)[:, 0]
            logits = to_plane_logits(three.logits.flatten(0, 1)[kept, None], fit)[:, 0]
            stabilities = stability(logits, STABILITY_OFFSET)
            masks = (logits > 0).cpu().numpy()
        # three masks a point
        asked = [(float(row), float(column)) for row, column in points_yx[kept.cpu().numpy() // 3]]
        found = (
            Candidate(MaskRuns.of(mask, origin), score, stable, point, window)
            for mask, score, stable, point in zip(
                masks, scores[kept].tolist(), stabilities.tolist(), asked, strict=True
            )
        )
        return tuple(one for one in found if not is_cut(one.mask, window, plane_shape))


def stability(logits: Tensor, offset: float) -> Tensor:
    """IoU of masks (N, Y, X) at a higher and at a lower threshold, (N,); 0 of empty masks."""
    inner = (logits > offset).flatten(1).sum(dim=1)
    outer = (logits > -offset).flatten(1).sum(dim=1)
    return inner / outer.clamp(min=1)


def grid(window: tuple[slice, slice], points_per_side: int) -> NDArray[np.float64]:
    """Points in the middles of equal cells of a window, row by row: (N, 2)."""
    share = (np.arange(points_per_side) + 0.5) / points_per_side
    rows, columns = (side.start + share * (side.stop - side.start) for side in window)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def crops(shape: tuple[int, int], layers: int) -> list[tuple[slice, slice]]:
    """The whole plane, then the overlapping crops of each layer.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    layers : int
        The n-th layer has 2**n crops along each side.

    Raises
    ------
    ValueError
        When the crops would be smaller than a few pixels.
    """
    windows = [(slice(0, shape[0]), slice(0, shape[1]))]
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(CROP_OVERLAP * min(shape) * 2 / count)
        sides = []
        for length in shape:
            side = ceil((overlap * (count - 1) + length) / count)
            if side <= 2 * CROP_EDGE:
                raise ValueError(
                    f"{layers} layers would cut a plane of {shape[0]} x {shape[1]} pixels into "
                    f"crops of {side}. Set crop_layers lower."
                )
            starts = [(side - overlap) * index for index in range(count)]
            sides.append([slice(start, min(start + side, length)) for start in starts])
        windows += [(rows, columns) for columns in sides[1] for rows in sides[0]]
    return windows


def is_cut(mask: MaskRuns, window: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    """Whether a mask comes near an edge of its crop that is no edge of the plane."""
    for side, crop, length in zip(mask.slices, window, shape, strict=True):
        # the edges are those of the last pixel, as in the sam2 package
        for at, edge, end in ((side.start, crop.start, 0), (side.stop - 1, crop.stop, length)):
            if abs(at - edge) <= CROP_EDGE and abs(at - end) > CROP_EDGE:
                return True
    return False


def _checked(points_yx: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    points = np.asarray(points_yx, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(
            f"points_yx has the shape {points.shape}; it is (N, 2), (row, column) of one point "
            "at least."
        )
    outside = ~((points >= -0.5) & (points <= np.asarray(shape) - 0.5)).all(axis=1)
    if outside.any():
        raise ValueError(
            f"{outside.sum()} of {len(points)} points lie outside the plane of {shape[0]} x "
            f"{shape[1]} pixels, such as {tuple(points[outside][0].tolist())}. Give (row, column)."
        )
    return points


def _inside(points: NDArray[np.float64], window: tuple[slice, slice]) -> NDArray[np.float64]:
    low = [side.start - 0.5 for side in window]
    high = [side.stop - 0.5 for side in window]
    inside: NDArray[np.float64] = points[((points >= low) & (points <= high)).all(axis=1)]
    return inside
