"""Asking web servers, whose redirections are followed to where they may go."""

from __future__ import annotations

import functools
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from terraseam.tiles.access.network_kinds import FOLLOWED, kind_of_address

TIMEOUT_S = 15.0
WAITS_S = (0.5, 2.0)
"""How long to wait before each further attempt."""
FAILURES = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)
"""What may come of a request."""
LATER = frozenset({408, 425, 429})
"""Answers of the 4xx kind after which the same request may succeed."""
T = TypeVar("T")


class RedirectError(OSError):
    """A server sends who asks to where it may not; the message goes on after the address that was asked."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        first = getattr(req, "first", req.full_url)
        check_redirect(first, newurl)
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None:
            made.first = first  # type: ignore[attr-defined]
        return made


def opened(request: str | urllib.request.Request) -> Any:
    """The answer to a request, to be closed; redirections are followed to where they may go."""
    return _opener().open(request, timeout=TIMEOUT_S)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def check_redirect(asked: str, sent_to: str) -> None:
    """Check that a server may send who asks to another address.

    Args:
        asked: The address that was asked first.
        sent_to: Where the server says that it is.

    Raises:
        RedirectError: If that is a part of the network that it may not speak for, such as this machine itself.
    """
    from_kinds, to_kinds = kinds_of(asked), kinds_of(sent_to)
    allowed = set[str]().union(*(FOLLOWED[kind] for kind in from_kinds))
    strange = sorted(to_kinds - allowed)
    if strange:
        raise RedirectError(
            f"is redirected to {sent_to}, a {strange[0]} address, which is not followed; name it itself if it is meant"
        )


def kinds_of(url: str) -> set[str]:
    """Which kinds of addresses the host of a URL has: ``public``, ``private``, ``loopback``, ``link-local``."""
    try:
        host = urlsplit(url).hostname or ""
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return {"public"}  # Nobody is reached under such a name from here, unless a proxy knows better.
    return {kind_of_address(address) for address in found} or {"public"}


def again(work: Callable[[], T], waits: Iterable[float] | None = None) -> T:
    """Do something, again where a server may answer otherwise a moment later; the last error is raised."""
    for wait in WAITS_S if waits is None else waits:
        try:
            return work()
        except FAILURES as error:
            if not may_pass(error):
                raise
        time.sleep(wait)
    return work()


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in LATER
    if isinstance(error, RedirectError):
        return False
    return isinstance(error, (OSError, http.client.HTTPException))


def first_bytes(url: str, size: int) -> bytes:
    """The first bytes of a file of a web server.

    Raises:
        OSError: If it cannot be had.
    """

    def read() -> bytes:
        request = urllib.request.Request(url, headers={"Range": f"bytes=0-{size - 1}"})
        with opened(request) as answer:
            found = bytes(answer.read(size))
            promised = int(answer.headers.get("Content-Length") or 0)
        if len(found) < min(size, promised):
            raise http.client.IncompleteRead(found, promised - len(found))
        return found

    try:
        return again(read)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # It is empty.
            return b""
        raise
