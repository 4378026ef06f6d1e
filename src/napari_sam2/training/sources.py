"""Where labelled images lie: which label map belongs to which image, and what is kept apart."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.training.data import DATA_VARIABLE, data_folder
from napari_sam2.training.files import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WILD = re.compile(r"\*|\?|\[[^\]]*\]")  # what stands for any letters in a pattern

GENERATED = "generated"  # the source without files, whose sequences are drawn anew each time


@dataclass(frozen=True)
class DataSource:
    """Images and their label maps: one ``[[data]]`` of a TOML file.

    Attributes
    ----------
    name : str
        What it is called in curves and tables. ``"generated"`` has no files.
    images, labels : str
        A folder, a file, or a pattern such as ``"*_raw.tif"``. An image belongs to the label map
        of the same name, or where both are patterns, to the one whose ``*`` stands for the same.
    axes : str
        A letter for each axis of an image: y, x, z or t, and c for colours, which label maps do
        not have. By default "yx", "zyx", "yxc" (three or four colours) or "zyxc".
    smallest : int
        Objects of fewer pixels, or voxels in a stack, are background.
    smallest_on_plane : int
        An object is asked for where it has as many pixels on a plane.
    weight : float
        How often the source is drawn from, against the others.
    validation : float or tuple of str
        What is kept out of training: a share of the images (0.1: the first and every tenth after
        it, by name), or patterns of names. Objects of one image are never divided.
    train_planes, validation_planes : str
        Divide each stack instead: ``"0:90"`` and ``"95:125"``.
    directions : {"one", "all"}
        "all" where voxels are as high as wide: y and x are used as frame axes, too, in training.
    """

    name: str
    images: str = ""
    labels: str = ""
    axes: str = ""
    smallest: int = 0
    smallest_on_plane: int = 30
    weight: float = 1.0
    validation: float | tuple[str, ...] = ()
    train_planes: str = ""
    validation_planes: str = ""
    directions: str = "one"

    def __post_init__(self) -> None:
        files = bool(self.images), bool(self.labels)
        if files != (self.name != GENERATED,) * 2:
            raise ValueError(
                f"'{GENERATED}' needs no images and no labels; give it a weight only."
                if self.name == GENERATED
                else "it needs both images and labels: a folder, a file or a pattern each."
            )
        if self.directions not in ("one", "all"):
            raise ValueError(f"directions is {self.directions!r}; it is 'one' or 'all'.")
        if self.weight < 0:
            raise ValueError(f"weight is {self.weight}; it cannot be negative.")
        if isinstance(self.validation, float) and not 0 <= self.validation < 1:
            raise ValueError(f"validation is {self.validation}; as a share it is 0 to below 1.")
        letters = set(self.axes)
        wrong = len(letters) < len(self.axes) or {"z", "t"} <= letters
        if self.axes and (wrong or not {"y", "x"} <= letters <= set("yxztc")):
            raise ValueError(
                f"axes is {self.axes!r}; name each axis once: y, x, one of z and t, and c for "
                "colours. Store z-stacks over time as one file a time point."
            )
        if self.validation and (self.train_planes or self.validation_planes):
            raise ValueError(
                "it has both validation and planes. Divide images or planes, not both."
            )
        for planes in (self.train_planes, self.validation_planes):
            if planes and not re.fullmatch(r"\d*:\d*(:[1-9]\d*)?", planes):
                raise ValueError(f"planes are {planes!r}; write them as '0:90' or '0:90:5'.")


def pair_files(source: DataSource, folder: Path) -> dict[str, tuple[Path, Path]]:
    """The image and the label map of each name.

    Raises
    ------
    ValueError
        When there are none, or one has no partner.
    """
    roots = [_root(source, text, folder) for text in (source.images, source.labels)]
    if not any(WILD.search(root.name) for root in roots):  # two files, whatever they are called
        return {roots[0].stem: (roots[0], roots[1])}
    starts = [WILD.split(root.name)[0] for root in roots]
    # what both begin with is part of the name
    images, labels = (
        _by_name(source, root, 0 if starts[0] == starts[1] else len(start))
        for root, start in zip(roots, starts, strict=True)
    )
    for what, other, left in (
        ("images without labels", source.labels, images.keys() - labels.keys()),
        ("labels without images", source.images, labels.keys() - images.keys()),
    ):
        if left:
            raise ValueError(
                f"{source.name}: {len(left)} {what}: {some(left)}. A file of the same name is "
                f"looked for in {other}. Add the missing files, or move these out of the folder."
            )
    return {name: (images[name], labels[name]) for name in images}


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few of many names."""
    listed = sorted(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _root(source: DataSource, text: str, folder: Path) -> Path:
    """The file or the pattern that a text stands for; for a folder, all that is in it."""
    root = folder / _expanded(text)
    if root.is_dir() and root.suffix != ".zarr":
        return root / "*"
    if not WILD.search(root.name) and not root.exists():
        raise ValueError(f"{source.name}: there is no {root}. Check the path.")
    return root


def _by_name(source: DataSource, root: Path, start: int) -> dict[str, Path]:
    """The files that a pattern fits, by their names from ``start`` up to what the pattern adds."""
    end = WILD.split(root.name)[-1]
    names: dict[str, Path] = {}
    for path in sorted(root.parent.glob(root.name)):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        name = path.name[start : len(path.name) - len(end)]
        if not Path(end).suffix:
            name = name.removesuffix(path.suffix).removesuffix(".ome")
        if name in names:
            raise ValueError(
                f"{source.name}: {names[name].name} and {path.name} have the same name. "
                "Move one of them out of the folder, or give a pattern such as '*.tif'."
            )
        names[name] = path
    if not names:
        raise ValueError(
            f"{source.name}: there are no images at {root}. Known are {', '.join(SUFFIXES)}."
        )
    return names


def _expanded(text: str) -> str:
    """Put in environment variables; the one for the training data has a default."""
    variable = f"${{{DATA_VARIABLE}}}"
    if variable in text:
        text = text.replace(variable, str(data_folder().resolve()))
    expanded = os.path.expanduser(os.path.expandvars(text))
    if "${" in expanded:
        raise ValueError(f"{text}: the environment variable is not set. Set it, or write the path.")
    return expanded


def kept_out(source: DataSource, names: Sequence[str]) -> set[str]:
    """The names that validate.

    Raises
    ------
    ValueError
        When a pattern fits none, or none is left to learn from.
    """
    share = source.validation
    if isinstance(share, tuple):
        kept = {name for name in names if any(fnmatchcase(name, p) for p in share)}
        missing = [p for p in share if not any(fnmatchcase(name, p) for name in names)]
        if missing:
            raise ValueError(
                f"{source.name}: no image is called {some(missing)}, as validation has it. "
                f"There are {some(names)}."
            )
    else:
        # the first, and then one whenever the share amounts to another
        steps = np.floor(np.round((np.arange(len(names) + 1) - 1) * share, 9))
        kept = {n for n, a, b in zip(names, steps, steps[1:], strict=False) if a != b}
    if kept and len(kept) == len(names):
        raise ValueError(
            f"{source.name}: all {len(names)} images validate, and none is left to learn from. "
            "Add images, change validation, or divide stacks with train_planes and "
            "validation_planes."
        )
    return kept
