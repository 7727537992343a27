"""Whether Google's credentials can be found, without asking Google.

Beam asks for them only when it stages a job, and again and again for half a minute where there are none.
The places are those of Application Default Credentials: https://google.aip.dev/auth/4110.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from pathlib import Path

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
WELL_KNOWN = "application_default_credentials.json"
METADATA_HOST = "169.254.169.254"
"""Where a machine of Google's Compute Engine asks for the credentials of its service account."""
FLAVOR = {"Metadata-Flavor": "Google"}
"""What is asked there must say so, and so does each answer."""
WAIT_SECONDS = 0.3

HOW = f"run gcloud auth application-default login, or set {FILE_VARIABLE} to the file of a service account's key"


def credentials_reason(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why there are no credentials, and what to do; None where there are some."""
    named = environment.get(FILE_VARIABLE)
    if named:
        if Path(named).is_file():
            return None
        return f"{FILE_VARIABLE} names {named}, which is no file; {HOW}"
    settings = environment.get("CLOUDSDK_CONFIG")
    folder = (
        Path(settings) if settings else Path(environment.get("HOME", "~")).expanduser() / ".config" / "gcloud"
    )
    if (folder / WELL_KNOWN).is_file() or _is_on_google(environment):
        return None
    return f"no Google credentials are found on this machine; {HOW}"


def _is_on_google(environment: Mapping[str, str]) -> bool:
    """Whether this is a machine that gets credentials from its metadata server."""
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
