"""Segment objects on a plane of any size, shown to the model in parts that suit them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_sam2.inference.device import is_out_of_memory, memory_explained, memory_share
from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.feature_store import default_store
from napari_sam2.inference.features import FeatureCache
from napari_sam2.inference.image_predictor import decode_prompts
from napari_sam2.inference.large.fields import Grid, middle_of
from napari_sam2.inference.large.large_plane import SHOWN, LargePlane
from napari_sam2.inference.large.large_prediction import LargePrediction
from napari_sam2.inference.large.placed import PlacedPrompts
from napari_sam2.inference.planes import content_key
from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.turns import turns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.feature_store import FeatureStore
    from napari_sam2.inference.frames import ArrayLike
    from napari_sam2.inference.large.fields import Bounds, Field
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.model.neck import ImageFeatures

MOST_TILES = 3  # of a level that are tried for one object
# Planes so many times as long as the model's input are looked at in parts: from there on masks of
# nuclei, and of cells in phase contrast, were better for it.
LARGE = 4 / 3
# Of the model's input: objects no longer than so many pixels are looked at again, twice as large.
SMALL = 48


def is_large(shape: tuple[int, ...], model: Model) -> bool:
    """Whether a plane (Y, X) is never shown to a model whole, but for an object that fills it."""
    return max(shape[:2]) > LARGE * model.config.image_size


class LargeImagePredictor:
    """Segments objects on a plane of any size from prompts, looking only where they are.

    The plane is laid out in overlapping tiles of the size of the model's input, at full resolution
    and at every coarser one up to the whole plane; one that is hardly longer than the input, or
    shorter, is one tile. A tile is read and encoded when a prompt needs it. An object is looked at
    in the finest tile that shows all of it, with room around it, and is nearest to its middle:
    which one that is does not depend on where it was clicked.

    Parameters
    ----------
    model : Model
        From `load_model`.
    plane : array-like, shape (Y, X) or (Y, X, 3), or sequence of them, or LargePlane
        Anything with shape, dtype and slicing: numpy, dask, zarr; never read whole, except for an
        object that fills it, and then in parts. A sequence is a pyramid, its full resolution first.
        A `LargePlane` has contrast limits of its own.
    contrast_limits : tuple of float, optional
        (low, high), mapped to black and white everywhere on the plane. By default 0 to 255 for
        uint8, else the 0.1 and 99.9 percentiles of parts that are spread over the plane.
    memory_budget : int, optional
        Bytes that encoded tiles may take up on the model's device; what is beyond waits on disk.
        By default `memory_share`, a share of what is free.
    store : FeatureStore or None, optional
        Where encoded tiles go that do not fit; by default the folder that `default_store` says.

    Raises
    ------
    TypeError, ValueError
        When the plane has another shape or no real numbers, or the budget is negative.
    """

    def __init__(
        self,
        model: Model,
        plane: ArrayLike | Sequence[ArrayLike] | LargePlane,
        contrast_limits: tuple[float, float] | None = None,
        memory_budget: int | None = None,
        store: FeatureStore | Literal["default"] | None = "default",
    ) -> None:
        budget = memory_share(model.device) if memory_budget is None else memory_budget
        if budget < 0:
            raise ValueError(f"memory_budget is {budget}, but must be 0 or more.")
        self.model = model
        self._plane = plane if isinstance(plane, LargePlane) else LargePlane(plane, contrast_limits)
        shape = self._plane.shape
        side = model.config.image_size if is_large(shape, model) else max(shape)
        self.grid = Grid(shape, side)
        self._told_of_memory = False
        self._read: tuple[Field, NDArray[np.float32]] | None = None
        self.features = FeatureCache(
            self._encode,
            budget,
            default_store(model.device) if store == "default" else store,
            self._key,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the plane."""
        return self._plane.shape

    @property
    def nbytes(self) -> int:
        """Bytes of the plane, where it is in memory, and of what was encoded."""
        return self._plane.nbytes + self.features.nbytes

    @property
    def contrast_limits(self) -> tuple[float, float]:
        """The intensities shown as black and white."""
        return self._plane.contrast_limits

    def predict(
        self,
        prompts: Sequence[Prompt],
        multimask: bool = False,
        previous: LargePrediction | None = None,
        view: Bounds | None = None,
    ) -> LargePrediction:
        """Segment one object.

        Parameters
        ----------
        prompts : sequence of Prompt
            Any kinds together, at most one box; (row, column) in pixels of the plane.
        multimask : bool
            Return three candidates, which suits a single click; else one mask.
        previous : LargePrediction, optional
            An earlier answer to refine: its best logits are fed back. A mask or a polygon among
            the prompts takes its place.
        view : tuple of float, optional
            (row_min, col_min, row_max, col_max) in pixels of the plane: the model is shown this
            part, whatever the object. By default the tile that suits the object.

        Returns
        -------
        LargePrediction
            One mask, or three, as crops in the plane's pixels.

        Raises
        ------
        ValueError
            When the prompts are empty, outside the plane or the view, or contradict each other.
        MemoryError
            When the memory does not suffice for one tile alone.
        """
        placed = PlacedPrompts.of(prompts, self.shape)
        if view is not None:
            field = self.grid.view(view)
            if not field.holds(placed.bounds):
                raise ValueError(
                    f"The prompts lie in the box {placed.bounds}, which is not inside the view "
                    f"{field.box}. Choose a larger view, or none."
                )
            return self._ask(field, placed, multimask, previous)
        found = self._refined_closer(placed, previous) if previous and not multimask else None
        found = found or self._searched(placed, previous)
        if multimask:
            return self._ask(found.field, placed, True, previous)
        return found

    def candidates(self, prompts: Sequence[Prompt], answer: LargePrediction) -> LargePrediction:
        """What else prompts may mean, in the tile that an earlier answer to them was found in.

        Costs one call of the decoder, as the tile is not looked for again. The best come first;
        after one click the first is the one that is most like the answer to it.

        Parameters
        ----------
        prompts : sequence of Prompt
            As for `predict`.
        answer : LargePrediction
            What `predict` answered to them.

        Returns
        -------
        LargePrediction
            Three masks.

        Raises
        ------
        ValueError
            As for `predict`.
        """
        placed = PlacedPrompts.of(prompts, self.shape)
        found = self._ask(answer.field, placed, True, None)
        return found.best_first(None if placed.click is None else answer)

    def look_closer(self, prompts: Sequence[Prompt], answer: LargePrediction) -> LargePrediction:
        """The best mask of an answer, seen again twice as large where the object is small.

        What was answered is fed back, so that the same object is meant.

        Parameters
        ----------
        prompts : sequence of Prompt
            As for `predict`.
        answer : LargePrediction
            What `predict` or `candidates` answered to them.

        Returns
        -------
        LargePrediction
            One mask; the answer's own where the object is longer than `SMALL` pixels of the
            model's input, prompts lie far from it, the view was chosen, or the model is not
            small.

        Raises
        ------
        ValueError, MemoryError
            As for `predict`.
        """
        best = answer.only_best
        if not is_small(self.model) or not self.grid.is_finest(answer.field):
            return best
        longest = SMALL * self.grid.size / self.model.config.image_size
        placed = PlacedPrompts.of(prompts, self.shape)
        field = self._closer(placed, best, longest)
        return best if field is None else self._ask(field, placed, False, best)

    def look_again(
        self, prompts: Sequence[Prompt], answer: LargePrediction, closer: bool = True
    ) -> LargePrediction:
        """The best mask of a first answer after a second look, by a small model.

        What is small is looked at closer, as `look_closer` does. Else the answer to a box alone is
        fed back, and so is that to one click on something long, with another click at its far end.

        Parameters
        ----------
        prompts : sequence of Prompt
            As for `predict`.
        answer : LargePrediction
            What `predict` answered to them.
        closer : bool
            Whether to look closer at what is small, which may take another call of the encoder.

        Returns
        -------
        LargePrediction
            One mask; the answer's own where there are other prompts, or nothing long.

        Raises
        ------
        ValueError, MemoryError
            As for `predict`.
        """
        found = self.look_closer(prompts, answer) if closer else answer.only_best
        if not is_small(self.model) or found.field != answer.field or found.extent is None:
            return found
        placed = PlacedPrompts.of(prompts, self.shape)
        click = placed.click
        if click is None:
            return self._ask(found.field, placed, False, found) if placed.is_box else found
        end = found.other_end(click.position) if found.covers(click.position) else None
        if end is None:
            return found
        again = self._ask(found.field, PlacedPrompts((click, PointPrompt(end)), ()), False, found)
        return again if again.covers(click.position) else found

    def _refined_closer(
        self, placed: PlacedPrompts, previous: LargePrediction
    ) -> LargePrediction | None:
        """The answer where the previous one was looked at again, if all of it still is there."""
        if not self.grid.is_closer(previous.field):
            return None
        field = self._closer(placed, previous, self.grid.size)
        if field is None:
            return None
        found = self._ask(field, placed, False, previous)
        is_whole = found.extent is not None and not self.grid.is_cut(found.extent, field)
        return found if is_whole else None

    def _closer(
        self, placed: PlacedPrompts, answer: LargePrediction, longest: float
    ) -> Field | None:
        """Where an object no longer than so many pixels of the plane can be looked at closer."""
        extent, bounds = answer.extent, placed.bounds
        if extent is None or max(extent[2] - extent[0], extent[3] - extent[1]) >= longest:
            return None
        low, high = np.minimum(extent[:2], bounds[:2]), np.maximum(extent[2:], bounds[2:])
        return self.grid.closer(middle_of(extent), (*low, *high))

    def _searched(self, placed: PlacedPrompts, previous: LargePrediction | None) -> LargePrediction:
        """The answer in the tile that suits the object.

        Every tile is asked the same, so that the last answer does not depend on those before it.
        """
        bounds = placed.bounds
        level = previous.field.level if previous else 0
        near = (previous.extent if previous else None) or bounds
        field = self.grid.tile(level, middle_of(near), bounds)
        seen: set[Field] = set()  # of this level
        while True:
            found = self._settled(field, placed, previous)
            seen.add(field)
            extent = found.extent
            if extent is None or field == self.grid.whole:
                return found
            wanted = self.grid.tile(field.level, middle_of(extent), bounds)
            last = wanted in seen or len(seen) == MOST_TILES
            cut = last and self.grid.is_cut(extent, field)
            if cut or self.grid.is_too_large(extent, field):
                field, seen = self.grid.tile(field.level + 1, middle_of(extent), bounds), set()
            elif last:
                return found
            else:
                field = wanted

    def _settled(
        self, field: Field, placed: PlacedPrompts, previous: LargePrediction | None
    ) -> LargePrediction:
        """The answer in a field; to one click on an object, one that depends less on where it is.

        It may mean several things, of which the likeliest counts. The same is asked at the middle
        of that mask, and taken where the model finds it as good. On a plane of one tile, a
        published model's answer to the click itself is left as it is.
        """
        click = placed.click
        if click is None or previous is not None:
            return self._ask(field, placed, False, previous)
        found = self._ask(field, placed, True, None).only_best
        is_only_tile = field == self.grid.whole and field.step == 1
        if found.extent is None or (is_only_tile and not is_small(self.model)):
            return found
        middle = PlacedPrompts((PointPrompt(found.middle),), ())
        again = self._ask(field, middle, True, None).only_best
        as_good = again.scores[0] >= found.scores[0] and again.covers(click.position)
        return again if as_good else found

    def _ask(
        self,
        field: Field,
        placed: PlacedPrompts,
        multimask: bool,
        previous: LargePrediction | None,
    ) -> LargePrediction:
        """The answer in a field, with fewer tiles in memory where it does not suffice."""
        try:
            return self._decoded(field, placed, multimask, previous)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # not within `except`, as the error holds on to tensors
        self.features.shrink()
        self.features.clear()
        if not self._told_of_memory:
            self._told_of_memory = True
            warnings.warn(
                "The memory does not suffice for so many parts of the plane, so fewer are kept, "
                "which is slower. Close other programs, or take a smaller model.",
                stacklevel=2,
            )
        with memory_explained(field.shown):
            return self._decoded(field, placed, multimask, previous)

    def _decoded(
        self,
        field: Field,
        placed: PlacedPrompts,
        multimask: bool,
        previous: LargePrediction | None,
    ) -> LargePrediction:
        fit = self.model.fit(field.shown)
        fed_back = None if previous is None else previous.seen_in(field, fit)
        found = decode_prompts(
            self.model,
            self.features[field],
            placed.shown_in(field),
            field.shown,
            multimask,
            fed_back,
        )
        return LargePrediction(
            scores=found.scores[0].float().cpu().numpy(),
            logits=found.logits[0].float().cpu().numpy(),
            field=field,
            fit=fit,
        )

    def _encode(self, field: Field) -> ImageFeatures:
        return encode_plane(self.model, self._shown(field), SHOWN, turns_of(self.model))

    def _key(self, field: Field) -> str:
        return content_key(self.model, self._shown(field), SHOWN, turns_of(self.model))

    def _shown(self, field: Field) -> NDArray[np.float32]:
        """Read a field, once for its key and its features."""
        if self._read is None or self._read[0] != field:
            self._read = field, self._plane.read(field)
        return self._read[1]
