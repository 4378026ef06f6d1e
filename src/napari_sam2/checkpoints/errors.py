"""What is raised when weights do not come, or are not weights."""

from __future__ import annotations


class DownloadError(OSError):
    """A download that cannot go on; the message states the fact and the remedy."""


class CheckpointError(ValueError):
    """A file that does not hold the weights of a model we know."""
