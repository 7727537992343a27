"""Addresses that give access to whoever has them: what lets in is used, and never written down."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from pipeline.remote_errors import is_web

_ADDRESS = re.compile(r"""https?://[^\s"'<>\\]*[^\s"'<>\\.,:;)]""")
_LETS_IN = re.compile(
    r"x-(amz|goog)-|(^|.*[_-])(sig|signature|token|secret|password|credential|policy|expires|(api|access)?_?key)$"
)
"""Names of the parameters of Amazon, Google and of servers of one's own, in small letters."""
_AWS_OLD = frozenset({"awsaccesskeyid", "googleaccessid", "key-pair-id"})
_AZURE = frozenset("sv ss srt sr sp se st spr sip sdd skoid sktid skt ske sks skv".split())  # noqa: SIM905 - a list to read
"""Those that Azure's ``sig`` signs; elsewhere they may mean anything."""


def unsigned(address: str) -> str:
    """An address of a web server without signatures, keys and passwords; every other path as it is.

    What stays tells files apart, and is the same when an address is signed anew.
    """
    if not is_web(address.removeprefix("/vsicurl/")):
        return address
    parts = urlsplit(address)
    names = {pair.partition("=")[0].lower() for pair in parts.query.split("&")}
    left_out = _AWS_OLD | (_AZURE if "sig" in names else frozenset())
    kept = [
        pair
        for pair in parts.query.split("&")
        if (name := pair.partition("=")[0].lower()) not in left_out and not _LETS_IN.match(name)
    ]
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="&".join(kept)))


def without_signatures(text: str) -> str:
    """A text in which addresses are without what lets in."""
    return _ADDRESS.sub(lambda found: unsigned(found[0]), text)
