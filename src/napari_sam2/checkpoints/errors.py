"""What is raised when weights do not come, or are not weights."""

from __future__ import annotations


class DownloadError(OSError):
    """A download that cannot go on; the message states the fact and the remedy."""


class CheckpointError(ValueError):
    """A file that does not hold the weights of a model we know.

    Parameters
    ----------
    fact : str
        What is the matter, kept for callers who know a better remedy.
    remedy : str, optional
        What may be done.
    """

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(f"{fact} {remedy}".rstrip())
        self.fact = fact
