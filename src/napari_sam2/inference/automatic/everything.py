"""What commands and batches have in common that find everything on an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam2.inference.errors import InputError
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
    link : {"overlap", "memory"}
        How objects go on through depth: each plane is searched, and masks that overlap are linked,
        as by `StackSegmenter`; or masks of some planes are carried by the model, as by
        `MemorySegmenter`, which sees planes whole.
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
    link: Literal["overlap", "memory"] = "overlap"
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

    def linker(self, kind: str) -> ThroughDepth | OverTime | None:
        """What links the planes of a stack along z, or along t; None where memory carries objects.

        Raises
        ------
        InputError
            When memory is to carry objects over time: they divide.
        ImportError
            When a package is missing for it.
        """
        # imported late: scipy's solvers take a quarter of a second; opening a window must not wait
        from napari_sam2.inference.automatic.depth import ThroughDepth
        from napari_sam2.inference.automatic.over_time import OverTime

        if kind != "t":
            return ThroughDepth() if self.link == "overlap" else None
        if self.link == "memory":
            raise InputError(
                "Objects of a time-lapse are linked, as they divide. Leave --link memory out, or "
                "say --axis z."
            )
        return OverTime()

    def stack_steps(
        self,
        generator: MaskGenerator,
        image: OpenImage,
        axis: int,
        link: ThroughDepth | OverTime | None,
        labels: NDArray[np.uint32],
    ) -> Iterator[StackObjects]:
        """Label a stack, whose planes lie along an axis, as `frame_steps` does."""
        along = np.moveaxis(labels, axis, 0)
        return self.frame_steps(generator, image.frames(axis), link, along)

    def frame_steps(
        self,
        generator: MaskGenerator,
        frames: FrameSource,
        link: ThroughDepth | OverTime | None,
        labels: NDArray[np.uint32],
        contrast_limits: tuple[float, float] | None = None,
    ) -> Iterator[StackObjects]:
        """Label frames into labels (T, Y, X), as `StackSegmenter.steps` does.

        Parameters
        ----------
        generator, frames, labels, contrast_limits
            What finds objects, where, and what `StackSegmenter.steps` takes.
        link : ThroughDepth, OverTime or None
            As `linker` gives it.

        Raises
        ------
        InputError
            When memory is to carry objects on planes that are looked at in parts.
        """
        from napari_sam2.inference.automatic.memory_segmenter import MemorySegmenter
        from napari_sam2.inference.automatic.stack_segmenter import StackSegmenter

        find, model = partial(self.find, generator), generator.model
        if link is not None:
            return StackSegmenter(find, link).steps(frames, labels, contrast_limits)
        if self.in_parts(frames.plane_shape, model):
            size, shape = model.config.image_size, "{} x {}".format(*frames.plane_shape)
            raise InputError(
                f"Planes of {shape} are looked at in parts, but memory sees them whole, at {size} "
                f"x {size}, which shows small objects coarsely. Link by overlap, or crop the image."
            )
        return MemorySegmenter(find, model).steps(frames, labels, contrast_limits)


def is_searched_in_parts(shape: tuple[int, ...], model: Model) -> bool:
    """Whether everything on a plane (Y, X) is looked for in parts, unless the user says otherwise.

    Objects of nearly half a part are seen more coarsely, so parts are to be small beside the plane.
    """
    return max(shape[:2]) > TILED * model.config.image_size
