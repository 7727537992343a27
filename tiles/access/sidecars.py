"""Find the sidecars of a raster on a web server, each by name; only 404 and 410 mean that one does not exist.

GDAL takes every failure to mean that a file does not exist, and looks for sidecars of sidecars. They are therefore
looked up here, and GDAL is told which exist.
"""

from __future__ import annotations

import os
import re
import urllib.error
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from terraseam.tiles.access.web import FAILURES, RedirectError, first_bytes

COMPARED_BYTES = 1024
"""Bytes by which responses are compared."""
BEHIND = (".msk", ".aux.xml")
"""Suffixes that its mask and its metadata append to the full name of a raster."""
_SIGNED = re.compile(r"[?&](x-amz-signature|x-goog-signature|signature|sig)=", re.IGNORECASE)


class _Hidden(Enum):
    HIDDEN = "the server does not reveal whether it exists"


HIDDEN = _Hidden.HIDDEN
Answer = bytes | Exception | _Hidden | None
"""The first bytes of a file that exists; None for one that does not; or the reason why that is unknown."""


class SidecarError(OSError):
    """Raised when a server does not reveal which sidecars a raster has; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """A raster on a web server and its sidecars.

    Attributes:
        files: Addresses of the raster itself and of the files read with it.
        hidden: Addresses whose server does not reveal whether they exist.
    """

    files: tuple[str, ...]
    hidden: tuple[str, ...] = ()


def beside(
    url: str, suffixes: Sequence[str] | None = None, *, ask: Callable[[str], Answer] | None = None
) -> Sidecars:
    """Find the sidecars of a raster on a web server.

    Args:
        url: Its address.
        suffixes: Suffixes to append to its full name; None for all sidecars that GDAL looks for.
        ask: Returns a server's answer for an address; None for a web server.

    Some servers answer every name. A sidecar therefore exists only if its content differs from that of the raster
    itself and from the answer for a random name.

    Raises:
        SidecarError: If the server does not answer as expected.
    """
    if _SIGNED.search(url):
        return Sidecars((url,))  # A signature is for one name.
    names = candidates(url) if suffixes is None else tuple(url + suffix for suffix in suffixes)
    urls = [url, f"{url}.{uuid.uuid4().hex[:12]}", *names]
    with ThreadPoolExecutor(len(urls), thread_name_prefix="beside") as pool:
        own, nobody, *answers = pool.map(ask or _answer, urls)
    visible: list[str] = []
    hidden: list[str] = []
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, bytes):
            if answer not in (own, nobody):
                visible.append(name)
        elif answer is HIDDEN:
            hidden.append(name)
        elif answer is not None:
            raise SidecarError(_sentence(url, name, answer))
    if visible and urlsplit(url).query and isinstance(_answer(f"{url}.ovr.ovr"), bytes):
        visible, hidden = [], [*hidden, *visible]
    return Sidecars((url, *visible), tuple(hidden))


def candidates(url: str) -> tuple[str, ...]:
    """Return the addresses of masks, metadata and world files that GDAL derives from that of a raster."""
    behind = [url + suffix for suffix in BEHIND]
    stem, suffix = os.path.splitext(url)  # noqa: PTH122 - an address is no path
    if urlsplit(url).query or not 2 < len(suffix) < 6:
        return tuple(behind)
    worlds = dict.fromkeys((f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld"))
    return (*behind, *(stem + world for world in worlds))


def _answer(url: str) -> Answer:
    """Request the first bytes of a file on a web server."""
    try:
        return first_bytes(url, COMPARED_BYTES)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        return HIDDEN if error.code in (401, 403) else error
    except FAILURES as error:
        return error


def _sentence(url: str, name: str, error: Exception | _Hidden) -> str:
    if isinstance(error, RedirectError):
        return f"{name} {error}"
    reason = f"{error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else None
    cause = getattr(error, "reason", None) or error
    reason = reason or getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return f"{url} cannot be read: it is not known whether {name} exists beside it, since its server failed: {reason}"
