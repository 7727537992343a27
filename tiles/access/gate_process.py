"""Run a SOCKS5 proxy on this machine that connects only to some parts of the network.

The process reads a password from standard input, prints its port, then one line per refused connection, and exits
when standard input is closed. Clients pass, as their user name, a number and the parts of the network that they may
reach: ``7.public.private``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from terraseam.tiles.access.network_kinds import kind_of_address

CONNECT_S = 30.0
PIECE = 1 << 17
REFUSED, UNREACHABLE = 2, 4
"""SOCKS5 reply codes."""


def received(door: socket.socket, size: int) -> bytes:
    """Receive exactly `size` bytes."""
    data = b""
    while len(data) < size:
        piece = door.recv(size - len(data))
        if not piece:
            raise ConnectionError("the connection ended")
        data += piece
    return data


def greeted(door: socket.socket, password: str) -> str:
    """Authenticate a client by the password, and return its user name."""
    received(door, received(door, 2)[1])
    door.sendall(b"\x05\x02")
    name = received(door, received(door, 2)[1]).decode()
    sent_password = received(door, received(door, 1)[0]).decode()
    if sent_password != password:
        door.sendall(b"\x01\x01")
        raise ConnectionError("the password is wrong")
    door.sendall(b"\x01\x00")
    return name


def read_destination(door: socket.socket) -> tuple[str, int]:
    """Read the host and port that the client asks for."""
    kind = received(door, 4)[3]
    if kind == 3:
        host = received(door, received(door, 1)[0]).decode()
    else:
        family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
        host = socket.inet_ntop(family, received(door, size))
    return host, struct.unpack("!H", received(door, 2))[0]


def connected(host: str, port: int, name: str) -> socket.socket | int:
    """Connect to a host if that is allowed, else return the SOCKS5 reply code."""
    number, *allowed = name.split(".")
    try:
        addresses = [entry[4] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return UNREACHABLE
    strange = sorted({kind_of_address(str(place[0])) for place in addresses} - set(allowed))
    if strange:
        print(number, host, strange[0], flush=True)
        return REFUSED
    for place in addresses:
        with contextlib.suppress(OSError):
            return socket.create_connection((str(place[0]), port), CONNECT_S)
    return UNREACHABLE


def carry(source: socket.socket, target: socket.socket) -> None:
    """Copy bytes from one socket to the other until the connection ends."""
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def serve(door: socket.socket, password: str) -> None:
    """Serve one client: authenticate it, connect it, and relay both directions."""
    with door, contextlib.suppress(OSError, ConnectionError, UnicodeError, struct.error):
        door.settimeout(CONNECT_S)
        name = greeted(door, password)
        connection = connected(*read_destination(door), name)
        reply = connection if isinstance(connection, int) else 0
        door.sendall(struct.pack("!BBBB4sH", 5, reply, 0, 1, bytes(4), 0))
        if isinstance(connection, int):
            return
        with connection:
            for end in (door, connection):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=carry, args=(connection, door), daemon=True)
            back.start()
            carry(door, connection)
            back.join()


def accept(server: socket.socket, password: str) -> None:
    """Serve every client that connects, each in its own thread."""
    while True:
        door = server.accept()[0]
        threading.Thread(target=serve, args=(door, password), daemon=True).start()


def main() -> None:
    """Serve until the parent process exits."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    password = sys.stdin.readline().strip()
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    threading.Thread(target=accept, args=(server, password), daemon=True).start()
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
