"""Where the model runs, and in which precision."""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import psutil
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

MEMORY_VARIABLE = "NAPARI_SAM2_MEMORY_MB"
# what torch says in a RuntimeError like any other
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",  # on a CPU
    "not enough memory: you tried to allocate",  # on a CPU, in Windows
    "status_alloc_failed",  # of cuBLAS and its kin, which want memory of their own
)
_PLANLESS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str = "auto") -> torch.device:
    """Turn a name into a device.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA, else Apple's MPS, else CPU), or a name that torch knows.

    Raises
    ------
    ValueError
        When the device does not exist on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"The device {device!r} is not available on this machine. "
            "Use 'auto' or 'cpu', or install a torch build for your GPU."
        ) from error
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Turn a name into a precision.

    Parameters
    ----------
    dtype : str
        ``"auto"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``. Auto is bfloat16 where the GPU
        or the processor multiplies it faster, and float32 elsewhere.
    device : torch.device
        Where the model runs.

    Raises
    ------
    ValueError
        When the name is unknown.
    """
    if dtype == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, but must be 'auto' or one of {', '.join(DTYPES)}.")
    return DTYPES[dtype]


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    able: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older releases of torch do not tell
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def memory_share(device: torch.device) -> int:
    """Bytes that features and memories may take up by default: a share of what is free.

    Parameters
    ----------
    device : torch.device
        Where they are kept.

    Returns
    -------
    int
        A quarter of what is free on a CUDA device, a twelfth of what is free elsewhere, where
        other programs want some too; `MEMORY_VARIABLE` in megabytes, if it is set.

    Raises
    ------
    ValueError
        When the variable is no number above zero.
    """
    chosen = os.environ.get(MEMORY_VARIABLE)
    if chosen:
        if not chosen.isdecimal() or not int(chosen):
            raise ValueError(f"{MEMORY_VARIABLE} is {chosen!r}; it is a number of megabytes.")
        return int(chosen) * 10**6
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 4
    return int(psutil.virtual_memory().available) // 12


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a GPU is not waited for.

    Parameters
    ----------
    tensor : Tensor
        In the memory of the CPU, or there already.
    device : torch.device
        Where it goes.

    Returns
    -------
    Tensor
        The same on the device.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the device, or of the computer, is used up."""
    text = str(error).lower()
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(
        known in text for known in OUT_OF_MEMORY
    )


@contextmanager
def memory_explained(shape: tuple[int, ...]) -> Iterator[None]:
    """Say what to do when the memory ends where no less of it can be used.

    Raises
    ------
    MemoryError
        In place of what says that the memory does not suffice for a plane of that shape.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(
            f"The memory does not suffice for {shape[0]} x {shape[1]} pixels of a plane. Close "
            "other programs, or take a smaller model, a smaller input, or the CPU."
        ) from error


@contextmanager
def precision(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Context in which the networks compute in ``dtype``, their weights staying float32."""
    if dtype == torch.float32:
        yield
        return
    # cuDNN's attention makes a plan for each new number of objects, which takes longer than the
    # attention: 8 ms a call on an H100 with torch 2.11
    planless = sdpa_kernel(_PLANLESS) if device.type == "cuda" else nullcontext()
    with torch.autocast(device.type, dtype), planless:
        yield
