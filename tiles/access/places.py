"""Locate files, on this machine or on a server, and match them against the servers that the user allows."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

HANDLERS = {
    "/vsicurl/": "",
    "/vsicurl_streaming/": "",
    "/vsis3/": "s3://",
    "/vsis3_streaming/": "s3://",
    "/vsigs/": "gs://",
    "/vsigs_streaming/": "gs://",
    "/vsiaz/": "az://",
    "/vsiaz_streaming/": "az://",
    "/vsiadls/": "adls://",
    "/vsioss/": "oss://",
    "/vsiswift/": "swift://",
    "/vsihdfs/": "hdfs://",
    "/vsiwebhdfs/": "",
}
"""GDAL's prefixes for files on servers, and the scheme of each; empty where a full address follows."""
ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/", "/vsirar/", "/vsisubfile/", "/vsicached?")
"""GDAL's prefixes for a file inside another one."""
PORTS = {"http": 80, "https": 443, "ftp": 21}
_ADDRESS = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s"'<>]*""", re.IGNORECASE)
_HANDLER = re.compile(r"/vsi\w+[/?]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """A server, or a bucket on one.

    Attributes:
        scheme: Such as ``https`` or ``s3``, in lower case.
        host: Its name and port, or the bucket.
    """

    scheme: str
    host: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def addresses_in(name: str) -> tuple[str, ...]:
    """Return the server addresses in a GDAL file name or any other text; none for a local file."""
    if "://" not in name and "/vsi" not in name.lower():
        return ()
    text = re.sub(r"^vrt://", " ", name, flags=re.IGNORECASE)
    for handler, scheme in HANDLERS.items():
        text = re.sub(re.escape(handler), f" {scheme}", text, flags=re.IGNORECASE)
    text = re.sub(r"/vsicurl\?", " ", text, flags=re.IGNORECASE)
    if re.search(r"url=\w+%3a", text, re.IGNORECASE):
        text = unquote(text)
    return tuple(_ADDRESS.findall(text))


def address_of(name: str) -> str:
    """Return the address of a file on a server from its GDAL name; return other names unchanged."""
    for handler, scheme in HANDLERS.items():
        if name.startswith(handler):
            return scheme + name.removeprefix(handler)
    return name


def place_of(address: str) -> Place:
    """Return the server or bucket of an address."""
    scheme, _, rest = address.partition("://")
    scheme = scheme.lower()
    netloc = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    if scheme not in PORTS:
        return Place(scheme, netloc)
    host, colon, port = netloc.rpartition("@")[2].lower().partition(":")
    return Place(scheme, f"{host}{colon}{port}" if port and port != str(PORTS[scheme]) else host)


def is_of_this_machine(name: str) -> bool:
    """Check whether a name is that of a local file, or of a file inside one."""
    low = name.lower()
    if "://" not in low and "/vsi" not in low:
        return True
    return not addresses_in(name) and all(handler in ARCHIVES for handler in _HANDLER.findall(low))


def is_allowed(address: str, patterns: Iterable[str]) -> bool:
    """Check whether the user allows an address.

    Args:
        address: The address.
        patterns: Such as ``https://tiles.example.org/*``, ``gs://bucket/*`` or ``*.example.org``: a host alone allows
            all of it. A ``*`` matches only within its part: the host, or the path.
    """
    place, path = place_of(address), _path(address)
    return any(_matches(place, path, pattern) for pattern in patterns)


def _matches(place: Place, path: str, pattern: str) -> bool:
    scheme, separator, rest = pattern.rpartition("://")
    host, slash, below = rest.partition("/")
    pattern_place = place_of(f"{scheme or place.scheme}://{host}")
    if separator and not fnmatchcase(place.scheme, scheme.lower()):
        return False
    if not fnmatchcase(place.host, pattern_place.host):
        return False
    return not slash or not below or fnmatchcase(path, unquote(below.partition("?")[0]))


def _path(address: str) -> str:
    """Return the path of an address as a server interprets it, without the leading slash."""
    try:
        path = unquote(urlsplit(address).path)
    except ValueError:
        path = address
    return posixpath.normpath(f"/{path.lstrip('/')}").lstrip("/")


def joined(folder_of: str, name: str) -> str:
    """Resolve a file name relative to the folder of the file that references it.

    Args:
        folder_of: The referencing file: a path, an address or a GDAL file name.
        name: The name as it stands there.
    """
    if name.startswith("/") or "://" in name:
        return name
    base = re.split(r"[?#]", folder_of, maxsplit=1)[0] if addresses_in(folder_of) else folder_of
    folder = base.rpartition("/")[0]
    return f"{folder}/{name}" if "/" in base else name
