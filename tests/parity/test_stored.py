"""What is stored for tests without the published packages is still what they answer."""

from __future__ import annotations

import numpy as np
import pytest
from tests.golden import make
from tests.golden.answers import FILE
from tests.golden.names import read_names

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def _installed():
    for package in ("sam2", "transformers", "segment_anything"):
        pytest.importorskip(package, reason=f"{package} is not installed: run make parity")


def test_answers():
    stored, found = np.load(FILE), make.answers()
    assert set(stored) == set(found)
    for name, values in found.items():
        np.testing.assert_allclose(stored[name], values, atol=1e-3, err_msg=name)


def test_names():
    assert read_names() == make.names()
