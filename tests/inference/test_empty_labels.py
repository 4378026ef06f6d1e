from __future__ import annotations

import gc
import tempfile

import numpy as np

from napari_sam2.inference.empty_labels import empty_labels


def test_labels_are_on_disk_where_they_would_fill_the_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert isinstance(empty_labels((4, 10, 10), free=lambda: 1600), np.ndarray)
    labels = empty_labels((4, 10, 10), np.uint32, free=lambda: 3000)
    labels[2, 3:5] = 70_000
    assert labels[:].sum() == 20 * 70_000
    assert len(list(tmp_path.iterdir())) == 1
    del labels
    gc.collect()
    assert list(tmp_path.iterdir()) == []
