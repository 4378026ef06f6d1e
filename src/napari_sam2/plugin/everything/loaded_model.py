"""The model of a dock, loaded once for all that ask it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from napari_sam2.session.predictors import load_chosen
from napari_sam2.session.values import ModelChoice

if TYPE_CHECKING:
    from napari_sam2.inference.load import Model


class LoadedModel:
    """Loads the model that was chosen when it is first needed."""

    def __init__(self) -> None:
        self._choice = ModelChoice()
        self._loaded: tuple[ModelChoice, Model] | None = None
        self._lock = Lock()

    def choose(self, choice: ModelChoice) -> None:
        """Use another model from the next search on."""
        self._choice = choice

    def get(self) -> Model:
        """The model; for worker threads, as this may take long. Raises what `load_model` does."""
        with self._lock:
            chosen = self._choice
            if self._loaded is None or self._loaded[0] != chosen:
                self._loaded = None  # so that two models never fill the memory together
                self._loaded = chosen, load_chosen(chosen)
            return self._loaded[1]
