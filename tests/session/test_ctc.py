"""Tracks in the format of the Cell Tracking Challenge."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_sam2.session import ctc
from napari_sam2.session.ctc import write_ctc


def test_tracks_become_masks_and_a_table(tmp_path):
    labels = np.zeros((5, 4, 6), np.uint32)
    labels[:3, 0] = 70
    labels[3:, 0, :2], labels[3:, 0, 4:] = 90, 80
    labels[1:, 3] = 100_000
    labels[2, 3] = 0  # a gap
    write_ctc(tmp_path / "res", labels, {80: 70, 90: 70})
    table = [line.split() for line in (tmp_path / "res" / "res_track.txt").read_text().splitlines()]
    rows = {int(row[0]): tuple(map(int, row[1:])) for row in table}
    masks = np.stack([tifffile.imread(path) for path in sorted(tmp_path.glob("res/mask*.tif"))])
    assert masks.dtype == np.uint16
    assert masks.shape == labels.shape
    mother, left, right = masks[0, 0, 0], masks[3, 0, 0], masks[3, 0, 5]
    first, second = masks[1, 3, 0], masks[3, 3, 0]
    assert rows == {
        mother: (0, 2, 0),
        left: (3, 4, mother),
        right: (3, 4, mother),
        first: (1, 1, 0),
        second: (3, 4, first),
    }
    np.testing.assert_array_equal(masks > 0, labels > 0)


def test_masks_of_a_longer_film_are_replaced(tmp_path):
    write_ctc(tmp_path, np.ones((6, 3, 4), np.uint8), {})
    (tmp_path / "mask_of_mine.tif").touch()
    write_ctc(tmp_path, np.ones((4, 3, 4), np.uint8), {})
    masks = {f"mask{frame:03d}.tif" for frame in range(4)}
    assert {path.name for path in tmp_path.iterdir()} == masks | {
        "res_track.txt",
        "mask_of_mine.tif",
    }


def test_a_truth_has_other_names(tmp_path):
    write_ctc(tmp_path, np.ones((2, 3, 4, 5), np.uint8), {}, truth=True)
    names = {"man_track.txt", "man_track000.tif", "man_track001.tif"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert tifffile.imread(tmp_path / "man_track000.tif").shape == (3, 4, 5)
    assert (tmp_path / "man_track.txt").read_text() == "1 0 1 0\n"


def test_more_tracks_than_the_format_has_numbers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ctc, "MOST", 2)
    with pytest.raises(ValueError, match="3 tracks, but the format ends at 2"):
        ctc.write_ctc(tmp_path, np.array([[[1, 2, 3]]]), {})
