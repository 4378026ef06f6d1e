"""The generated sample, opened from the dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_sam2.plugin.job_runner import JobRunner
from napari_sam2.sample_data import generated_zstack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari


class Samples:
    """Generates the sample in a thread, as it takes a moment.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is opened.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        self._job = JobRunner()
        self._job.yielded.connect(self._add)

    def open(self) -> None:
        """Open the z-stack of nuclei with its truth; does nothing while one is being opened."""
        if not self._job.is_busy:
            self._job.start(_generate)

    def close(self) -> None:
        """Open nothing any longer."""
        self._job.close()

    def _add(self, layers: object) -> None:
        assert isinstance(layers, list)  # it needs neither files nor network
        # the truth first, as the layer added last is the one that is looked at
        for layer in reversed([Layer.create(*each) for each in layers]):
            self._viewer.add_layer(layer)


def _generate() -> Iterator[object]:
    yield generated_zstack()
