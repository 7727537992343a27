"""Dataflow's REST interface, as far as Beam's client uses it: jobs that a function of the test works on."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Job = dict[str, Any]

JOBS = re.compile(r"/v1b3/projects/([^/]+)/locations/([^/]+)/jobs(?:/([^/]+)(/messages|/metrics)?)?")


class FakeDataflow:
    """Jobs that were sent, each worked on in a thread of its own.

    Args:
        work: Does what a job says; the job fails with what it raises.
    """

    def __init__(self, work: Callable[[Job], None]) -> None:
        self._work = work
        self.jobs: dict[str, Job] = {}
        self.created = threading.Event()
        self.errors: dict[str, str] = {}

    def create(self, job: Job, project: str, region: str) -> Job:
        number = f"2026-11-26_00_00_00-{len(self.jobs) + 1}"
        job |= {"id": number, "projectId": project, "location": region, "createTime": now()}
        self.jobs[number] = job
        self._enter(job, "JOB_STATE_RUNNING")
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        self.created.set()
        return job

    def messages(self, number: str) -> list[Job]:
        if number not in self.errors:
            return []
        importance = "JOB_MESSAGE_ERROR"
        return [
            {"id": "1", "time": now(), "messageText": self.errors[number], "messageImportance": importance}
        ]

    def _run(self, job: Job) -> None:
        try:
            self._work(job)
        except Exception as error:
            self.errors[job["id"]] = f"{type(error).__name__}: {error}"
            self._enter(job, "JOB_STATE_FAILED")
        else:
            self._enter(job, "JOB_STATE_DONE")

    def _enter(self, job: Job, state: str) -> None:
        job |= {"currentState": state, "currentStateTime": now()}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


@contextmanager
def serving(dataflow: FakeDataflow) -> Iterator[int]:
    """Answer on a free port of 127.0.0.1, which is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if urlsplit(self.path).path == "/token":
                return self._answer({"access_token": "fake", "expires_in": 3600, "token_type": "Bearer"})
            project, region, number, _ = self._asked()
            assert number is None
            return self._answer(dataflow.create(json.loads(body), project, region))

        def do_GET(self) -> None:
            _, _, number, what = self._asked()
            if what == "/messages":
                return self._answer({"jobMessages": dataflow.messages(number)})
            if what == "/metrics":
                return self._answer({"metricTime": now(), "metrics": []})
            return self._answer(dataflow.jobs[number] if number else {"jobs": list(dataflow.jobs.values())})

        def _asked(self) -> tuple[Any, ...]:
            found = JOBS.fullmatch(urlsplit(self.path).path)
            assert found, self.path
            return found.groups()

        def _answer(self, answer: Job) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
