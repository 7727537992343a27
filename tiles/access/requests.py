"""Turn failed requests made by GDAL into errors, even where GDAL takes them for missing files."""

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
"""Settings that make GDAL log each of its requests in the reading thread."""
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
"""Status codes of servers for files that do not exist or may not be read."""


class RequestError(rasterio.errors.RasterioIOError):
    """Raised when a request made by GDAL fails."""


class _Failures:
    """Count of the requests that failed in this process, and whether GDAL's cache was cleared since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        self._forgotten = 0

    def add(self) -> None:
        """Count one failure."""
        with self._lock:
            self.count += 1

    def forget(self) -> int:
        """Clear GDAL's cache if requests have failed since the last call, and return the count."""
        with self._lock:
            if self._forgotten != self.count:
                self._forgotten = self.count
                forget_answers()
            return self.count


_failures = _Failures()


class _Requests(list[str]):
    """Parser of GDAL's log messages on its requests, in order.

    Args:
        strict: Whether only files known to exist are requested.
    """

    def __init__(self, strict: bool) -> None:
        self._good = _GOOD if strict else _GOOD | _ABSENT
        self._url = self._why = ""
        self._pending: str | None = None
        self.failed: str | None = None

    def append(self, message: str) -> None:
        """Parse one message."""
        if _AGAIN.search(message):
            self._pending = None
            return
        self.give_up_pending()
        if match := _SIZE.search(message):
            self._ended(match["url"], match["code"], match["why"] or "")
        elif match := _START.search(message):
            self._url, self._why = match["url"], ""
        elif match := _BROKEN.search(message):
            self._url, self._why = match["url"], match["why"]
        elif match := _GOT.search(message):
            self._ended(self._url, match["code"], self._why)

    def give_up_pending(self) -> None:
        """Count the pending failure as one that GDAL has given up on."""
        if self._pending is not None:
            self.failed = self.failed or self._pending
            self._pending = None
            _failures.add()

    def _ended(self, url: str, code: str, why: str = "") -> None:
        if why or code not in self._good:
            reason = (
                refusal(url)
                or why
                or (f"its server returned {code}" if code != "0" else "its server does not respond")
            )
            self._pending = f"{url} cannot be read: {reason}"


@contextlib.contextmanager
def no_failed_requests(*, strict: bool) -> Iterator[None]:
    """Raise an error if a request fails while a raster is opened or read within the block.

    Args:
        strict: Whether only files known to exist are requested; otherwise a server may answer that one does not
            exist.

    Raises:
        RequestError: After the block, if one failed, even in another thread, because GDAL caches the answer.
    """
    before = _failures.forget()
    requests = _Requests(strict)
    try:
        with rasterio.Env(), thread_settings(_TOLD), collected_warnings(*_PHRASES, heard=requests):
            yield
    finally:
        requests.give_up_pending()
    if _failures.count != before:
        raise RequestError(
            requests.failed or "a file of a server that is read at the same time cannot be read"
        )
