"""What is raised when weights do not come."""

from __future__ import annotations


class DownloadError(OSError):
    """A download that cannot go on; the message states the fact and the remedy."""
