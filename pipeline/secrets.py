"""Addresses that give access to whoever has them: what lets in is used, and never written down."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_SIGNED = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
"""Parameters of which one stands in every signed address, in small letters."""
_WITH_SIGNATURE = re.compile(
    r"x-(amz|goog)-.*|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id|expires|policy"
)
"""Those that go with it."""
_WITH_SIG = frozenset("sv ss srt sr sp se st spr sip sdd skoid sktid skt ske sks skv".split())  # noqa: SIM905 - a list to read
"""Those that go with Azure's ``sig``; elsewhere they may mean anything."""

_NAME = (
    r"x-(?:amz|goog)-[\w-]+|sig|signature|awsaccesskeyid|googleaccessid|key-pair-id|policy|sas|jwt|md5|pwd|auth(?:key)?|"
    r"(?:\w*[_-])?(?:token|secret|passw(?:or)?d|credentials?|(?:api|access)_?key)|accesstoken"
)
_PAIR = re.compile(
    rf"""([?&;#]|%3F|%26)(?:{_NAME})(?:=|%3D)(?:(?!%26)[^\s&;#"'<>\\()\[\],])*""", re.IGNORECASE
)
"""A parameter that lets in, wherever it stands in a text: libraries name the last part of an address alone."""
_INSIDE = (
    r"""(?:[^\s"'<>\\,()\[\]{};.:]|\\u[0-9a-f]{4}|[',()\[\]{};.:](?![',()\[\]{};.:]*(?:[\s"<>\\]|$)))*"""
)
"""The rest of an address in a text, without the marks that end a sentence, a bracket or a quotation behind it."""
_WEB_QUERY = re.compile(rf"(\bhttps?://[^\s\"<>\\?#]*)(?:\?{_INSIDE}|#[\w.-]*={_INSIDE})", re.IGNORECASE)
"""What follows the path of a web address, which may let in whatever it is called."""
_QUERY_ALONE = re.compile(rf"(?<=[\w)\]])(?<!/vsicurl)\?[\w.~%$+-]+={_INSIDE}", re.IGNORECASE)
"""The same behind the name of a file, which libraries say without its server."""
_SETTINGS = re.compile(rf"/vsicurl\?{_INSIDE}", re.IGNORECASE)
_ENCODED_ADDRESS = re.compile(r"[?&]url=((?:(?!%3F|%23)[^&\s])*)", re.IGNORECASE)
_PASSWORD = re.compile(r"""(?<=://)[^\s/"<>\\?#]+@""")
_GONE = "\0"


def unsigned(address: str) -> str:
    """An address without what a signature adds to it, which is another one every time; every other path as it is.

    What is signed is the rest of the address, so what is left says which file it is.
    """
    marks = [pair.partition("=")[0].lower() for pair in _query(address).split("&")]
    if _SIGNED.isdisjoint(marks):
        return address
    parts = urlsplit(address)
    kept = [
        pair
        for pair, name in zip(parts.query.split("&"), marks, strict=True)
        if not _WITH_SIGNATURE.fullmatch(name) and not (name in _WITH_SIG and "sig" in marks)
    ]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _query(address: str) -> str:
    if not address.lower().removeprefix("/vsicurl/").startswith(("http://", "https://")):
        return ""
    try:
        return urlsplit(address).query
    except ValueError:  # of a host that is none
        return ""


def without_secrets(text: str) -> str:
    """A text in which addresses are without what may let in: all that follows ``?``, user names and passwords.

    Parameters of what is no web address go by their names: those of signatures, keys, tokens and passwords.
    """
    text = _PASSWORD.sub("", text)
    text = _SETTINGS.sub(_named_file, text)
    text = _QUERY_ALONE.sub("", _WEB_QUERY.sub(r"\1", text))
    if _PAIR.search(text) is None:
        return text
    text = _PAIR.sub(lambda found: _GONE if found[1] == "?" else "", text.replace(_GONE, ""))
    return text.replace(f"{_GONE}&", "?").replace(_GONE, "")


def _named_file(settings: re.Match[str]) -> str:
    """A name of GDAL's with settings, of which the address alone is left."""
    found = _ENCODED_ADDRESS.search(settings[0])
    return f"/vsicurl?url={found[1]}" if found else "/vsicurl"
