"""Local proxy for GDAL's requests to web servers, which limits where redirects may lead.

GDAL follows every redirect and has no option against it. It is therefore given a proxy on this machine, in a separate
process because GDAL may hold the interpreter's lock while it waits. The proxy connects only to those parts of the
network that the named server may redirect to.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from terraseam.tiles.access.gdal_library import forget_answers, set_below
from terraseam.tiles.access.network_kinds import FOLLOWED
from terraseam.tiles.access.places import addresses_in
from terraseam.tiles.access.web import kinds_of

TOLD_S = 0.05
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "gdal_http_proxy", "gdal_https_proxy"})
"""Lower-case environment variables that name a user's proxy; that proxy then decides what can be reached."""
_PLACE = re.compile(r"^((?:https?|ftp)://[^/?#]+)", re.IGNORECASE)
_FILES = ("/vsicurl/", "/vsicurl_streaming/", "/vsiwebhdfs/")


class _Gate:
    """The proxy process and the servers it knows; it is started when the first server is named."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._process: subprocess.Popen[str] | None = None
        self._address = ""
        self._names: list[str] = []
        self._asked: dict[str, Collection[str]] = {}
        self._refused: dict[str, tuple[str, str]] = {}

    def admit(self, places: Iterable[str]) -> None:
        """Let GDAL contact servers and follow their permitted redirects."""
        with self._lock:
            self._start_once()
            for place in places:
                self._refused.pop(place, None)
                if place not in self._names:
                    proxy = self._proxy(place, _followed([place]))
                    for prefix in _FILES:
                        set_below(f"{prefix}{place}/", "GDAL_HTTP_PROXY", proxy)

    def proxy(self, name: str, places: Collection[str]) -> str:
        """Return the proxy that follows the permitted redirects of the servers that a file names."""
        with self._lock:
            self._start_once()
            for known in (name, *places):
                self._refused.pop(known, None)
            self._asked[name] = places
            return self._proxy(name, _followed(places))

    def refused(self, name: str) -> tuple[str, str] | None:
        """Return the host that a server redirected GDAL to and that was refused, and its part of the network."""
        known = (name, *self._asked.get(name, ()))
        if name in self._names and self._refused.keys().isdisjoint(known):
            time.sleep(TOLD_S)  # The process reports this before GDAL returns, but to another thread.
        return next((self._refused[server] for server in known if server in self._refused), None)

    def _start_once(self) -> None:
        if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
            self._start()

    def _start(self) -> None:
        for name in [name for name in os.environ if name.lower() == "no_proxy"]:
            # libcurl would bypass this proxy, which is the only one; Python's copy of the environment is unchanged.
            os.unsetenv(name)
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
        self._owner, self._names = os.getpid(), []
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        for prefix in (*_FILES, "/vsicurl?"):
            set_below(prefix, "GDAL_HTTP_PROXY", self._address_of(0, {"public"}))

    def _proxy(self, name: str, allowed: Iterable[str]) -> str:
        if name not in self._names:
            self._names.append(name)
        return self._address_of(self._names.index(name) + 1, allowed)

    def _address_of(self, number: int, allowed: Iterable[str]) -> str:
        return f"socks5h://{'.'.join([str(number), *sorted(allowed)])}:{self._address}"

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            number, host, kind = line.split()
            if 0 < int(number) <= len(self._names):
                self._refused[self._names[int(number) - 1]] = (host, kind)


def _followed(places: Iterable[str]) -> set[str]:
    """Return the parts of the network that servers may redirect to."""
    return set[str]().union(*(FOLLOWED[kind] for place in places for kind in kinds_of(place)))


def _places(names: Iterable[str]) -> list[str]:
    """Return the web servers in addresses or GDAL file names, without duplicates."""
    addresses = (address for name in names for address in addresses_in(name))
    return list(dict.fromkeys(match[1] for match in map(_PLACE.match, addresses) if match))


_gate = _Gate()


def admit(names: Iterable[str]) -> None:
    """Let GDAL contact the web servers of files and follow their permitted redirects.

    Args:
        names: Addresses or GDAL file names; all others are ignored.
    """
    if (places := _places(names)) and not _users_proxy():
        _gate.admit(places)


def proxy_of(name: str, addresses: Iterable[str], trusted: Iterable[str] = ()) -> str | None:
    """Return the proxy for requests that GDAL makes on its own while reading a file; see `gdal_library.proxied`.

    Args:
        name: The file.
        addresses: Addresses of the servers that GDAL contacts.
        trusted: Addresses of other servers named by the user, to which they may redirect.

    Returns:
        None if no web server is among them, or if the user has configured a proxy.
    """
    places = _places(addresses)
    return _gate.proxy(name, [*places, *trusted]) if places and not _users_proxy() else None


def _users_proxy() -> bool:
    return any(name.lower() in PROXIES for name in os.environ)


def refusal(name: str) -> str | None:
    """Return a message on a redirect of a file's servers that was refused since it was opened; None if none was."""
    place = next(iter(_places([name])), None)
    if place and (target := _gate.refused(place)):
        server, advice = "its server", "name that address instead if intended"
    elif target := _gate.refused(name):
        server = "its server, or one that it names," if place else "a server that it names"
        advice = f"pass --allow-sources {target[0]} if you trust it"
    else:
        return None
    forget_answers()
    return f"{server} redirects to {target[0]}, a {target[1]} address, which is not followed; {advice}"
