"""A server on 127.0.0.1 behind a door that disturbs its answers: ``python run_server.py gs|s3|FOLDER [ADDRESS OF DOOR]``.

It is a process of its own: GDAL may hold the lock of the interpreter while it waits for an answer. It prints the door's
address and ends with its standard input. The door's own pages: ``POST /-door-/rule`` takes a rule, ``GET /-door-/seen``
tells what was asked for since the last time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CODES = {401: "Unauthorized", 403: "AccessDenied", 500: "InternalError", 503: "SlowDown"}
CONDITIONS = ("if-match", "if-none-match")
BY_HAND = ("connection", "transfer-encoding", "content-length", "date", "server", "host", "expect")
LOCK = threading.Lock()
SEEN: list[tuple[str, str, str]] = []
RULE: dict[str, Any] = {}


def verdict(method: str, path: str, ranged: bool, conditional: bool) -> str | int | None:
    """What becomes of a request: None for what the server does, ``cut`` for half an answer, ``unconditional`` for what it
    does without its conditions, a status, a path whose file is the answer, or an address that it is redirected to."""
    with LOCK:
        if not re.search(RULE.get("pattern", ""), f"{method} {path}") or not RULE:
            return None
        if RULE.get("ranged", ranged) != ranged:
            return None
        if RULE.get("conditional", conditional) != conditional:
            return None
        RULE["met"] = RULE.get("met", 0) + 1
        turn, rest = divmod(RULE["met"], RULE.get("every", 1))
        if rest:
            return None
        if "kill" in RULE:
            os.kill(RULE["kill"], signal.SIGKILL)
        actions = RULE["actions"]
        return actions[turn % len(actions)]


class Door(BaseHTTPRequestHandler):
    """Passes requests on, if it likes; those with conditions one at a time, since moto looks and writes in two steps."""

    protocol_version = "HTTP/1.1"
    target = ""
    one_at_a_time = threading.RLock()

    def answer(self) -> None:
        """Answer a request of any method."""
        body = self.body()
        if self.path.startswith("/-door-/"):
            self.control(body)
            return
        with LOCK:
            SEEN.append((self.command, self.path, self.headers.get("Range", "")))
        action = verdict(self.command, self.path, "Range" in self.headers, self.is_conditional())
        if action == "unconditional":
            action = self.drop_conditions()
        if isinstance(action, int):
            code = CODES.get(action, "Odd")
            self.send(
                action, [("Content-Type", "application/xml")], f"<Error><Code>{code}</Code></Error>".encode()
            )
        elif isinstance(action, str) and "://" in action:
            self.send(302, [("Location", action)], b"")
        else:
            self.path = action if action and action.startswith("/") else self.path
            with self.one_at_a_time if self.is_conditional() else contextlib.nullcontext():
                answer = self.asked(body)
            self.send(*answer, cut=action == "cut")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815

    def is_conditional(self) -> bool:
        """Whether a request names what must be there, or must not."""
        named = [name for name in CONDITIONS if name in self.headers]
        return bool(named) or "ifGenerationMatch=" in self.path

    def drop_conditions(self) -> None:
        """Go on as if none were named."""
        for name in CONDITIONS:
            del self.headers[name]
        self.path = re.sub("ifGenerationMatch=[0-9]+&?", "", self.path)

    def control(self, body: bytes) -> None:
        """Take a rule, or tell what was seen."""
        with LOCK:
            if self.command == "POST":
                RULE.clear()
                RULE.update(json.loads(body))
            told = json.dumps(SEEN).encode()
            SEEN.clear()
        self.send(200, [], told)

    def body(self) -> bytes:
        """What comes with a request."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return b"".join(iter(self.chunk, b""))

    def chunk(self) -> bytes:
        """A piece of what comes in pieces."""
        data = self.rfile.read(int(self.rfile.readline().split(b";")[0], 16))
        self.rfile.readline()
        return data

    def asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server says."""
        # Servers write addresses of their own into answers: the door's are meant.
        own = self.headers["Host"]
        headers = {name: value for name, value in self.headers.items() if name.lower() not in BY_HAND}
        connection = http.client.HTTPConnection(self.target, timeout=60)
        connection.request(
            self.command, self.path, body, {**headers, "Host": own, "Content-Length": str(len(body))}
        )
        found = connection.getresponse()
        data = found.read()
        connection.close()
        return found.status, [(n, v.replace(self.target, own)) for n, v in found.getheaders()], data

    def send(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
        """Send an answer, or half of it."""
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in BY_HAND:
                self.send_header(name, value)
        head = self.command == "HEAD"
        length = next((v for n, v in headers if head and n.lower() == "content-length"), str(len(data)))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(b"" if head else data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            self.close_connection = True
            self.connection.shutdown(2)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class GoogleDoor(Door):
    """Honours ``ifGenerationMatch``, and says of which generation an object is that is read: the emulator does neither."""

    def asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server says if the condition holds."""
        media = self.command == "GET" and "alt=media" in self.path
        if not media and not self.is_conditional():
            return super().asked(body)
        with self.one_at_a_time:
            found = self.generation(body)
            wanted = re.search("[?&]ifGenerationMatch=([0-9]+)", self.path)
            if wanted and wanted[1] != found:
                return 412, [("Content-Type", "application/json")], b'{"error": {"code": 412}}'
            status, headers, data = super().asked(body)
        return status, [*headers, ("X-Goog-Generation", found)], data

    def generation(self, body: bytes) -> str:
        """The generation of the object that a request is for; 0 where there is none."""
        in_path = re.search("/o/([^?]+)", self.path)
        name = (
            urllib.parse.unquote(in_path[1]) if in_path else json.loads(re.search(rb"{.*}", body)[0])["name"]
        )
        bucket = re.search("/b/([^/]+)/", self.path)[1]
        address = f"http://{self.target}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"
        try:
            with urllib.request.urlopen(address) as answer:
                return str(json.load(answer)["generation"])
        except urllib.error.HTTPError:
            return "0"


def serve(handler: Any, host: str = "127.0.0.1") -> str:
    """Serve in a thread; returns ``host:port``."""
    server = ThreadingHTTPServer((host, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"{host}:{server.server_port}"


def google() -> str:
    """Google Cloud Storage, with a bucket."""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="scenes")
    server.start()
    return f"127.0.0.1:{server._api._httpd.server_port}"


def amazon() -> str:
    """Amazon S3, with a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="scenes")
    return f"{host}:{port}"


def web(folder: str) -> str:
    """A web server for the files of a folder that answers requests for ranges of bytes."""

    class Ranges(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=folder)

        def do_GET(self) -> None:
            path = Path(self.translate_path(self.path))
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if not asked or not path.is_file() or "whole" in path.name:
                super().do_GET()
                return
            data = path.read_bytes()
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            if first >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
            self.end_headers()
            self.wfile.write(data[first : last + 1])

        def log_message(self, *_: object) -> None: ...

    return serve(Ranges)


def main() -> None:
    """Serve until nobody listens any more."""
    kind = sys.argv[1]
    starts = {"gs": google, "s3": amazon}
    Door.target = starts[kind]() if kind in starts else web(kind)
    door = GoogleDoor if kind == "gs" else Door
    print(f"http://{serve(door, *sys.argv[2:])}", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
