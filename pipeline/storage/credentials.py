"""Find out whether Google credentials are available, without contacting Google.

Beam looks for them only when it stages a job, and retries for half a minute if there are none.
The search order is that of Application Default Credentials: https://google.aip.dev/auth/4110.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from pathlib import Path

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
WELL_KNOWN = "application_default_credentials.json"
METADATA_HOST = "169.254.169.254"
"""Address of the metadata server that gives a Compute Engine VM the credentials of its service account."""
FLAVOR = {"Metadata-Flavor": "Google"}
"""Header required in every request to the metadata server, and present in every response."""
WAIT_SECONDS = 0.3

HOW = f"run gcloud auth application-default login, or set {FILE_VARIABLE} to the file of a service account's key"


def credentials_reason(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return why no credentials are available and what to do; None if there are some."""
    named = environment.get(FILE_VARIABLE)
    if named:
        if Path(named).is_file():
            return None
        return f"{FILE_VARIABLE} names {named}, which is not a file; {HOW}"
    settings = environment.get("CLOUDSDK_CONFIG")
    folder = (
        Path(settings) if settings else Path(environment.get("HOME", "~")).expanduser() / ".config" / "gcloud"
    )
    if (folder / WELL_KNOWN).is_file() or _is_on_google(environment):
        return None
    return f"no Google credentials were found on this machine; {HOW}"


def _is_on_google(environment: Mapping[str, str]) -> bool:
    """Return whether this machine gets credentials from a metadata server."""
    if environment.get("NO_GCE_CHECK", "").lower() == "true":
        return False
    if environment.get("GCE_METADATA_HOST") or environment.get("GCE_METADATA_IP"):
        return True
    server = http.client.HTTPConnection(METADATA_HOST, timeout=WAIT_SECONDS)
    try:
        server.request("GET", "/", headers=FLAVOR)
        return FLAVOR.items() <= dict(server.getresponse().getheaders()).items()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        server.close()
