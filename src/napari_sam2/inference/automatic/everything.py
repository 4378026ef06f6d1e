"""What commands and batches have in common that find everything on an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.inference.frames import UNNAMED, FrameSource, OneFrame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.depth import ThroughDepth
    from napari_sam2.inference.automatic.everything_tiled import TilesDone
    from napari_sam2.inference.automatic.found_masks import Candidates
    from napari_sam2.inference.automatic.mask_generator import MaskGenerator
    from napari_sam2.inference.automatic.over_time import OverTime
    from napari_sam2.inference.automatic.stack_segmenter import StackObjects
    from napari_sam2.inference.frames import ArrayLike, WritableArray
    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.inference.large.large_plane import LargePlane
    from napari_sam2.inference.load import Model

TILED = 2  # times as long as the model's input: from there on everything is looked for in parts


@dataclass(frozen=True)
class EverythingSettings:
    """What labels depend on, besides the image.

    Attributes
    ----------
    model, device : str
        As `load_model` takes them.
    image_size : int or None
        Side of the model's input; None for its own.
    points_per_side, crop_layers : int
        As `MaskGenerator` takes them.
    min_score, min_stability : float or None
        What a mask must reach; None for what is usual of the model.
    max_overlap : float
        Of two masks with a larger IoU, the one with the higher score is an object.
    smallest : int
        In pixels; smaller objects on a plane are left out.
    axis : {"z", "t"} or None
        What the planes of a stack lie along; None for what its file says.
    channel : int or None
        Which channel of an image is segmented, from 0; None for the only one.
    tiles : {"auto", "off"}
        Whether a plane much larger than the model's input is looked at in parts.
    """

    model: str = "nano"
    device: str = "auto"
    image_size: int | None = None
    points_per_side: int = 32
    crop_layers: int = 0
    min_score: float | None = None
    min_stability: float | None = None
    max_overlap: float = 0.7
    smallest: int = 0
    axis: Literal["z", "t"] | None = None
    channel: int | None = None
    tiles: Literal["auto", "off"] = "auto"

    def generator(self, model: Model | None = None) -> MaskGenerator:
        """What asks a model, which is loaded where none is given.

        It raises what `load_model` and `MaskGenerator` do.
        """
        from napari_sam2.inference.automatic.mask_generator import MaskGenerator
        from napari_sam2.inference.load import load_model

        return MaskGenerator(
            model or load_model(self.model, self.device, image_size=self.image_size),
            self.points_per_side,
            crop_layers=self.crop_layers,
            # nothing is chosen a second time, so no more is kept than was asked for
            score_floor=self.min_score or 0.0,
            stability_floor=self.min_stability or 0.0,
        )

    def labels_of(self, candidates: Candidates) -> NDArray[np.uint32]:
        """Labels (Y, X) of what meets the settings."""
        found = candidates.choose(
            self.min_score, self.min_stability, self.max_overlap, self.smallest
        )
        return found.labels()

    def in_parts(self, shape: tuple[int, ...], model: Model) -> bool:
        """Whether a plane of a shape (Y, X) is looked at in parts."""
        return self.tiles == "auto" and is_searched_in_parts(shape, model)

    def tiled_steps(
        self,
        generator: MaskGenerator,
        plane: ArrayLike | LargePlane,
        labels: WritableArray,
        contrast_limits: tuple[float, float] | None = None,
    ) -> Iterator[TilesDone]:
        """Label a plane in parts, as `label_everything` does."""
        from napari_sam2.inference.automatic.everything_tiled import label_everything

        return label_everything(
            generator,
            plane,
            labels,
            contrast_limits,
            score_threshold=self.min_score,
            stability_threshold=self.min_stability,
            overlap_threshold=self.max_overlap,
            smallest=self.smallest,
        )

    def find(
        self,
        generator: MaskGenerator,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float] | None = None,
    ) -> NDArray[np.uint32]:
        """Labels (Y, X) of everything on a plane, (Y, X) or (Y, X, 3), in parts or at once."""
        labels = np.zeros(plane.shape[:2], np.uint32)
        self.label(generator, plane, labels, contrast_limits)
        return labels

    def label(
        self,
        generator: MaskGenerator,
        plane: ArrayLike,
        labels: WritableArray,
        contrast_limits: tuple[float, float] | None = None,
        name: str = UNNAMED,
        coarser: Sequence[ArrayLike] = (),
    ) -> None:
        """Write what `find` gives into labels that are zero, such as a zarr array.

        The plane may lie on disk, with coarser levels of a pyramid; where it cannot be read, it is
        called by its name.
        """
        from napari_sam2.inference.large.large_plane import LargePlane

        if self.in_parts(tuple(plane.shape[:2]), generator.model):
            large = LargePlane([plane, *coarser], contrast_limits, name)
            for _ in self.tiled_steps(generator, large, labels):
                pass
        else:
            read = FrameSource(OneFrame(plane), name=name).plane(0)
            candidates = generator.generate(read, contrast_limits)
            labels[...] = self.labels_of(candidates)

    def stack_steps(
        self,
        generator: MaskGenerator,
        image: OpenImage,
        axis: int,
        link: ThroughDepth | OverTime,
        labels: NDArray[np.uint32],
    ) -> Iterator[StackObjects]:
        """Label a stack, whose planes lie along an axis, as `StackSegmenter.steps` does."""
        along = np.moveaxis(labels, axis, 0)
        return self.frame_steps(generator, image.frames(axis), link, along)

    def frame_steps(
        self,
        generator: MaskGenerator,
        frames: FrameSource,
        link: ThroughDepth | OverTime,
        labels: NDArray[np.uint32],
        contrast_limits: tuple[float, float] | None = None,
    ) -> Iterator[StackObjects]:
        """Label frames into labels (T, Y, X), as `StackSegmenter.steps` does."""
        from napari_sam2.inference.automatic.stack_segmenter import StackSegmenter

        find = partial(self.find, generator)
        return StackSegmenter(find, link).steps(frames, labels, contrast_limits)


def is_searched_in_parts(shape: tuple[int, ...], model: Model) -> bool:
    """Whether everything on a plane (Y, X) is looked for in parts, unless the user says otherwise.

    Objects of nearly half a part are seen more coarsely, so parts are to be small beside the plane.
    """
    return max(shape[:2]) > TILED * model.config.image_size


def linker(kind: str) -> ThroughDepth | OverTime:
    """What links the planes of a stack along z, or along t, for which a package may be missing."""
    # imported late: scipy's solvers take a quarter of a second, and opening a window must not wait
    from napari_sam2.inference.automatic.depth import ThroughDepth
    from napari_sam2.inference.automatic.over_time import OverTime

    return OverTime() if kind == "t" else ThroughDepth()
