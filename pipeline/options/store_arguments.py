"""The arguments of ``terraseam store``."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from terraseam.pipeline.options.parser import Parser
from terraseam.pipeline.options.values import text

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SPANS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def parse_store(argv: Sequence[str]) -> argparse.Namespace:
    """Parse what stands behind ``terraseam store``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    parser = Parser(prog="terraseam store", description="The prediction store of a job.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    listing = _verb(verbs, "list", "how many entries there are, how large and how old")
    verify = _verb(verbs, "verify", "check every entry against its checksum")
    verify.add_argument(
        "--remove", action="store_true", help="remove damaged entries; they are computed again"
    )
    prune = _verb(
        verbs, "prune", "remove old entries, and what killed runs have left; the next run computes them again"
    )
    prune.add_argument("--older-than", type=span, metavar="AGE",
        help="remove entries that were written or used longer ago, such as 12h, 30d, 8w")  # fmt: skip
    prune.add_argument("--down-to", type=size, metavar="SIZE",
        help="remove the oldest entries until no more is left, such as 500MB, 20GB")  # fmt: skip
    for verb in (listing, verify, prune):
        verb.add_argument("--json", action="store_true", help="print as JSON")
    return parser.parse_args(argv)


def _verb(verbs: Any, name: str, words: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=words, description=words, allow_abbrev=False)
    verb.add_argument("folder", type=text, metavar="DIR", help="the --work folder of a job, or its --output")
    return verb


def span(said: str) -> float:
    """A span of time, in seconds."""
    return _with_unit(said, SPANS, "a span such as 12h, 30d or 8w")


def size(said: str) -> float:
    """An amount of data, in bytes."""
    return _with_unit(said, UNITS, "a size such as 500MB or 20GB")


def _with_unit(said: str, units: dict[str, int], words: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(units)})", said.strip())
    if not found:
        raise ArgumentTypeError(f"{said!r} is not {words}")
    return float(found[1]) * units[found[2]]
