"""What a training run is made of, read from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from napari_sam2.model.config import VARIANTS
from napari_sam2.training.sources import GENERATED, DataSource
from napari_sam2.training.tables import ConfigError, read_table, read_toml, read_value

NANO_TOML = Path(__file__).with_name("nano.toml")
SCRATCH = "scratch"
ADAPT = ("all", "decoder", "adapters", "memory")
PRECISIONS = ("auto", "float32", "bfloat16")
OPTIMIZERS = ("adamw", "muon")

# Where a file names no stages: a few hundred steps on clicks and boxes, for a model that is good
# already. The dense targets would need a head that is trained first. Without videos a model
# unlearns to follow objects: on a volume of plant tissue the IoU of whole objects fell from 0.41 to
# 0.13, with them it rose to 0.58.
TUNING = {
    "name": "tuning",
    "steps": 300,
    "learning_rate": 1e-4,
    "size": 512,
    "images": 2,
    "objects": 8,
    "videos": 1,
    "video_share": 0.4,
    "dense_weight": 0.0,
    "diameters": [16.0, 240.0],
}


@dataclass(frozen=True)
class Stage:
    """One part of a run, a ``[[stages]]`` of a TOML file.

    Attributes
    ----------
    name : str
        What it is called in lines, curves and pictures.
    steps : int
        Optimiser steps.
    learning_rate : float
        Highest rate of the optimiser; it rises over the first steps and falls along a cosine.
    size : int
        Side of the rendered windows in pixels.
    whole : int
        Side of the input that windows are taken for parts of, each step somewhere else on it; 0:
        they are all of it. A window of half the side costs a quarter, and teaches the positions of
        the whole; where the model is used at that size, end with some steps at it.
    images, objects : int
        Windows a step, and objects asked for in each.
    videos, frames : int
        Sequences a step, and their length, where a step is a video.
    video_share : float
        Share of the steps that are videos, 0 to 1.
    prompts : bool
        False trains the image encoder alone, on dense targets.
    dense_weight : float
        Weight of the dense targets beside the prompts.
    object_weight : float
        Weight of the pixels of an object against those of the background; below about 5 a model
        that knows nothing yet learns to answer with empty masks.
    box_share : float
        Share of the steps on images that ask for every object with a box, too, after the click;
        of the videos, the share that begins with boxes instead of clicks.
    correction_share : float
        Share of the steps on images in which corrections follow the first prompt.
    corrections : int
        How many; each is a click where the mask is wrong. SAM was trained with up to 7.
    diameters : tuple of float
        Smallest and largest diameter, in rendered pixels, of the object a window is chosen for.
    """

    name: str
    steps: int
    learning_rate: float
    size: int = 256
    whole: int = 0
    images: int = 4
    objects: int = 16
    videos: int = 2
    frames: int = 4
    video_share: float = 0.0
    prompts: bool = True
    dense_weight: float = 0.5
    object_weight: float = 2.0
    box_share: float = 0.25
    correction_share: float = 0.5
    corrections: int = 2
    diameters: tuple[float, float] = (14.0, 160.0)

    def __post_init__(self) -> None:
        for name in ("steps", "images", "objects", "videos", "corrections"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is 1 at least.")
        if self.frames < 2:
            raise ValueError(f"frames is {self.frames}; a video has 2 at least.")
        if self.size < 64 or self.size % 32:
            raise ValueError(f"size is {self.size}; it is a multiple of 32, 64 at least.")
        if self.whole and (self.whole < self.size or self.whole % 32):
            raise ValueError(
                f"whole is {self.whole}; it is a multiple of 32, {self.size} at least, or 0."
            )
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it is above 0.")
        for name in ("video_share", "box_share", "correction_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a share is 0 to 1.")
        for name in ("dense_weight", "object_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it cannot be negative.")
        if not self.prompts and not self.dense_weight:
            raise ValueError("it has neither prompts nor a dense_weight: nothing would be learned.")
        if not 0 < self.diameters[0] < self.diameters[1]:
            raise ValueError("diameters are two numbers in pixels, the smaller one first.")


@dataclass(frozen=True)
class ModelConfig:
    """What is trained, the ``[model]`` of a TOML file.

    Attributes
    ----------
    start : str
        ``"scratch"``: random weights; else a model's name or a checkpoint's path.
    variant : str
        The shape of a model from random weights.
    adapt : {"all", "decoder", "adapters", "memory"}
        What learns: everything; all but the image encoder; the same and low-rank adapters in
        the image encoder, which become part of its weights in the end; or what carries objects
        from frame to frame alone, so that a single image is answered as before.
    rank : int
        Of the adapters.
    """

    start: str = "nano"
    variant: str = "nano"
    adapt: str = "all"
    rank: int = 8

    def __post_init__(self) -> None:
        if self.adapt not in ADAPT:
            raise ValueError(f"adapt is {self.adapt!r}; it is one of {', '.join(ADAPT)}.")
        if self.start == SCRATCH and self.variant not in VARIANTS:
            raise ValueError(f"variant is {self.variant!r}; it is one of {', '.join(VARIANTS)}.")
        if self.start == SCRATCH and self.adapt != "all":
            raise ValueError("from random weights everything has to learn: adapt is 'all' there.")
        if self.rank < 1:
            raise ValueError(f"rank is {self.rank}; it is 1 at least.")


@dataclass(frozen=True)
class TrainingConfig:
    """A whole run: its stages follow each other on the same weights.

    Attributes
    ----------
    stages : tuple of Stage
        In their order.
    data : tuple of DataSource
        What to learn from.
    model : ModelConfig
        What is trained.
    name : str
        The trained model's file is called so.
    folder : Path
        What relative paths start from: where the TOML file is.
    seed : int
        The same seed gives the same weights on the same machine.
    device : str
        As `load_model` takes it.
    precision : {"auto", "float32", "bfloat16"}
        What the networks compute in while they learn; weights stay in float32.
    optimizer : {"adamw", "muon"}
        Muon learns matrices in fewer steps, but takes longer for each: for small models.
    accumulate : int
        Batches a step: the gradients of several small ones are added up, for less memory.
    picture_every : int
        Steps between pictures of predictions; 0 draws them at the end of each stage only.
    calibrate_presence : str
        A source whose first stack sets, in the end, where the model calls an object absent.
    """

    stages: tuple[Stage, ...]
    data: tuple[DataSource, ...]
    model: ModelConfig = field(default_factory=ModelConfig)
    name: str = "model"
    folder: Path = Path()
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    optimizer: str = "adamw"
    accumulate: int = 1
    picture_every: int = 500
    calibrate_presence: str = ""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("it has no [[stages]]. Give one at least.")
        adapt = self.model.adapt
        if adapt in ("decoder", "memory") and not all(stage.prompts for stage in self.stages):
            raise ValueError(f"a stage without prompts trains the encoder: {adapt!r} freezes it.")
        if adapt == "memory" and not all(stage.video_share == 1 for stage in self.stages):
            raise ValueError("memory learns from sequences alone: video_share is 1 in each stage.")
        names = [source.name for source in self.data]
        if len(set(names)) < len(names):
            raise ValueError("two [[data]] have the same name. Give each a name of its own.")
        if not sum(source.weight for source in self.data) > 0:
            raise ValueError("it has no [[data]] with a weight above 0: nothing to learn from.")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; it is one of {', '.join(PRECISIONS)}."
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer is {self.optimizer!r}; it is one of {', '.join(OPTIMIZERS)}."
            )
        if self.accumulate < 1 or self.picture_every < 0:
            raise ValueError("accumulate is 1 at least, and picture_every 0 at least.")
        if self.calibrate_presence and self.calibrate_presence not in {*names} - {GENERATED}:
            raise ValueError(f"calibrate_presence names no [[data]]: {self.calibrate_presence!r}.")

    @property
    def weights(self) -> dict[str, float]:
        """How often each source is drawn from."""
        return {source.name: source.weight for source in self.data}


def load_config(path: Path) -> TrainingConfig:
    """Read a run from a TOML file.

    Raises
    ------
    ConfigError
        When the file is not there, is no TOML, or has a key or a value that cannot be.
    """
    document = {"name": path.stem, **read_toml(path)}
    model = read_table(ModelConfig, document.get("model", {}), path, "model")
    if model.start != SCRATCH:
        document.setdefault("stages", [TUNING])
    return read_table(TrainingConfig, document, path)


def load_data(path: Path) -> tuple[DataSource, ...]:
    """Read the sources of a TOML file, whatever else is in it.

    Raises
    ------
    ConfigError
        As `load_config`; also when it has none.
    """
    document = read_toml(path)
    if not document.get("data"):
        raise ConfigError(f"{path} has no [[data]]. Name the images and their labels in one.")
    sources: tuple[DataSource, ...] = read_value(
        tuple[DataSource, ...], document["data"], path, "data"
    )
    return sources
