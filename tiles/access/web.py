"""Request files from web servers, following only permitted redirects."""

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
"""Waits before each further attempt, in seconds."""
FAILURES = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)
"""Exceptions that a request may raise."""
LATER = frozenset({408, 425, 429})
"""Status codes of the 4xx class after which the same request may succeed later."""
T = TypeVar("T")


class RedirectError(OSError):
    """Raised when a server redirects to an address that it may not; the message continues after the address."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        first = getattr(req, "first", req.full_url)
        check_redirect(first, newurl)
        redirected = super().redirect_request(req, fp, code, msg, headers, newurl)
        if redirected is not None:
            redirected.first = first  # type: ignore[attr-defined]
        return redirected


def opened(request: str | urllib.request.Request) -> Any:
    """Open a request, following permitted redirects; the response must be closed."""
    return _opener().open(request, timeout=TIMEOUT_S)


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def check_redirect(requested: str, sent_to: str) -> None:
    """Check that a server may redirect to another address.

    Args:
        requested: The address that was requested first.
        sent_to: The address that the server redirects to.

    Raises:
        RedirectError: If that is in a part of the network that the server may not redirect to, such as this machine.
    """
    from_kinds, to_kinds = kinds_of(requested), kinds_of(sent_to)
    allowed = set[str]().union(*(FOLLOWED[kind] for kind in from_kinds))
    strange = sorted(to_kinds - allowed)
    if strange:
        raise RedirectError(
            f"is redirected to {sent_to}, a {strange[0]} address, which is not followed; name that address "
            "instead if intended"
        )


def kinds_of(url: str) -> set[str]:
    """Return the kinds of addresses of a URL's host: ``public``, ``private``, ``loopback``, ``link-local``."""
    try:
        host = urlsplit(url).hostname or ""
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return {"public"}  # Such a name cannot be reached from here, unless a proxy can resolve it.
    return {kind_of_address(address) for address in addresses} or {"public"}


def again(work: Callable[[], T], waits: Iterable[float] | None = None) -> T:
    """Call a function, retrying where a server may answer differently a moment later; raise the last error."""
    for wait in WAITS_S if waits is None else waits:
        try:
            return work()
        except FAILURES as error:
            if not may_pass(error):
                raise
        time.sleep(wait)
    return work()


def may_pass(error: BaseException) -> bool:
    """Check whether the same request may succeed a moment later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in LATER
    if isinstance(error, RedirectError):
        return False
    return isinstance(error, (OSError, http.client.HTTPException))


def first_bytes(url: str, size: int) -> bytes:
    """Read the first bytes of a file on a web server.

    Raises:
        OSError: If it cannot be read.
    """

    def read() -> bytes:
        request = urllib.request.Request(url, headers={"Range": f"bytes=0-{size - 1}"})
        with opened(request) as answer:
            content = bytes(answer.read(size))
            promised = int(answer.headers.get("Content-Length") or 0)
        if len(content) < min(size, promised):
            raise http.client.IncompleteRead(content, promised - len(content))
        return content

    try:
        return again(read)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # The file is empty.
            return b""
        raise
