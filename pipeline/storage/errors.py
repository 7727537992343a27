"""Turn errors of remote filesystems, from any client library, into one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

NO_CREDENTIALS = ("Unable to locate credentials", "DefaultCredentialsError", "Anonymous credentials cannot")
"""Phrases in library errors that mean no credentials were found."""
LATER = frozenset({408, 409, 425, 429})
"""4xx statuses after which the same request may succeed; 409 means concurrent writes."""
CODES = {"NoSuchBucket": 404, "NoSuchKey": 404, "NotFound": 404, "AccessDenied": 403, "Forbidden": 403}
"""Error codes that stand in place of an HTTP status."""

CREDENTIALS = {
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a key",
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`",
}
"""How to set up credentials, by scheme."""


class RemoteFileError(OSError):
    """A failed read or write of a remote file, as one sentence."""


class ChangedError(RemoteFileError):
    """A failed conditional write: the remote file no longer has the expected revision."""


class UnconditionalError(RemoteFileError):
    """A store that does not support conditional writes."""


def scheme_of(path: str) -> str:
    """Return the scheme of a URL, such as ``gs``; empty for paths without one."""
    return path.partition("://")[0].lower() if "://" in path else ""


def is_web(path: str) -> bool:
    """Return whether a path is an HTTP or HTTPS URL."""
    return scheme_of(path) in ("http", "https")


def host_of(url: str) -> str:
    """Return the host and port of a URL; empty if it names none."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


def file_name(path: str) -> str:
    """Return the file name, the last part of a path or URL."""
    if path.lower().startswith("/vsicurl?"):
        path = next(iter(parse_qs(path.partition("?")[2]).get("url", ())), "")
    if is_web(path) or "/vsicurl/" in path.lower():
        path = re.split("[?#]", path, maxsplit=1)[0]
    return path.rstrip("/").rpartition("/")[2]


def bucket_of(path: str) -> str:
    """Return the URL of the bucket that contains an object."""
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def root_of(error: BaseException) -> BaseException:
    """Return the client library's own error, unwrapped from Beam's."""
    details = getattr(error, "exception_details", None)
    if isinstance(details, dict):
        inner = [value for value in details.values() if isinstance(value, BaseException)]
        if inner:
            return root_of(inner[0])
    return error


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error; None if it has none."""
    for status in _statuses(root_of(error)):
        if isinstance(status, int):
            return int(status)
        if isinstance(status, str):
            return int(status) if status.isdecimal() else CODES.get(status)
    return None


def _statuses(error: Any) -> Iterator[Any]:
    if getattr(error, "code", None) is not None:
        yield error.code
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        yield response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    elif response is not None:
        yield getattr(response, "status_code", None)


def lacks_credentials(error: BaseException) -> bool:
    """Return whether an error means that no credentials were found."""
    root = root_of(error)
    return any(phrase in f"{type(root).__name__}: {root}" for phrase in NO_CREDENTIALS)


def is_absent(error: BaseException) -> bool:
    """Return whether an error means that the file or bucket does not exist."""
    return isinstance(error, FileNotFoundError) or status_of(error) == 404


def may_pass(error: BaseException) -> bool:
    """Return whether the same request may succeed if retried."""
    root = root_of(error)
    if isinstance(root, (RemoteFileError, FileNotFoundError, ImportError, ValueError, TypeError, KeyError)):
        return False
    status = status_of(root)
    if status is not None:
        return status >= 500 or status in LATER
    return not lacks_credentials(root)


def sentence(path: str, what: str, error: BaseException) -> str:
    """Return why a file cannot be read or written, and what to do.

    Args:
        path: The file.
        what: The operation that failed, as a past participle such as ``read``.
        error: The library's error.
    """
    scheme, status, root = scheme_of(path), status_of(error), root_of(error)
    if lacks_credentials(error):
        return f"{path} cannot be {what}: no credentials were found; {CREDENTIALS.get(scheme, 'log in')}"
    if status == 401 or (status == 403 and "nonymous" in str(root)):  # Google's word if none were sent
        return f"{path} cannot be {what} without credentials; {CREDENTIALS.get(scheme, 'log in')}"
    if status == 403:
        return (
            f"{path} cannot be {what}: no permission (403); ask the owner of {bucket_of(path)} for it, or use other "
            "credentials"
        )
    message = " ".join(str(root).split()).rstrip(".")[:300]
    return f"{path} cannot be {what} ({message or type(root).__name__})"
