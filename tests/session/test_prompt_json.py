"""Masks as run lengths."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam2 import MaskPrompt
from napari_sam2.session.prompt_json import read_prompt, write_prompt


def counted(mask):
    runs, last = [0], False
    for pixel in mask.ravel():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    return runs


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_a_mask_is_written_row_after_row_and_read_again(mask):
    prompt = MaskPrompt(mask)
    written = write_prompt(prompt)
    assert written == {"type": "mask", "shape": list(mask.shape), "runs": counted(mask)}
    assert read_prompt(written) == prompt
    np.testing.assert_array_equal(prompt.mask, mask)
