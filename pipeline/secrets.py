"""Remove credentials and signatures from addresses and texts before they are stored or shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_SIGNED = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""Query parameters, in lower case, one of which every signed address has."""
_WITH_SIGNATURE = re.compile(
    r"x-(amz|goog)-.*|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id|expires|policy"
)
"""Parameters that accompany a signature."""
_WITH_SIG = frozenset("sv ss srt sr sp se st spr sip sdd skoid sktid skt ske sks skv".split())  # noqa: SIM905 - a list to read
"""Parameters that accompany Azure's ``sig``; elsewhere they may mean anything."""

_NAME = (
    r"x-(?:amz|goog)-[\w-]+|sig|signature|awsaccesskeyid|googleaccessid|key-pair-id|policy|sas|jwt|md5|pwd|auth(?:key)?|"
    r"(?:\w*[_-])?(?:token|secret|passw(?:or)?d|credentials?|(?:api|access)_?key)|accesstoken"
)
_PAIR = re.compile(
    rf"""([?&;#]|%3F|%26)(?:{_NAME})(?:=|%3D)(?:(?!%26)[^\s&;#"'<>\\()\[\],])*""", re.IGNORECASE
)
"""A parameter with a credential anywhere in a text: libraries may quote only the end of an address."""
_INSIDE = (
    r"""(?:[^\s"'<>\\,()\[\]{};.:]|\\u[0-9a-f]{4}|[',()\[\]{};.:](?![',()\[\]{};.:]*(?:[\s"<>\\]|$)))*"""
)
"""The rest of an address in a text, without punctuation, brackets or quotes that follow it."""
_WEB_QUERY = re.compile(rf"(\bhttps?://[^\s\"<>\\?#]*)(?:\?{_INSIDE}|#[\w.-]*={_INSIDE})", re.IGNORECASE)
"""The query or fragment of a web address, which may be a credential whatever its name."""
_QUERY_ALONE = re.compile(rf"(?<=[\w)\]])(?<!/vsicurl)\?[\w.~%$+-]+={_INSIDE}", re.IGNORECASE)
"""The same after a file name, which libraries quote without the server."""
_SETTINGS = re.compile(rf"/vsicurl\?{_INSIDE}", re.IGNORECASE)
_ENCODED_ADDRESS = re.compile(r"[?&]url=((?:(?!%3F|%23)[^&\s])*)", re.IGNORECASE)
_PASSWORD = re.compile(r"""(?<=://)[^\s/"<>\\?#]+@""")
_GONE = "\0"


def unsigned(address: str) -> str:
    """Return an address without its signature, which changes every time; any other path is returned unchanged.

    The rest of the address is what was signed, so it still identifies the file.
    """
    marks = [pair.partition("=")[0].lower() for pair in _query(address).split("&")]
    if _SIGNED.isdisjoint(marks):
        return address
    parts = urlsplit(address)
    pairs = [
        pair
        for pair, name in zip(parts.query.split("&"), marks, strict=True)
        if not _WITH_SIGNATURE.fullmatch(name) and not (name in _WITH_SIG and "sig" in marks)
    ]
    return urlunsplit(parts._replace(query="&".join(pairs)))


def _query(address: str) -> str:
    if not address.lower().removeprefix("/vsicurl/").startswith(("http://", "https://")):
        return ""
    try:
        return urlsplit(address).query
    except ValueError:  # invalid host
        return ""


def without_secrets(text: str) -> str:
    """Return a text with credentials removed from its addresses: the query, user names and passwords.

    Outside web addresses, only parameters named like signatures, keys, tokens and passwords are removed.
    """
    text = _PASSWORD.sub("", text)
    text = _SETTINGS.sub(_named_file, text)
    text = _QUERY_ALONE.sub("", _WEB_QUERY.sub(r"\1", text))
    if _PAIR.search(text) is None:
        return text
    text = _PAIR.sub(lambda match: _GONE if match[1] == "?" else "", text.replace(_GONE, ""))
    return text.replace(f"{_GONE}&", "?").replace(_GONE, "")


def _named_file(settings: re.Match[str]) -> str:
    """Return a GDAL ``/vsicurl`` name without its settings, with only the address."""
    match = _ENCODED_ADDRESS.search(settings[0])
    return f"/vsicurl?url={match[1]}" if match else "/vsicurl"
