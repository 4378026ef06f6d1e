"""Image files, read plane by plane."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.errors import InputError
from napari_sam2.inference.frames import UNNAMED, FrameSource, OneFrame, fixed_levels
from napari_sam2.inference.zarr_images import read_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class OpenImage:
    """An image that is read when it is indexed.

    Attributes
    ----------
    data : array-like
        Shape (..., Y, X), or with 3 or 4 colours last when ``rgb``; any real dtype.
    axes : str
        One letter for each axis other than the colours.
    rgb : bool
        Whether the last axis is red, green, blue and perhaps alpha.
    name : str
        What messages call it: the path of its file.
    scale, translation : tuple of float
        Size of a pixel along each axis, and where the first one lies; empty where they are not
        known.
    units : tuple of str
        What they are in, for each axis, such as "micrometer".
    coarser : tuple of array-like
        The same at lower resolutions, of a pyramid, the highest first.
    """

    data: Any
    axes: str
    rgb: bool
    name: str = UNNAMED
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    coarser: tuple[Any, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without the colours."""
        return tuple(self.data.shape[: len(self.axes)])

    def at(self, fixed: Mapping[int, int]) -> OpenImage:
        """Itself without some axes, which stay at an index; nothing is read."""
        if not fixed:
            return self

        def others(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(value for axis, value in enumerate(values) if axis not in fixed)

        data, *coarser = fixed_levels((self.data, *self.coarser), fixed)
        return replace(
            self,
            data=data,
            coarser=tuple(coarser),
            axes="".join(others(self.axes)),
            scale=others(self.scale),
            translation=others(self.translation),
            units=others(self.units),
        )

    def channel(self, index: int | None = None) -> OpenImage:
        """One of its channels, read when it is indexed.

        Parameters
        ----------
        index : int or None
            Along the axis C; None for the only one. An image without that axis has one.

        Raises
        ------
        InputError
            When there are several and none is chosen, or there is no such channel.
        """
        axis = self.axes.find("C")
        count = self.shape[axis] if axis >= 0 else 1
        if index is None and count > 1:
            raise InputError(
                f"The image has {count} channels. Say with --channel which one to segment, from 0 "
                f"to {count - 1}."
            )
        if not 0 <= (index or 0) < count:
            raise InputError(f"There is no channel {index}: the image has {count}, from 0.")
        return self.at({axis: index or 0} if axis >= 0 else {})

    def squeezed(self) -> OpenImage:
        """Itself without axes of length 1, other than Y and X; its labels are to be reshaped."""
        lengths = zip(self.axes, self.shape, strict=True)
        single = [name not in "YX" and length == 1 for name, length in lengths]
        return self.at({axis: 0 for axis, each in enumerate(single) if each})

    def frames(self, axis: int = 0, fixed: Mapping[int, int] | None = None) -> FrameSource:
        """Its planes along an axis, as a `FrameSource` takes it; a plane is a stack of one."""
        data = OneFrame(self.data) if len(self.shape) == 2 else self.data
        return FrameSource(data, frame_axis=axis, fixed=fixed, rgb=self.rgb, name=self.name)

    def stack_axis(self, said: str | None = None) -> tuple[int, str]:
        """The axis that the planes of a stack lie along, and what it is.

        Parameters
        ----------
        said : {"z", "t"} or None
            What it is; None for what the file says.

        Returns
        -------
        int, {"z", "t"}
            The axis, and what it is.

        Raises
        ------
        InputError
            When there are more axes, or none of them is named.
        """
        if len(self.shape) > 3:
            raise InputError(
                f"The image has shape {self.shape}, but a plane or one stack of planes is needed. "
                "Save the stack as an image of its own."
            )
        axis = next((axis for axis, name in enumerate(self.axes) if name in "ZT"), 0)
        kind = said or self.axes[axis].lower()
        if kind not in ("z", "t"):
            raise InputError(
                f"The axes of the image are called {self.axes}. Say with --axis z or --axis t "
                "what its planes lie along."
            )
        return axis, kind


def open_image(path: Path) -> OpenImage:
    """Open an image, lazily where its format allows.

    TIFF and zarr are read plane by plane, everything else whole. A pyramid is read at its full
    resolution, and its other levels where a large plane is looked at coarsely; a TIFF of several
    series at its first.

    Parameters
    ----------
    path : Path
        A TIFF or other image file, or a zarr folder.

    Returns
    -------
    OpenImage
        The image.

    Raises
    ------
    InputError
        When there is no such file, or it is not an image that can be segmented.
    """
    if not path.exists():
        raise InputError(f"There is no file {path}. Check the path.")
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty. Copy or save the image again.")
    try:
        data, axes, levels, calibration = _read(path)
    except InputError:
        raise
    except Exception as error:  # readers raise anything when a file is broken
        raise InputError(
            f"{path} cannot be read as an image ({type(error).__name__}: {error}). "
            "Give a TIFF, zarr or PNG image."
        ) from error
    rgb = axes.endswith("S")
    coarser = tuple(level for level in levels if level.ndim == data.ndim)
    image = OpenImage(data, axes.removesuffix("S"), rgb, str(path), *calibration)
    image = replace(image, coarser=coarser)
    if data.dtype.kind not in "buif":
        raise InputError(f"{path} holds {data.dtype}. Convert it to real numbers.")
    if len(image.axes) < 2 or 0 in data.shape:
        raise InputError(f"{path} has shape {tuple(data.shape)}. Give an image of 2 axes or more.")
    return image


def split_channels(image: OpenImage) -> list[OpenImage]:
    """The channels of an image, each by itself and read when it is indexed.

    Parameters
    ----------
    image : OpenImage
        The image.

    Returns
    -------
    list of OpenImage
        One for each index along the axis C; none where there is no such axis.
    """
    axis = image.axes.find("C")
    return [image.at({axis: index}) for index in range(image.shape[axis])] if axis >= 0 else []


def _read(path: Path) -> tuple[Any, str, tuple[Any, ...], tuple[tuple[Any, ...], ...]]:
    """Read the array and name its axes; colours come last and are called S.

    The last of what is returned are the coarser levels of a pyramid, and scale, translation and
    units, where they are known.
    """
    if path.is_dir():
        data, axes, coarser, calibration = read_zarr(path)
        return *_named(data, axes), coarser, calibration
    if path.suffix.lower() in {".tif", ".tiff"}:
        data, axes, coarser = _read_tiff(path)
        return *_named(data, axes), coarser, ()
    from skimage.io import imread

    pixels = imread(path)
    if pixels.ndim == 3 and pixels.shape[-1] == 2:  # grey and alpha of a PNG
        pixels = pixels[..., 0]
    return *_named(pixels, None), (), ()


def _read_tiff(path: Path) -> tuple[Any, str, tuple[Any, ...]]:
    import tifffile
    import zarr

    with _refusing_damaged(path):
        series = tifffile.TiffFile(path).series[0]
    if series.dataoffset is not None and len(series.levels) == 1:
        # asked for only then: it reads the description of every page
        files = {page.parent.filehandle.path for page in series.pages if page}
        if len(files) == 1:
            dtype = series.dtype.newbyteorder(series.parent.byteorder)
            (file,) = files
            if Path(file).stat().st_size < series.dataoffset + series.nbytes:
                raise _cut_off(path)
            return _Contiguous(file, dtype, series.shape, series.dataoffset), series.axes, ()
    # the stores hold the file open for as long as planes may be read
    levels = (
        zarr.open_array(series.aszarr(level=level), mode="r") for level in range(len(series.levels))
    )
    data, *coarser = levels
    return data, series.axes, tuple(coarser)


@dataclass(frozen=True)
class _Contiguous:
    """Pixels that follow each other in a file: a part costs no more than its rows.

    Many programs write a plane as a single strip, which tifffile reads whole for any part of it.
    """

    path: str
    stored: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read; the file may have another order of bytes."""
        return self.stored.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        # mapped anew each time, as pages that were read would count as memory in use
        pixels = np.memmap(self.path, self.stored, "r", self.offset, self.shape)[index]
        return np.array(pixels, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels: NDArray[Any] = self[...]
        return pixels if dtype is None else pixels.astype(dtype)


_CUT_OFF = "invalid page offset"  # as tifffile says it


@contextmanager
def _refusing_damaged(path: Path) -> Iterator[None]:
    """Raise where tifffile only logs that planes are missing, and takes what is left for all."""
    told: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if record.thread != threading.get_ident() or _CUT_OFF not in message:
            return True
        told.append(message)
        return False  # it is said below

    logger = logging.getLogger("tifffile")
    logger.addFilter(listen)
    try:
        yield
    finally:
        logger.removeFilter(listen)
    if told:
        raise _cut_off(path)


def _cut_off(path: Path) -> InputError:
    return InputError(f"{path} ends too early: planes are missing. Copy it again.")


def _named(data: Any, axes: str | None) -> tuple[Any, str]:
    """Name axes that have no name; S is for colours."""
    if axes is None:
        colours = data.ndim > 2 and data.shape[-1] in (3, 4)
        axes = _usual(data.ndim - 1) + "S" if colours else _usual(data.ndim)
    rgb = axes.endswith("S")
    others = axes.removesuffix("S")
    # Letters of tifffile's for axes that it knows nothing about. Colours in front are among them:
    # that is how it stores a stack of three or four planes.
    if set(others) & set("QIS"):
        others = _usual(len(others))
    if rgb and data.shape[-1] not in (3, 4):
        raise InputError(
            f"The image has {data.shape[-1]} colours per pixel. Convert it to grey or RGB."
        )
    return data, others + "S" * rgb


def _usual(ndim: int) -> str:
    return {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}.get(ndim, "Q" * ndim)
