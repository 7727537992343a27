"""Real servers on 127.0.0.1: buckets of Google's and Amazon's kind, and a web server; see `run_server`."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Request = tuple[str, str, str]
"""Method, path and range."""


@dataclass(frozen=True)
class Door:
    """What stands before a server, and lets through what it likes.

    Attributes:
        url: Its address.
    """

    url: str

    def rule(self, **rule: object) -> None:
        """Disturb requests from now on; none where nothing is said.

        Every `every`-th whose method and path match `pattern` gets the next of `actions`: a status, ``cut``, the path of
        a file that is the answer, an address to go to, ``unconditional`` to pass without conditions, or None to pass; the
        process `kill` is killed then. `ranged` says whether only requests for ranges of bytes are meant, or only those for
        whole files; `conditional` whether only those that name what must be there, or only the others.
        """
        request = urllib.request.Request(f"{self.url}/-door-/rule", json.dumps(rule).encode(), method="POST")
        urllib.request.urlopen(request).close()

    def seen(self) -> list[Request]:
        """Requests since the last time that this, or `rule`, was called."""
        with urllib.request.urlopen(f"{self.url}/-door-/seen") as answer:
            return [tuple(one) for one in json.load(answer)]


def count(seen: list[Request], pattern: str) -> int:
    """Requests whose method and path match."""
    return sum(re.search(pattern, f"{method} {path}") is not None for method, path, _ in seen)


@dataclass(frozen=True)
class Bucket:
    """A bucket on a server of this machine.

    Attributes:
        root: Its address, such as ``gs://scenes``.
        door: What stands before the server.
    """

    root: str
    door: Door

    def put_folder(self, folder: Path, name: str) -> str:
        """Write the files of a folder; returns the address of the copy."""
        from terraseam.pipeline.storage import files

        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target = f"{self.root}/{name}/{path.relative_to(folder).as_posix()}"
                files.write_bytes(target, path.read_bytes())
        return f"{self.root}/{name}"

    def objects(self, name: str) -> dict[str, bytes]:
        """The objects below a name, by what follows it."""
        from terraseam.pipeline.storage import files

        start = f"{self.root}/{name}"
        return {
            found.path.removeprefix(f"{start}/"): files.read_bytes(found.path)
            for found in files.listing(start)
        }


@contextlib.contextmanager
def server(kind: str, address: str = "127.0.0.1") -> Iterator[Door]:
    """A server of a kind, or one for the files of a folder."""
    program = str(Path(__file__).with_name("run_server.py"))
    with subprocess.Popen(
        [sys.executable, program, kind, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Door(process.stdout.readline().strip())
        process.kill()


@contextlib.contextmanager
def bucket(kind: str, monkeypatch: Any) -> Iterator[Bucket]:
    """A bucket of Google Cloud Storage (``gs``) or Amazon S3 (``s3``), with what the environment must say of it."""
    with server(kind) as door:
        forget_servers(monkeypatch)
        if kind == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", door.url)
        else:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", door.url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield Bucket(f"{kind}://scenes", door)


def forget_servers(monkeypatch: Any) -> None:
    """Let nothing be known of other servers, nor be kept of those of a test."""
    from apache_beam.io.filesystems import FileSystems

    amazon = ("AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING", "AWS_REGION")
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN")
    google = (
        "STORAGE_EMULATOR_HOST",
        "CPL_GS_ENDPOINT",
        "GS_NO_SIGN_REQUEST",
        "GOOGLE_APPLICATION_CREDENTIALS",
    )
    for name in (*amazon, *keys, *google):
        # Set, then deleted: what a run sets itself is taken back, too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
