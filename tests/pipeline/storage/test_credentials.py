"""Google's credentials are looked for where Google's libraries look, and nobody waits where there are none."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from terraseam.pipeline.storage import credentials
from terraseam.pipeline.storage.credentials import credentials_reason


@contextmanager
def metadata_server(flavour):
    """A server that answers as machines of Google's do, or as others."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200 if self.headers["Metadata-Flavor"] == "Google" else 403)
            self.send_header("Metadata-Flavor", flavour)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_the_file_that_is_named_must_be_there(tmp_path):
    key = tmp_path / "key.json"
    reason = credentials_reason({"GOOGLE_APPLICATION_CREDENTIALS": str(key)})
    assert reason.startswith(
        f"GOOGLE_APPLICATION_CREDENTIALS names {key}, which is not a file; run gcloud auth"
    )
    key.write_text("{}")
    assert credentials_reason({"GOOGLE_APPLICATION_CREDENTIALS": str(key)}) is None


@pytest.mark.parametrize("variable", ["HOME", "CLOUDSDK_CONFIG"])
def test_those_of_gcloud_are_found(tmp_path, variable):
    surroundings = {variable: str(tmp_path), "NO_GCE_CHECK": "true"}
    assert credentials_reason(surroundings).startswith(
        "no Google credentials were found on this machine; run"
    )
    folder = tmp_path / ".config" / "gcloud" if variable == "HOME" else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "application_default_credentials.json").write_text("{}")
    assert credentials_reason(surroundings) is None


@pytest.mark.parametrize(("flavour", "found"), [("Google", True), ("Other", False)])
def test_machines_of_googles_have_credentials_of_their_own(tmp_path, monkeypatch, flavour, found):
    with metadata_server(flavour) as host:
        monkeypatch.setattr(credentials, "METADATA_HOST", host)
        assert (credentials_reason({"HOME": str(tmp_path)}) is None) == found
    assert credentials_reason({"HOME": str(tmp_path)}) is not None
