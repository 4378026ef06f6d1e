"""A file over HTTP, going on where an earlier attempt stopped."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

import requests
from urllib3.exceptions import HTTPError

from napari_sam2.checkpoints.errors import DownloadError
from napari_sam2.checkpoints.registry import megabytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.checkpoints.partial import Partial
    from napari_sam2.checkpoints.registry import Checkpoint

    Progress = Callable[[int, int | None], None]
    Cancelled = Callable[[], bool]

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
TIMEOUT = (10.0, 30.0)  # seconds to connect, and without a byte
_CHUNK = 1 << 16  # small, so that cancelling acts soon on a slow line
_LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
_WORTH_ANOTHER = frozenset({408, 425, 429, 500, 502, 503, 504})


class _PassingError(Exception):
    """Something that may be over at the next attempt."""

    def __init__(self, fact: str, wait: float = 0.0) -> None:
        super().__init__(fact)
        self.wait = wait


def fetch(
    checkpoint: Checkpoint, url: str, partial: Partial, progress: Progress, cancelled: Cancelled
) -> bool:
    """Receive what is missing of a file.

    Parameters
    ----------
    checkpoint : Checkpoint
        Says how large the file is to be.
    url : str
        Where it comes from. Proxies are those of the environment.
    partial : Partial
        What is there already.
    progress : callable
        Takes the bytes that are there and the bytes of the whole, None while they are not known.
    cancelled : callable
        Returns True to stop.

    Returns
    -------
    bool
        True when all is there, its checksum unchecked; False when cancelled.

    Raises
    ------
    DownloadError
        When it cannot be had.
    """
    failures, furthest = 0, partial.done
    with requests.Session() as session:
        while not cancelled():
            try:
                with _network_errors(url):
                    return _attempt(session, checkpoint, url, partial, progress, cancelled)
            except _PassingError as error:
                failures = 1 if partial.done > furthest else failures + 1
                furthest = max(furthest, partial.done)
                if failures == ATTEMPTS:
                    _give_up(checkpoint, partial, str(error), error)
                _pause(max(error.wait, PAUSE * 2 ** (failures - 1)), cancelled)
    return False


def _attempt(
    session: requests.Session,
    checkpoint: Checkpoint,
    url: str,
    partial: Partial,
    progress: Progress,
    cancelled: Cancelled,
) -> bool:
    if partial.done and partial.sha256 == checkpoint.sha256:
        return True
    headers = {"Accept-Encoding": "identity"}  # offsets count the file's own bytes
    validator = partial.validator(url)
    if validator is None and checkpoint.sha256 is None:
        partial.restart()  # nothing would tell whether the rest belongs to it
    if partial.done:
        headers["Range"] = f"bytes={partial.done}-"
        if validator is not None:
            headers["If-Range"] = validator
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and partial.done:
            if response.headers.get("Content-Range") == f"bytes */{partial.done}":
                return True
            partial.restart()
            raise _PassingError(f"{url} has less than what is here already.")
        total = _checked_total(response, checkpoint, url, partial)
        chunks: Iterator[bytes] = response.iter_content(_CHUNK)
        if response.status_code == 200:
            first = next(chunks, b"")
            if first.lstrip()[:1] == b"<":  # neither a zip archive nor a pickle begins so
                _refuse_page(url)
            partial.restart()
            chunks = chain([first], chunks)
        limit = total
        if total is None and checkpoint.sizes is not None:
            limit = checkpoint.sizes[-1]  # nothing else would end a body without end
        with partial.appending(url, response.headers) as write:
            for chunk in chunks:
                write(chunk)
                progress(partial.done, total)
                if limit is not None and partial.done > limit:
                    partial.restart()
                    _give_up(checkpoint, partial, f"{url} sent more than the {limit} bytes it has.")
                if partial.done != total and cancelled():
                    return False
    if total is not None and partial.done < total:
        raise _PassingError(f"{url} broke off after {partial.done} of {total} bytes.")
    return True


def _checked_total(
    response: requests.Response, checkpoint: Checkpoint, url: str, partial: Partial
) -> int | None:
    """Bytes of the whole file, after a look at whether the answer is a piece of it."""
    status, headers = response.status_code, response.headers
    answer = f"{url} answered {status} {response.reason}."
    if status in _WORTH_ANOTHER:
        asked = headers.get("Retry-After", "")
        raise _PassingError(answer, min(float(asked) if asked.isdigit() else 0.0, _LONGEST_WAIT))
    if status not in (200, 206):
        _give_up(checkpoint, partial, answer)
    if headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        _refuse_page(url)
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        _give_up(checkpoint, partial, f"{url} comes compressed, which was not asked for.")
    total = checkpoint.size
    stated = headers.get("Content-Length", "")
    if status == 206:
        part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if part is None or int(part[1]) != partial.done or partial.is_of_another(url, headers):
            partial.restart()
            raise _PassingError(f"{url} sent a piece that does not follow what is here.")
        stated = part[2]
    if stated.isdigit():
        if checkpoint.sizes is not None and int(stated) not in checkpoint.sizes:
            _give_up(
                checkpoint, partial, f"{url} has {stated} bytes, but {checkpoint.bytes_text} were "
                "expected: it is another file, or is damaged."
            )  # fmt: skip
        total = int(stated)
    if total is not None:
        _check_space(partial, total)
    return total


def _check_space(partial: Partial, total: int) -> None:
    folder, missing = partial.path.parent, total - partial.done
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise DownloadError(
            f"The disk has {megabytes(free)} free in {folder}, but {megabytes(missing)} are to "
            "come. Free some space, or set NAPARI_SAM2_MODELS to a folder on another disk."
        )


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Sort what requests raises by whether another attempt may help."""
    try:
        yield
    except requests.exceptions.ProxyError as error:
        raise _PassingError(
            f"The proxy on the way to {url} cannot be reached, or refuses. Check the environment "
            "variables https_proxy, http_proxy and no_proxy."
        ) from error
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise _PassingError(f"The encrypted connection to {url} broke off.") from error
        raise DownloadError(
            f"The certificate of {url} is not trusted here. Behind a firewall that reads along, "
            "set REQUESTS_CA_BUNDLE to the file of its certificate."
        ) from error
    except requests.exceptions.ConnectTimeout as error:
        raise _PassingError(f"{url} did not answer in {TIMEOUT[0]:g} seconds.") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        if "timed out" in str(error):
            fact = f"{url} sent nothing for {TIMEOUT[1]:g} seconds."
        else:
            fact = (
                f"{url} cannot be reached, or the connection broke. Behind a firewall, set "
                "https_proxy or NAPARI_SAM2_MIRROR."
            )
        raise _PassingError(fact) from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _PassingError(f"The connection to {url} broke off.") from error
    except (requests.RequestException, HTTPError) as error:  # requests lets some of urllib3's out
        raise DownloadError(
            f"{url} cannot be downloaded: {str(error).rstrip('.')}. Check NAPARI_SAM2_MIRROR and "
            "the proxy variables, if they are set."
        ) from error
    except DownloadError:
        raise
    except OSError as error:  # so says requests of certificates
        raise DownloadError(
            f"{url} cannot be downloaded: {str(error).rstrip('.')}. Check REQUESTS_CA_BUNDLE and "
            "CURL_CA_BUNDLE, if they are set."
        ) from error


def _refuse_page(url: str) -> NoReturn:
    raise DownloadError(
        f"{url} answered with a web page instead of the file, as logins and firewalls do. Open it "
        "in a browser to see what it says, and download again."
    )


def _give_up(
    checkpoint: Checkpoint, partial: Partial, fact: str, cause: Exception | None = None
) -> NoReturn:
    later = "Try again later"
    if partial.done:
        later = f"{megabytes(partial.done)} are kept: download again later to go on from there"
    raise DownloadError(
        f"{fact} {later}, or get {checkpoint.url} elsewhere and put it into "
        f"{partial.path.parent} as {checkpoint.file}."
    ) from cause


def _pause(seconds: float, cancelled: Cancelled) -> None:
    """Wait, or until cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not cancelled():
        time.sleep(min(left, 0.1))
