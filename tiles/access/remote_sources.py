"""What is there of the sources of virtual rasters that lie on servers, and how they are read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from terraseam.tiles.access.gate import admit, proxy_of
from terraseam.tiles.access.gdal_library import proxied, thread_settings
from terraseam.tiles.access.places import is_of_this_machine
from terraseam.tiles.access.requests import no_failed_requests
from terraseam.tiles.access.sidecars import BEHIND, beside
from terraseam.tiles.access.sources import Sources, allowed_hosts, gdal_name

SIDECARS_ONE_BY_ONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
"""Masks, overviews and metadata beside a raster are asked for by name: a bucket may hold a million other objects, and to
look for nothing (``EMPTY_DIR``) would take pixels for measured that a mask says are not."""
AT_ONCE = 16
"""Sources that are looked for at the same time."""
MOST_NAMES = 200
"""Files that GDAL is told the whole names of; of more sources, the endings."""
_WEB = re.compile(r"^(/vsicurl/)?(?=https?://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemoteSources:
    """Files of servers that a raster is read from.

    Attributes:
        names: What GDAL calls the sources.
        beside: The same of masks and metadata beside them; None where that is not known, and GDAL looks itself.
        hidden: Addresses of which their servers do not say whether they are there.
        proxy: What GDAL asks servers through in its own way; None where it asks none.
    """

    names: tuple[str, ...] = ()
    beside: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    proxy: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All that is known to be there."""
        return (*self.names, *(self.beside or ()))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Open or read the raster within the block, from what is there, and all of that.

        Raises:
            RequestError: Behind the block, if a file of a server could not be read.
        """
        if not self.names:
            with proxied(self.proxy):
                yield
            return
        allowed = None if self.beside is None else allowed_names(self.names, self.beside)
        settings = {**SIDECARS_ONE_BY_ONE, **(allowed or {})}
        strict = allowed is not None
        with no_failed_requests(strict=strict), thread_settings(settings), proxied(self.proxy):
            yield


def remote_sources(
    path: str, sources: Sources, known: Sequence[str] | None, files: Sequence[str] | None
) -> RemoteSources:
    """Find what is there of the sources of a raster that lie on servers, and beside them.

    Args:
        path: What is opened.
        sources: All that it is read from.
        known: What is there of the raster itself and beside it; None where that is not known.
        files: All files that were read for it when it was looked at; None where it was not: then servers are asked.

    Raises:
        BesideError: If a server does not say what is there.
    """
    away = [name for name in sources.files if not is_of_this_machine(name)]
    names = tuple(map(gdal_name, away))
    admit([*names, *sources.asked])
    proxy = proxy_of(path, sources.asked, allowed_hosts())
    if not all(map(_WEB.match, away)):
        return RemoteSources(names, proxy=proxy)
    if files is not None:
        there = set(map(gdal_name, files)) - set(names)
        return RemoteSources(names, tuple(sorted(name for name in there if _WEB.match(name))), proxy=proxy)
    own = [name for name in known or () if name != path]
    asked = [_WEB.sub("", name) for name in away if name != path]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="beside") as pool:
        answers = list(pool.map(lambda url: beside(url, BEHIND), asked))
    found = [*own, *(name for one in answers for name in one.files[1:])]
    hidden = tuple(name for one in answers for name in one.hidden)
    return RemoteSources(names, tuple(map(gdal_name, found)), hidden, proxy)


def allowed_names(names: Sequence[str], beside_them: Sequence[str]) -> dict[str, str] | None:
    """Settings of GDAL by which it asks for some files, and for no others; None where none can say so.

    Overviews of overviews of overviews would be asked for without end of a server that has a file of any name.
    """
    if any("?" in name for name in (*names, *beside_them)):  # GDAL compares what stands before it alone.
        return None
    ends = [re.split(r"[\s,\"/]", name)[-1] for name in (*names, *beside_them)]
    if len(names) > MOST_NAMES:
        endings = {PurePosixPath(name).suffix for name in names}
        ends = [*endings, *ends[len(names) :]]
    return {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": " ".join(dict.fromkeys(ends))} if all(ends) else None


NOTHING_REMOTE = RemoteSources()
