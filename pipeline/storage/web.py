"""Download files from web servers, and check whether they can be read in parts."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, BinaryIO, TypeVar

from terraseam.pipeline.storage.errors import host_of
from terraseam.pipeline.storage.retries import WAITS_S, GaveUpError, with_retries
from terraseam.tiles.access import web
from terraseam.tiles.access.web import FAILURES, RedirectError, may_pass

GONE = (404, 410)
"""HTTP statuses for a file that does not exist."""

T = TypeVar("T")


def headers_of(url: str) -> Message:
    """Return the HTTP headers of a file.

    Raises:
        OSError: If the server does not return them.
    """
    return _again(lambda: _headers(urllib.request.Request(url, method="HEAD")))


def _headers(request: urllib.request.Request) -> Message:
    with web.opened(request) as answer:
        headers: Message = answer.headers
        return headers


@dataclass(frozen=True)
class Absence:
    """The reason why a file cannot be read.

    Attributes:
        reason: The reason, as a sentence.
        is_gone: Whether the server reports that the file does not exist.
    """

    reason: str
    is_gone: bool = False

    def __str__(self) -> str:
        return self.reason


def absence(url: str) -> Absence | None:
    """Return why GDAL cannot read windows of a file; None if it can."""
    try:
        status = _again(lambda: _status_of_part(url))
    except FAILURES as error:
        return Absence(web_sentence(url, error), getattr(error, "code", None) in GONE)
    if status != 206:
        return Absence(
            f"{url} cannot be read in parts: the server does not support range requests; download the file, or "
            "use a server that does"
        )
    return None


def _status_of_part(url: str) -> int:
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
    with web.opened(request) as answer:
        return int(answer.status)


def web_sentence(url: str, error: BaseException) -> str:
    """Return, as one sentence, why a file on a web server cannot be read."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code in GONE:
            return f"{url} does not exist ({error.code})"
        if error.code in (401, 403):
            return f"{url} may not be read ({error.code} {error.reason}); use an address that is signed or public"
        return f"{url} cannot be read: the server returned {error.code} {error.reason}"
    if isinstance(error, RedirectError):
        return f"{url} {error}"
    cause = getattr(error, "reason", None) or error
    reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return f"{url} cannot be read: the server {host_of(url)} does not respond ({reason})"


@contextlib.contextmanager
def opened(url: str) -> Iterator[Any]:
    """Yield a file on a web server, open for reading."""
    with web.opened(url) as answer:
        yield answer


def fetch(url: str, target: BinaryIO) -> None:
    """Download a whole file from a web server.

    Raises:
        OSError: If it cannot be read; one sentence.
    """

    def copied() -> None:
        target.seek(0)
        target.truncate()
        with opened(url) as answer:
            shutil.copyfileobj(answer, target)
            size = answer.headers.get("Content-Length")
        if size is not None and target.tell() != int(size):
            raise http.client.IncompleteRead(b"", int(size) - target.tell())

    try:
        _again(copied)
    except FAILURES as error:
        raise OSError(web_sentence(url, error)) from error


def _again(work: Callable[[], T]) -> T:
    """Run a request, and retry it if the server may answer differently later."""
    try:
        return with_retries(work, may_pass, waits=WAITS_S)[0]
    except GaveUpError as failure:
        raise (failure.__cause__ or failure) from None
