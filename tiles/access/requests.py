"""Requests of GDAL's: one that fails is an error, also where GDAL takes it for a file that is not there."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator

import rasterio

from terraseam.tiles.access.gate import refusal
from terraseam.tiles.access.gdal_library import IN_THIS_THREAD, forget_answers, thread_settings
from terraseam.tiles.access.gdal_warnings import collected_warnings

_TOLD = {"CPL_DEBUG": "VSICURL,S3,GS,AZURE", **IN_THIS_THREAD}
"""Settings by which GDAL tells of each of its requests, in the thread that reads."""
_PHRASES = ("VSICURL: ", "S3: ", "GS: ", "AZURE: ", "HTTP error code: ", "HTTP response code on ")
_SIZE = re.compile(
    r"GetFileSize\((?P<url>.*)\)(=\d+ |:) *response_code=(?P<code>\d+)(, curl error msg=(?P<why>.*))?"
)
_START = re.compile(r"Downloading \S+ \((?P<url>.*)\)")
_BROKEN = re.compile(r"DownloadRegion\((?P<url>.*)\): response_code=\d+, msg=(?P<why>.*)")
_GOT = re.compile(r"Got response_code=(?P<code>\d+)")
_AGAIN = re.compile(r"Retrying again in ")
_GOOD = frozenset({"200", "206"})
_ABSENT = frozenset({"401", "403", "404", "410"})
"""What servers answer where no file is, or none that may be read."""


class RequestError(rasterio.errors.RasterioIOError):
    """A request of GDAL's has failed."""


class _Failures:
    """How many requests have failed in this process, and whether GDAL has forgotten them since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self._forgotten = 0

    def add(self) -> None:
        """Count one."""
        with self._lock:
            self.count += 1

    def forget(self) -> int:
        """Let GDAL forget the answers where some have failed since the last time; returns the count."""
        with self._lock:
            if self._forgotten != self.count:
                self._forgotten = self.count
                forget_answers()
            return self.count


_failures = _Failures()


class _Requests(list[str]):
    """Takes what GDAL says of its requests, one after the other.

    Args:
        strict: Whether only files are asked for that are known to be there.
    """

    def __init__(self, strict: bool) -> None:
        self._good = _GOOD if strict else _GOOD | _ABSENT
        self._url = self._why = ""
        self._pending: str | None = None
        self.failed: str | None = None

    def append(self, words: str) -> None:
        """Take a line."""
        if _AGAIN.search(words):
            self._pending = None
            return
        self.settle()
        if found := _SIZE.search(words):
            self._ended(found["url"], found["code"], found["why"] or "")
        elif found := _START.search(words):
            self._url, self._why = found["url"], ""
        elif found := _BROKEN.search(words):
            self._url, self._why = found["url"], found["why"]
        elif found := _GOT.search(words):
            self._ended(self._url, found["code"], self._why)

    def settle(self) -> None:
        """Take the last failure for one that GDAL has given up on."""
        if self._pending is not None:
            self.failed = self.failed or self._pending
            self._pending = None
            _failures.add()

    def _ended(self, url: str, code: str, why: str = "") -> None:
        if why or code not in self._good:
            what = (
                refusal(url)
                or why
                or (f"its server answers {code}" if code != "0" else "its server does not answer")
            )
            self._pending = f"{url} cannot be read: {what}"


@contextlib.contextmanager
def no_failed_requests(*, strict: bool) -> Iterator[None]:
    """Open or read a raster within the block, all of whose requests succeed.

    Args:
        strict: Whether only files are asked for that are known to be there; else servers may say that one is not.

    Raises:
        RequestError: Behind the block, if one has failed, also one of another thread, whose answer GDAL remembers.
    """
    before = _failures.forget()
    requests = _Requests(strict)
    try:
        with rasterio.Env(), thread_settings(_TOLD), collected_warnings(*_PHRASES, heard=requests):
            yield
    finally:
        requests.settle()
    if _failures.count != before:
        raise RequestError(
            requests.failed or "a file of a server that is read at the same time cannot be read"
        )
