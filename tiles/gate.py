"""The gate that GDAL's requests to web servers go through: it follows redirections wherever a server says, and asks nobody.

GDAL has no option for that. So it is given a proxy of this machine, a process of its own as GDAL may hold the interpreter's
lock while it waits, which connects to those parts of the network alone that the named server may send to.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tiles.gdal_library import forget_answers, set_below
from tiles.network_kinds import FOLLOWED
from tiles.web import kinds_of

TOLD_S = 0.05
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "gdal_http_proxy", "gdal_https_proxy"})
"""Variables, in small letters, by which a user names a proxy: then that decides what is reached."""
_PLACE = re.compile(r"^(?:/vsicurl/)?(https?://[^/?#]+/)", re.IGNORECASE)
_PREFIXES = ("/vsicurl/", "/vsicurl?", "/vsicurl_streaming/")


class _Gate:
    """The process, and the places that are known to it; it is started where a server is named first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._process: subprocess.Popen[str] | None = None
        self._address = ""
        self._places: list[str] = []
        self._refused: dict[str, tuple[str, str]] = {}

    def admit(self, places: Iterable[str]) -> None:
        """Let GDAL ask servers, and follow them to where they may send it."""
        with self._lock:
            if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
                self._start()
            for place in places:
                self._refused.pop(place, None)
                if place not in self._places:
                    self._places.append(place)
                    allowed = set[str]().union(*(FOLLOWED[kind] for kind in kinds_of(place)))
                    self._set(f"/vsicurl/{place}", len(self._places), allowed)

    def refused(self, place: str) -> tuple[str, str] | None:
        """The host that a server has sent GDAL to and that was not reached, and its part of the network."""
        if place in self._places and place not in self._refused:
            time.sleep(TOLD_S)  # The process says so before GDAL knows, but to another thread.
        return self._refused.get(place)

    def _start(self) -> None:
        for name in [name for name in os.environ if name.lower() == "no_proxy"]:
            del os.environ[name]  # There is no proxy but this one, which nothing may go around.
        password = secrets.token_hex(16)
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("gate_process.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{password}\n")
        self._process.stdin.flush()
        self._address = f"{password}@127.0.0.1:{int(self._process.stdout.readline())}"
        self._owner, self._places = os.getpid(), []
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        for prefix in _PREFIXES:
            self._set(prefix, 0, {"public"})

    def _set(self, prefix: str, number: int, allowed: Iterable[str]) -> None:
        name = ".".join([str(number), *sorted(allowed)])
        set_below(prefix, "GDAL_HTTP_PROXY", f"socks5h://{name}:{self._address}")

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            number, host, kind = line.split()
            if 0 < int(number) <= len(self._places):
                self._refused[self._places[int(number) - 1]] = (host, kind)


_gate = _Gate()


def admit(names: Iterable[str]) -> None:
    """Let GDAL ask the web servers of some files, and follow them to where they may send it.

    Args:
        names: Addresses, or what GDAL calls them; others are left alone.
    """
    found = dict.fromkeys(match[1] for match in map(_PLACE.match, names) if match)
    if found and not any(name.lower() in PROXIES for name in os.environ):
        _gate.admit(found)


def refusal(name: str) -> str | None:
    """Say where the server of a file has sent GDAL to since it was admitted, where that was not followed; else None."""
    match = _PLACE.match(name)
    found = _gate.refused(match[1]) if match else None
    if found is None:
        return None
    forget_answers()
    return f"its server redirects to {found[0]}, a {found[1]} address, which is not followed; name it itself if it is meant"
