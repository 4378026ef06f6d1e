"""What a GPU does otherwise to be faster, without gradients; the same but for rounding."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


def lowered(x: Tensor) -> Tensor:
    """What several layers take, as autocast would cast it for each of them: on a GPU, once."""
    if x.is_cuda and not torch.is_grad_enabled() and torch.is_autocast_enabled("cuda"):
        return x.to(torch.get_autocast_dtype("cuda"))
    return x


# cuDNN makes a plan for each new shape, which takes milliseconds. For one object, it is slower than
# the fused kernel; and where torch would not choose it, nobody measured it.
PLANNED_OBJECTS = 2
PLANNED_CAPABILITIES = 9, 10
_without_plan: set[tuple[torch.device, torch.dtype]] = set()


def planned_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor | None:
    """Attention of one head whose values are narrower than its queries and keys, by cuDNN.

    Twice to three times as fast as the fused kernel at full width, on an H100. None where cuDNN is
    not to be used, or has no kernel. Called directly, as torch's choice of kernels is one for all
    threads.
    """
    # (B, Nq, C), (B, Nk, C), (B, Nk, M) -> (B, Nq, M)
    kind = query.device, query.dtype
    if (
        not query.is_cuda
        or len(query) < PLANNED_OBJECTS
        or query.dtype == torch.float32
        or kind in _without_plan
        or torch.cuda.get_device_capability(query.device)[0] not in PLANNED_CAPABILITIES
    ):
        return None
    # one query for all objects would have no stride
    heads = (each.contiguous()[:, None] for each in (query, key, value))
    try:
        mixed: Tensor = torch.ops.aten._scaled_dot_product_cudnn_attention(*heads, None, False)[0]
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, AttributeError):  # releases of torch and cuDNN differ in what they have
        _without_plan.add(kind)
        return None
    return mixed[:, 0]


# A pair of bfloat16 as one integer, turned in float32 and rounded to nearest, ties to even.
_TURN = """
template <typename T> T turn(T pair, T cosine, T sine) {
  float a = __int_as_float(pair << 16), b = __int_as_float(pair & 0xffff0000);
  float c = __int_as_float(cosine), s = __int_as_float(sine);
  unsigned first = __float_as_uint(a * c - b * s), second = __float_as_uint(a * s + b * c);
  first += 0x7fff + ((first >> 16) & 1);
  second += 0x7fff + ((second >> 16) & 1);
  return T((first >> 16) | (second & 0xffff0000));
}
"""
_without_turn: set[torch.device] = set()


@cache
def _turn() -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    kernel: Callable[[Tensor, Tensor, Tensor], Tensor] = torch.cuda.jiterator._create_jit_fn(_TURN)
    return kernel


def turned_at_once(x: Tensor, table: Tensor) -> Tensor | None:
    """Turn (B, N, C) by a table as long, by a kernel of its own; None where there is none.

    Passing over the keys of many objects five times takes a GPU half as long as attending to them.
    """
    if x.dtype != torch.bfloat16 or x.device in _without_turn:
        return None
    cosine, sine = torch.view_as_real(table).view(torch.int32).unbind(-1)
    try:
        return _turn()(x.view(torch.int32), cosine, sine).view(x.dtype)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:  # it is compiled here, by what may be missing
        _without_turn.add(x.device)
        return None
