"""Kinds of network addresses, and which of them a server may redirect to."""

from __future__ import annotations

import ipaddress

FOLLOWED = {
    "public": {"public"},
    "private": {"public", "private"},
    "loopback": {"public", "private", "loopback"},
    "link-local": {"public", "link-local"},
}
"""Kinds of addresses that a server may redirect to, by its own kind."""


def kind_of_address(text: str) -> str:
    """Return the kind of an IP address: ``public``, ``private``, ``loopback`` or ``link-local``."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    return "public" if address.is_global or address.is_multicast else "private"
