"""What commands and batches have in common that find everything on an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.inference.depth import ThroughDepth
from napari_sam2.inference.frames import FrameSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_sam2.inference.found_masks import Candidates
    from napari_sam2.inference.image_files import OpenImage
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.mask_generator import MaskGenerator
    from napari_sam2.inference.over_time import OverTime
    from napari_sam2.inference.stack_segmenter import StackObjects


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
    smallest : int
        In pixels; smaller objects on a plane are left out.
    axis : {"z", "t"} or None
        What the planes of a stack lie along; None for what its file says.
    """

    model: str = "nano"
    device: str = "auto"
    image_size: int | None = None
    points_per_side: int = 32
    crop_layers: int = 0
    min_score: float | None = None
    min_stability: float | None = None
    smallest: int = 0
    axis: Literal["z", "t"] | None = None

    def generator(self) -> MaskGenerator:
        """Load the model; raises what `load_model` and `MaskGenerator` do."""
        from napari_sam2.inference.load import load_model
        from napari_sam2.inference.mask_generator import MaskGenerator

        return MaskGenerator(
            load_model(self.model, self.device, image_size=self.image_size),
            self.points_per_side,
            crop_layers=self.crop_layers,
            # nothing is chosen a second time, so no more is kept than was asked for
            score_floor=self.min_score or 0.0,
            stability_floor=self.min_stability or 0.0,
        )

    def labels_of(self, candidates: Candidates) -> NDArray[np.uint32]:
        """Labels (Y, X) of what meets the settings."""
        found = candidates.choose(self.min_score, self.min_stability, smallest=self.smallest)
        return found.labels()

    def stack_steps(
        self,
        generator: MaskGenerator,
        image: OpenImage,
        axis: int,
        link: ThroughDepth | OverTime,
        labels: NDArray[np.uint32],
    ) -> Iterator[StackObjects]:
        """Label a stack, whose planes lie along an axis, as `StackSegmenter.steps` does."""
        from napari_sam2.inference.stack_segmenter import StackSegmenter

        def find(plane: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint32]:
            return self.labels_of(generator.generate(plane, limits))

        frames = FrameSource(image.data, frame_axis=axis, rgb=image.rgb)
        return StackSegmenter(find, link).steps(frames, np.moveaxis(labels, axis, 0))


def is_searched_in_parts(shape: tuple[int, ...], model: Model) -> bool:
    """Whether everything on a plane (Y, X) is looked for in parts, unless the user says otherwise.

    Objects of nearly half a part are left out, so parts are to be small beside the plane.
    """
    return max(shape[:2]) > 2 * model.config.image_size


def linker(kind: str) -> ThroughDepth | OverTime:
    """What links the planes of a stack along z, or along t, for which a package may be missing."""
    from napari_sam2.inference.over_time import OverTime

    return OverTime() if kind == "t" else ThroughDepth()


def compact(labels: NDArray[np.uint32]) -> NDArray[np.unsignedinteger]:
    """The same labels in the smallest type that holds them."""
    return labels.astype(np.min_scalar_type(int(labels.max(initial=0))))
