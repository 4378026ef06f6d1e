"""Errors as notifications."""

from __future__ import annotations

from napari.utils.notifications import notification_manager, show_error


def tell_error(error: Exception) -> None:
    """Tell of an error: what was foreseen in a sentence, the rest with where it happened."""
    if isinstance(error, ValueError | TypeError | OSError | MemoryError | ImportError):
        show_error(str(error) or type(error).__name__)
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
