"""What errors say to a user."""

from __future__ import annotations

import errno

import pytest

from napari_sam2.inference.errors import in_words


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/labels"),
            "/data/labels: Permission denied. Change the permissions, or choose another place.",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error."),
        (OSError("no archive:\n  a.zip"), "no archive: a.zip"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_codes_of_the_system_are_left_out(error, told):
    assert in_words(error) == told
