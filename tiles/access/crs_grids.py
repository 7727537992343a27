"""Grids of datum shifts that a CRS names by an address: PROJ asks that server, through no proxy of ours."""

from __future__ import annotations

import re

_STRING = re.compile(r'"(?:[^"]|"")*"')
_TOKENS = re.compile(r'"(?:[^"]|"")*"|\w+(?=\s*[\[(])|[\])]')
"""What makes up WKT: strings, keywords before a bracket, and closing brackets."""
_GRID_FILES = frozenset({"PARAMETERFILE", "EXTENSION"})
"""Keywords of WKT with strings that are names of files."""
_WORDS = frozenset({"ID", "AUTHORITY", "CITATION", "URI", "REMARK", "SCOPE", "AREA", "VERSION"})
"""Keywords of WKT with strings for people; but PROJ reads a remark that begins with ``PROJ CRS string:``."""
_ADDRESS = re.compile(r"[\w+.-]+://[^\s,\"\[\]()]*")


class GridAddressError(ValueError):
    """A CRS names a grid by an address; the message follows what has it, and says what to do."""


def check_grids(crs: str) -> None:
    """Check that no grid of a CRS is named by an address.

    Args:
        crs: WKT, PROJ string or authority string, as a file has it; PROJ has not parsed it yet, since PROJ opens the
            grids of a pipeline when it does.

    Raises:
        GridAddressError: If one is.
    """
    if "://" in crs and (address := grid_address(crs)):
        raise GridAddressError(
            f"a CRS with a grid at {address}, which PROJ would request from that server; download the grid and "
            "name the local copy in the CRS, or assign another CRS"
        )


def grid_address(crs: str) -> str | None:
    """Return the first address of a grid that a CRS names; None where it names none.

    Addresses in identifiers, citations and remarks are no grids.
    """
    outside_strings = _STRING.sub("", crs)
    if not set("[(") & set(outside_strings) or "=" in outside_strings or "://" in outside_strings:
        return _parameter_address(crs)
    inside: list[str] = []
    addresses: list[str | None] = []
    for token in _TOKENS.findall(crs):
        if token in ("]", ")"):
            del inside[-1:]
        elif not token.startswith('"'):
            inside.append(token.upper())
        elif inside and inside[-1] in _GRID_FILES and (match := _ADDRESS.search(token)):
            addresses.append(match[0])
        elif (inside and inside[-1] not in _WORDS) or "proj" in token.lower():
            addresses.append(_parameter_address(token))
    return next(filter(None, addresses), None)


def _parameter_address(text: str) -> str | None:
    """Return the first address in a parameter of PROJ, such as ``+nadgrids=http://...``; None where there is none."""
    matches = (match for match in _ADDRESS.finditer(text) if "=" in text[: match.start()])
    return next((match[0] for match in matches), None)
