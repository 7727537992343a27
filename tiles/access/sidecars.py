"""What lies beside a raster of a web server: it is asked for by name, and only 404 means that it is not there.

GDAL takes every failure for an answer that nothing is there, and asks for what may lie beside what lies beside it. So it is
asked here, and GDAL is told what there is.
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

LOOKED_AT = 1024
"""Bytes by which answers are told apart."""
BEHIND = (".msk", ".aux.xml")
"""What follows the whole name of a raster in those of its mask and its metadata."""
_SIGNED = re.compile(r"[?&](x-amz-signature|x-goog-signature|signature|sig)=", re.IGNORECASE)


class _Hidden(Enum):
    HIDDEN = "nobody may know whether it is there"


HIDDEN = _Hidden.HIDDEN
Answer = bytes | Exception | _Hidden | None
"""What tells a file from others, where it is there; None where it is not; or why that is not known."""


class SidecarError(OSError):
    """It cannot be known what lies beside a raster; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What lies beside a raster of a web server.

    Attributes:
        files: Addresses of the raster itself and of what is read with it.
        hidden: Addresses of which the server does not say whether they are there.
    """

    files: tuple[str, ...]
    hidden: tuple[str, ...] = ()


def beside(
    url: str, suffixes: Sequence[str] | None = None, *, ask: Callable[[str], Answer] | None = None
) -> Sidecars:
    """Ask for what may lie beside a raster.

    Args:
        url: Its address.
        suffixes: What may follow its whole name in those of other files; None for all that GDAL looks for.
        ask: What a server answers to an address; None for a web server.

    A server that answers every name says nothing by it: then only that is there which differs from the raster itself, and
    from what it answers to a name that nobody has given.

    Raises:
        BesideError: If the server does not answer as it should.
    """
    if _SIGNED.search(url):
        return Sidecars((url,))  # A signature is for one name.
    names = candidates(url) if suffixes is None else tuple(url + suffix for suffix in suffixes)
    asked = [url, f"{url}.{uuid.uuid4().hex[:12]}", *names]
    with ThreadPoolExecutor(len(asked), thread_name_prefix="beside") as pool:
        own, nobody, *answers = pool.map(ask or _answer, asked)
    found: list[str] = []
    hidden: list[str] = []
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, bytes):
            if answer not in (own, nobody):
                found.append(name)
        elif answer is HIDDEN:
            hidden.append(name)
        elif answer is not None:
            raise SidecarError(_sentence(url, name, answer))
    if found and urlsplit(url).query and isinstance(_answer(f"{url}.ovr.ovr"), bytes):
        found, hidden = [], [*hidden, *found]
    return Sidecars((url, *found), tuple(hidden))


def candidates(url: str) -> tuple[str, ...]:
    """Addresses of masks, metadata and world files, as GDAL makes them of that of a raster."""
    behind = [url + suffix for suffix in BEHIND]
    stem, suffix = os.path.splitext(url)  # noqa: PTH122 - an address is no path
    if urlsplit(url).query or not 2 < len(suffix) < 6:
        return tuple(behind)
    worlds = dict.fromkeys((f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld"))
    return (*behind, *(stem + world for world in worlds))


def _answer(url: str) -> Answer:
    """What a web server answers."""
    try:
        return first_bytes(url, LOOKED_AT)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        return HIDDEN if error.code in (401, 403) else error
    except FAILURES as error:
        return error


def _sentence(url: str, name: str, error: Exception | _Hidden) -> str:
    if isinstance(error, RedirectError):
        return f"{name} {error}"
    said = f"{error.code} {error.reason}" if isinstance(error, urllib.error.HTTPError) else None
    cause = getattr(error, "reason", None) or error
    said = said or getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return f"{url} cannot be read: whether {name} lies beside it is not known, its server answers: {said}"
