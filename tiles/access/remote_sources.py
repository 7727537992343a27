"""Find the remote sources of virtual rasters and their sidecars, and configure GDAL to read them."""

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
"""Masks, overviews and metadata beside a raster are requested by name: a bucket may hold a million other objects, and
not looking at all (``EMPTY_DIR``) would treat pixels as valid that a mask excludes.
"""
AT_ONCE = 16
"""Sources that are looked up at the same time."""
MOST_NAMES = 200
"""Maximum number of sources whose full names GDAL is given; beyond that it is given their extensions."""
_WEB = re.compile(r"^(/vsicurl/)?(?=https?://)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemoteSources:
    """The remote files that a raster is read from, and the proxy for reading them.

    Attributes:
        names: GDAL names of the sources.
        beside: GDAL names of masks and metadata beside them; None where unknown, so that GDAL looks itself.
        hidden: Addresses whose servers do not reveal whether they exist.
        proxy: Proxy for requests that GDAL makes on its own; None if it makes none.
    """

    names: tuple[str, ...] = ()
    beside: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    proxy: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files known to exist."""
        return (*self.names, *(self.beside or ()))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Require the raster to be read from exactly the existing files within the block.

        Raises:
            RequestError: After the block, if a file on a server could not be read.
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
    """Find which remote sources of a raster exist, and their sidecars.

    Args:
        path: The raster that is opened.
        sources: All files that it is read from.
        known: The raster itself and its existing sidecars; None if unknown.
        files: All files that were read for it when it was inspected; None if it was not, in which case servers are
            asked.

    Raises:
        SidecarError: If a server does not say what exists.
    """
    away = [name for name in sources.files if not is_of_this_machine(name)]
    names = tuple(map(gdal_name, away))
    admit([*names, *sources.servers])
    proxy = proxy_of(path, sources.servers, allowed_hosts())
    if not all(map(_WEB.match, away)):
        return RemoteSources(names, proxy=proxy)
    if files is not None:
        there = set(map(gdal_name, files)) - set(names)
        return RemoteSources(names, tuple(sorted(name for name in there if _WEB.match(name))), proxy=proxy)
    own = [name for name in known or () if name != path]
    urls = [_WEB.sub("", name) for name in away if name != path]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="beside") as pool:
        answers = list(pool.map(lambda url: beside(url, BEHIND), urls))
    sidecar_names = [*own, *(name for sidecars in answers for name in sidecars.files[1:])]
    hidden = tuple(name for sidecars in answers for name in sidecars.hidden)
    return RemoteSources(names, tuple(map(gdal_name, sidecar_names)), hidden, proxy)


def allowed_names(names: Sequence[str], beside_them: Sequence[str]) -> dict[str, str] | None:
    """Return GDAL settings that restrict its requests to some files; None if no setting can express that.

    Otherwise GDAL would endlessly request overviews of overviews from a server that answers to any name.
    """
    if any("?" in name for name in (*names, *beside_them)):  # GDAL compares only the part before it.
        return None
    ends = [re.split(r"[\s,\"/]", name)[-1] for name in (*names, *beside_them)]
    if len(names) > MOST_NAMES:
        endings = {PurePosixPath(name).suffix for name in names}
        ends = [*endings, *ends[len(names) :]]
    return {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": " ".join(dict.fromkeys(ends))} if all(ends) else None


NOTHING_REMOTE = RemoteSources()
