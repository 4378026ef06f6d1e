from types import SimpleNamespace

import numpy as np
import pytest
from skimage.measure import label as connected

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.large.fields import Grid
from napari_sam2.inference.prompts import BoxPrompt
from napari_sam2.inference.results import FrameResult


class BlobPredictor:
    """Stands in for the model: an object is the bright blob under its first prompt."""

    threshold = 50

    def __init__(self, model, frames, distinct, look_alone=True):
        BlobPredictor.look_alone = look_alone  # of the last one
        self.frames = frames if isinstance(frames, FrameSource) else FrameSource(frames)
        self.prompts = {}

    def add_prompts(self, *, object_id, frame, prompts):
        self.prompts.setdefault(object_id, {})[frame] = prompts

    def propagate(self, direction="both", start=None, stop=None, stop_when_absent=None):
        prompted = [frame for each in self.prompts.values() for frame in each]
        first = {"backward": stop or 0}.get(direction, start or 0)
        last = {"backward": start if start is not None else max(prompted)}.get(
            direction, len(self.frames) - 1 if stop is None else stop
        )
        for frame in range(first, last + 1):
            plane = np.asarray(self.frames.plane(frame), float)
            bright = (plane.mean(-1) if plane.ndim == 3 else plane) > self.threshold
            crops = tuple(self._crop(bright, next(iter(p.values()))) for p in self.prompts.values())
            yield FrameResult(
                frame=frame,
                shape=bright.shape,
                object_ids=tuple(self.prompts),
                crops=crops,
                scores=np.ones(len(crops), np.float32),
                present=np.ones(len(crops), bool),
            )

    def _crop(self, bright, prompts):
        prompt = prompts[0]
        if isinstance(prompt, BoxPrompt):
            where = np.mean(np.reshape(prompt.box, (2, 2)), axis=0)
        else:
            where = prompt.position
        blobs = connected(bright)
        blob = blobs[tuple(np.round(where).astype(int))]
        mask = (blobs == blob) & (blob > 0)
        return MaskCrop(np.where(mask, 1.0, -1.0).astype(np.float16), (0, 0))


class PlaneBlobs(BlobPredictor):
    """The same on a single plane."""

    def __init__(self, model, plane):
        self.shape, self.features = plane.shape, SimpleNamespace(encoded=1)
        shown = plane.read(Grid(plane.shape, max(plane.shape)).whole)
        self._bright = 255 * (shown.mean(-1) if shown.ndim == 3 else shown) > self.threshold

    def predict(self, prompts):
        return SimpleNamespace(best=self._crop(self._bright, prompts))

    def look_again(self, prompts, answer):
        return answer


@pytest.fixture
def loaded(monkeypatch):
    """Replace the model and its predictor; gives what ``load_model`` was asked for."""
    asked = []

    def load_model(name, device="auto", image_size=None):
        asked.append((name, device))
        if name == "missing":
            raise ValueError("There is no model 'missing'. Use nano, or the path of a checkpoint.")
        return SimpleNamespace(
            note="",
            config=SimpleNamespace(image_size=512, name="blobs"),
            device=SimpleNamespace(type="cpu"),
        )

    monkeypatch.setattr("napari_sam2.inference.load.load_model", load_model)
    monkeypatch.setattr("napari_sam2.inference.video.video_predictor.VideoPredictor", BlobPredictor)
    monkeypatch.setattr("napari_sam2.inference.large.tiling.LargeImagePredictor", PlaneBlobs)
    return asked


@pytest.fixture
def stack():
    """Two bright bars along z: rows 3 to 6 and rows 12 to 16; uint8 of shape (6, 20, 24)."""
    image = np.full((6, 20, 24), 10, np.uint8)
    image[1:5, 3:7, 4:9] = 200
    image[2:6, 12:17, 14:20] = 150
    return image
