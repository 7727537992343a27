"""What went wrong on another machine's filesystem, whatever library says it, in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

NO_CREDENTIALS = ("Unable to locate credentials", "DefaultCredentialsError", "Anonymous credentials cannot")
"""What libraries say that look for credentials and find none."""
LATER = frozenset({408, 409, 425, 429})
"""Answers of the 4xx kind after which the same request may succeed; 409 where two writes meet."""
CODES = {"NoSuchBucket": 404, "NoSuchKey": 404, "NotFound": 404, "AccessDenied": 403, "Forbidden": 403}
"""Words that stand where a status of HTTP is expected."""

CREDENTIALS = {
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a key",
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`",
}
"""How to get credentials, by scheme."""


class RemoteFileError(OSError):
    """A file on another machine that cannot be read or written, in one sentence."""


class ChangedError(RemoteFileError):
    """A file on another machine has another revision than the one that was to be replaced or removed."""


class UnconditionalError(RemoteFileError):
    """A store does not take conditions on writes."""


def scheme_of(path: str) -> str:
    """The scheme of an address, such as ``gs``; empty for paths without one."""
    return path.partition("://")[0].lower() if "://" in path else ""


def is_web(path: str) -> bool:
    """Whether an address is that of a web server."""
    return scheme_of(path) in ("http", "https")


def host_of(url: str) -> str:
    """The server of an address, and its port; empty where it names none."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2]


def file_name(path: str) -> str:
    """The name of a file, the last part of its path or address."""
    if path.lower().startswith("/vsicurl?"):
        path = next(iter(parse_qs(path.partition("?")[2]).get("url", ())), "")
    if is_web(path) or "/vsicurl/" in path.lower():
        path = re.split("[?#]", path, maxsplit=1)[0]
    return path.rstrip("/").rpartition("/")[2]


def bucket_of(path: str) -> str:
    """The address of the bucket that a path of an object store lies in."""
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def root_of(error: BaseException) -> BaseException:
    """The error of the library that spoke with the server, without Beam's wrapping."""
    details = getattr(error, "exception_details", None)
    if isinstance(details, dict):
        inner = [value for value in details.values() if isinstance(value, BaseException)]
        if inner:
            return root_of(inner[0])
    return error


def status_of(error: BaseException) -> int | None:
    """The status of HTTP that an error came with; None where there was none."""
    for said in _statuses(root_of(error)):
        if isinstance(said, int):
            return int(said)
        if isinstance(said, str):
            return int(said) if said.isdecimal() else CODES.get(said)
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
    """Whether credentials were looked for and none were found."""
    root = root_of(error)
    return any(words in f"{type(root).__name__}: {root}" for words in NO_CREDENTIALS)


def is_absent(error: BaseException) -> bool:
    """Whether an error says that there is no such file, or no such bucket."""
    return isinstance(error, FileNotFoundError) or status_of(error) == 404


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    root = root_of(error)
    if isinstance(root, (RemoteFileError, FileNotFoundError, ImportError, ValueError, TypeError, KeyError)):
        return False
    status = status_of(root)
    if status is not None:
        return status >= 500 or status in LATER
    return not lacks_credentials(root)


def sentence(path: str, what: str, error: BaseException) -> str:
    """Why a file cannot be read or written, and what to do.

    Args:
        path: The file.
        what: What cannot be done with it, such as ``read``.
        error: What the library said.
    """
    scheme, status, root = scheme_of(path), status_of(error), root_of(error)
    if lacks_credentials(error):
        return f"{path} cannot be {what}: no credentials were found; {CREDENTIALS.get(scheme, 'log in')}"
    if status == 401 or (status == 403 and "nonymous" in str(root)):  # Google's word for who comes without
        return f"{path} cannot be {what} without credentials; {CREDENTIALS.get(scheme, 'log in')}"
    if status == 403:
        return (
            f"{path} cannot be {what}: no permission (403); ask the owner of {bucket_of(path)} for it, or use other "
            "credentials"
        )
    said = " ".join(str(root).split()).rstrip(".")[:300]
    return f"{path} cannot be {what} ({said or type(root).__name__})"
