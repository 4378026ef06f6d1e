"""Where the presence score calls an object absent.

Frames that show the object are many more in training than frames that do not, so the score leans
towards presence; one bias puts the balance where whole stacks come out best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.training.evaluation import clicks_on_largest_planes, stack_overlaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.inference.load import Model
    from napari_sam2.training.data import LabelledStack

SHIFTS = (0.0, -1.0, -1.5, -2.0, -2.5, -3.0)


def calibrate_presence(model: Model, stacks: Sequence[LabelledStack]) -> dict[float, float]:
    """Shift the bias of the presence score to the best of a few values.

    Parameters
    ----------
    model : Model
        Its bias is changed.
    stacks : sequence of LabelledStack
        Training stacks in which objects begin and end.

    Returns
    -------
    dict of float to float
        The mean IoU of the objects, each carried through its stack from one click, per shift.
    """
    bias = model.network.get_parameter("mask_decoder.presence_head.layers.2.bias")
    trained = bias.clone()
    scores = {}
    for shift in SHIFTS:
        bias.copy_(trained + shift)
        overlaps: list[float] = []
        for stack in stacks:
            clicks = clicks_on_largest_planes(stack.label_planes)
            overlaps += stack_overlaps(model, stack, clicks, stop_when_absent=2).values()
        scores[shift] = float(np.mean(overlaps))
        print(f"presence {shift:+.1f}: mean 3D IoU {scores[shift]:.3f}", flush=True)
    bias.copy_(trained + max(scores, key=lambda shift: scores[shift]))
    return scores
