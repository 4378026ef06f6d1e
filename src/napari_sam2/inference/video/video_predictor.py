"""Carry objects through a stack with memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_sam2.inference.device import memory_share
from napari_sam2.inference.feature_store import default_store
from napari_sam2.inference.features import FeatureCache
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.planes import ShownPlanes
from napari_sam2.inference.prompts import check_object_id, check_prompts
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.video import answers
from napari_sam2.inference.video.looks import Looks
from napari_sam2.inference.video.memory_bank import Track
from napari_sam2.inference.video.passes import plan_passes
from napari_sam2.inference.video.propagation import Propagation
from napari_sam2.inference.video.spill import MemoryBudget
from napari_sam2.inference.video.trackers import tracker_for
from napari_sam2.inference.video.tracks import Snapshot, Tracks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from napari_sam2.inference.feature_store import FeatureStore
    from napari_sam2.inference.frames import ArrayLike
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.results import FrameResult, Prediction

Direction = Literal["forward", "backward", "both"]


class VideoPredictor:
    """Segments objects on frames and carries them to other frames.

    Parameters
    ----------
    model : Model
        From `load_model`.
    stack : array-like, shape (T, Y, X) or (T, Y, X, 3), or FrameSource
        Anything with shape, dtype and indexing; read one plane at a time.
    contrast_limits : tuple of float, optional
        (low, high), mapped to black and white on every frame. By default 0 to 255 for uint8, else
        the 0.1 and 99.9 percentiles of the first plane asked for.
    fill_holes : int
        Holes in a mask are filled that have at most so many cells of the decoder's mask, which is
        a quarter of the model's input; given masks stay as they are. The published predictor has
        8 where its CUDA extension was built. 0 fills none.
    memory_budget : int, optional
        Bytes that encoded frames and memories may take up together, on the model's device; what
        is beyond waits on disk. By default `memory_share`, a share of what is free.
    store : FeatureStore or None, optional
        Where encoded frames go that do not fit; by default the folder that `default_store` says.
    distinct : bool
        Whether two objects are never the same: where masks on a frame without their prompts share
        more than 0.4 of their union, the object that is less certain to be what was prompted, by
        the scores on the way there, counts as absent from the result. So a nucleus ends where its
        mask went over to the one below, and a cell that is followed back in time where it and its
        sister were one, if these are objects, too. What is remembered stays as the published
        predictor has it.
    look_alone : bool
        Whether a small model is shown the plane of a prompt as `LargeImagePredictor` shows it one,
        in parts where it is large, and carries that mask. Published models are not.
    memories : MemoryBudget, optional
        Holds the memories in place of half of the budget. Several predictors that share one, such
        as one for each volume of a film, hold no more together than one alone.

    Raises
    ------
    TypeError, ValueError
        When the stack has another shape or no real numbers, or a setting is negative.
    """

    def __init__(
        self,
        model: Model,
        stack: ArrayLike | FrameSource,
        contrast_limits: tuple[float, float] | None = None,
        fill_holes: int = 0,
        memory_budget: int | None = None,
        store: FeatureStore | Literal["default"] | None = "default",
        memories: MemoryBudget | None = None,
        *,
        distinct: bool = False,
        look_alone: bool = True,
    ) -> None:
        budget = memory_share(model.device) if memory_budget is None else memory_budget
        for name, value in (("fill_holes", fill_holes), ("memory_budget", budget)):
            if value < 0:
                raise ValueError(f"{name} is {value}, but must be 0 or more.")
        self.model = model
        self.source = stack if isinstance(stack, FrameSource) else FrameSource(stack)
        self._planes = ShownPlanes(model, self.source, contrast_limits)
        looks_alone = look_alone and is_small(model)
        looked_at = budget // 8 if looks_alone else 0
        self.features = FeatureCache(
            self._planes.encode,
            budget // 2 - looked_at,
            default_store(model.device) if store == "default" else store,
            self._planes.key,
        )
        self._fit = model.fit(self.source.plane_shape)
        memories = MemoryBudget(budget // 2) if memories is None else memories
        looks = None
        if looks_alone:
            looks = Looks(model, self._planes, looked_at, self.features.store, fill_holes)
        self._tracker = tracker_for(model, self.source, self.features, memories, fill_holes, looks)
        self._tracks = Tracks()
        self._distinct = distinct

    @property
    def contrast_limits(self) -> tuple[float, float] | None:
        """The intensities shown as black and white; None until a plane was asked for."""
        return self._planes.contrast_limits

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects known, in the order they were prompted first."""
        return tuple(self._tracks)

    def add_prompts(self, object_id: int, frame: int, prompts: Sequence[Prompt]) -> FrameResult:
        """Segment an object on a frame; the frame conditions every pass from the next on.

        Parameters
        ----------
        object_id : int
            Larger than 0; it becomes the label.
        frame : int
            Index along the frame axis.
        prompts : sequence of Prompt
            All prompts of the object on this frame: they replace earlier ones there. Where they
            only add to the earlier ones, or correct a mask that was propagated, the mask so far
            is refined. Masks and polygons are taken as they are, unless there is something else
            beside them that refines them.

        Returns
        -------
        FrameResult
            Every object known on this frame.

        Raises
        ------
        ValueError
            When the prompts are empty, outside the plane or contradict each other, or the object's
            number is not positive.
        IndexError
            When there is no such frame.
        """
        self.set_prompts(object_id, frame, prompts)
        return self.result(frame)

    def set_prompts(self, object_id: int, frame: int, prompts: Sequence[Prompt]) -> None:
        """Do what `add_prompts` does without a result, which takes time with many objects."""
        check_object_id(object_id)
        self._check_frame(frame)
        checked = check_prompts(prompts, self.source.plane_shape)
        known = self._tracks.own(object_id) if object_id in self._tracks else Track()
        known.answers[frame] = self._tracker.answers(known, frame, checked)
        known.prompts[frame] = checked
        known.pending[frame] = known.answers[frame][0]
        self._tracks[object_id] = known

    def candidates(self, object_id: int, frame: int) -> Prediction:
        """What else the prompts of an object on a frame may mean.

        Returns
        -------
        Prediction
            Three masks, the highest score first. The first one is the object's mask after a
            single click; several prompts have a mask of their own. Of a small model, which looks
            at that mask again, the first one is what it is most like.

        Raises
        ------
        KeyError
            When the object has no prompts there.
        ValueError
            When its mask was given, so that there are no others.
        """
        known = self._prompted(object_id, frame)
        return answers.prediction(self._tracker.candidates(known, frame), self._fit)

    def choose_candidate(self, object_id: int, frame: int, index: int | None) -> FrameResult:
        """Make a candidate the object's mask on a frame, so that propagation carries it.

        Parameters
        ----------
        object_id, frame : int
            As for `candidates`.
        index : int or None
            Which of the `candidates`, from 0; None goes back to the mask before any choice.

        Returns
        -------
        FrameResult
            Every object known on this frame.

        Raises
        ------
        KeyError, ValueError
            As for `candidates`.
        IndexError
            When there is no such candidate.
        """
        self._prompted(object_id, frame)
        known = self._tracks.own(object_id)
        found = self._tracker.candidates(known, frame)
        if index is not None and not 0 <= index < len(found):
            raise IndexError(f"There is no candidate {index}: there are {len(found)}, from 0.")
        known.pending[frame] = known.answers[frame][0] if index is None else found[index]
        self._tracker.memories.note(known.pending[frame])
        return self.result(frame)

    def remove_prompts(self, object_id: int, frame: int, keep_mask: bool = True) -> None:
        """Take back an object's prompts on a frame; without any left the object is forgotten.

        Parameters
        ----------
        object_id, frame : int
            As for `add_prompts`.
        keep_mask : bool
            Whether what the prompts gave in a pass stays until the next one, and is refined by
            prompts that are added there before, as the published predictor has it. Else they
            leave no trace.

        Raises
        ------
        KeyError
            When the object has no prompts there.
        """
        self._prompted(object_id, frame)
        track = self._tracks.own(object_id)
        del track.prompts[frame], track.answers[frame]
        track.pending.pop(frame, None)
        answer = track.conditioning.pop(frame, None)
        if not track.prompts:
            del self._tracks[object_id]
        elif answer is not None and track.passed.pop(frame, None) is not None and keep_mask:
            # part of a track: it stays until the next pass, but conditions nothing
            track.tracked[frame] = answer

    def remove_object(self, object_id: int) -> None:
        """Forget an object, its prompts and its masks.

        Raises
        ------
        KeyError
            When there is no such object.
        """
        if object_id not in self._tracks:
            raise KeyError(f"There is no object {object_id}. Known are {self.object_ids}.")
        del self._tracks[object_id]

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        stop_when_absent: int | None = None,
        stop_when_unchanged: int | None = None,
        object_ids: Collection[int] | None = None,
    ) -> Iterator[FrameResult]:
        """Carry the objects to other frames.

        What would come out as it is known already is not computed again: after a correction only
        the corrected object is, and nothing is encoded twice.

        Parameters
        ----------
        direction : {"forward", "backward", "both"}
            Towards the last frame, towards the first, or one pass of each.
        start, stop : int, optional
            Where a single direction starts, and the last frame it reaches: every object runs over
            this whole range. Without a start each object runs outward from its own prompts. In
            both directions they are the first and the last frame of the range in which each
            object runs outward from its own prompts.
        stop_when_absent : int, optional
            An object that was absent on so many frames in a row is not looked for any further in
            that direction, up to the next frame on which it is prompted, and what an earlier pass
            had found in between, within the range, is dropped.
        stop_when_unchanged : int, optional
            An object whose mask was on so many frames in a row as an earlier pass had left it, to
            an IoU of 0.99, is carried no further in that direction, up to the next frame on which
            it is prompted; what was found there stays. What no earlier pass had come to is not
            left out.
        object_ids : collection of int, optional
            Carry these objects alone; by default every one.

        Returns
        -------
        iterator of FrameResult
            One a frame, as soon as it is done, with every object known on it. Stop iterating to
            cancel; what was yielded stays. It ends when a snapshot is restored.

        Raises
        ------
        ValueError
            When nothing was prompted, the range is not within the stack, or no frame of it can be
            come to. Before work starts.
        KeyError
            When there is no such object.
        InputError
            When a plane cannot be read: its pass ends there, and it is said after the other one.
        """
        if not self._tracks:
            raise ValueError("There is no prompt yet. Add a point, a box or a mask first.")
        carried = set(self._tracks if object_ids is None else object_ids)
        if unknown := carried - self._tracks.keys():
            raise KeyError(f"There is no object {min(unknown)}.")
        for frame in (start, stop):
            if frame is not None:
                self._check_frame(frame)
        for name, count in (
            ("stop_when_absent", stop_when_absent),
            ("stop_when_unchanged", stop_when_unchanged),
        ):
            if count is not None and count < 1:
                raise ValueError(f"{name} is {count}, but must be 1 or more.")
        for object_id in carried:
            self._tracks.own(object_id).remember()
        prompted = {
            object_id: sorted(track.prompts)
            for object_id, track in self._tracks.items()
            if object_id in carried
        }
        passes = plan_passes(prompted, direction, start, stop, len(self.source))
        if not any(frames for _, ranges in passes for frames in ranges.values()):
            raise ValueError(
                "No frame of the range lies on the side of the prompts that they are carried to. "
                "Change the direction or the range, or add a prompt."
            )
        propagation = Propagation(
            self._tracker, self._planes.reader, self._tracks, stop_when_absent, stop_when_unchanged
        )
        return (self.result(frame) for frame in propagation.run(passes))

    def snapshot(self) -> Snapshot:
        """Keep what is known now, to go back to it; cheap, as nothing is copied yet."""
        return Snapshot(self._tracks.share(), self._tracker.memories, self.contrast_limits)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to what was known when a snapshot was taken.

        Whatever is asked for from then on is answered as if nothing had been asked for since.

        Parameters
        ----------
        snapshot : Snapshot
            Of this predictor, or of another one of the same model, stack and contrast limits.
        """
        if snapshot.contrast_limits != self.contrast_limits:
            self._planes.contrast_limits = snapshot.contrast_limits
            self.features.clear()
        self._tracker.memories = snapshot.memories
        self._tracks.replaced = True
        self._tracks = Tracks(snapshot.tracks)

    def result(self, frame: int) -> FrameResult:
        """What is known on a frame, without computing anything new."""
        return answers.frame_result(self._tracks, frame, self._fit, self._distinct)

    def _prompted(self, object_id: int, frame: int) -> Track:
        track = self._tracks.get(object_id)
        if track is None or frame not in track.prompts:
            raise KeyError(f"Object {object_id} has no prompts on frame {frame}.")
        return track

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < len(self.source):
            raise IndexError(
                f"There is no frame {frame}: the stack has {len(self.source)}, from 0."
            )
