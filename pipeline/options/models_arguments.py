"""The arguments of ``terraseam models``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from terraseam.models.bundle.checks import NETWORK
from terraseam.pipeline.options.parser import LOOK, Parser
from terraseam.pipeline.options.values import LIST_MARK, Value, fraction, names, setting, text, whole

SIGNED = ("--scale", "--offset", "--fill")
"""Options whose values may begin with a minus."""
_numbers = Value(lambda said: tuple(fraction(part) for part in said.split(LIST_MARK)), mark=LIST_MARK)
"""Numbers, one a band or one for all."""
ANSWERS = tuple(answer for answer in NETWORK["answer"] if answer != "instances")

IMPORT_EPILOG = """\
What the file does not say must be said: bands, classes, GSD and scaling (network input = raw value * scale + offset).
What it does say is read from it: layout, answer, stride, reach. Nothing that the file brings is run as code.
"""


def parse_models(argv: Sequence[str]) -> argparse.Namespace:
    """Parse what stands behind ``terraseam models``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    parser = Parser(prog="terraseam models", description="Networks and bundles.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    _add_list(verbs)
    _add_show(verbs)
    _add_new(verbs)
    _add_import(verbs)
    return parser.parse_args(_joined(argv))


def _add_list(verbs: Any) -> None:
    listing = verbs.add_parser(
        "list", help="the networks that can be built, and the bundles that ship", allow_abbrev=False
    )
    listing.add_argument("--json", action="store_true", help="print as JSON")


def _add_show(verbs: Any) -> None:
    show = verbs.add_parser("show", help="what a bundle or an architecture is, in words", allow_abbrev=False)
    show.add_argument("name", type=text, metavar="BUNDLE|ARCHITECTURE",
        help="folder of a bundle, name of a shipped one, or name of an architecture")  # fmt: skip
    show.add_argument("--json", action="store_true", help="print as JSON")


def _add_new(verbs: Any) -> None:
    new = verbs.add_parser(
        "new", help="write an untrained bundle, as a start for training", allow_abbrev=False,
        description="Write a bundle with an untrained network and a card that fits it.",
    )  # fmt: skip
    new.add_argument(
        "--architecture", type=text, metavar="NAME", help="a name that `terraseam models list` lists"
    )
    new.add_argument("--encoder", type=text, metavar="NAME", help="its encoder, or none")
    _add_card(new, scaling="scale and offset of raw values (default: what the encoder was trained on)")
    new.add_argument("--weights", type=text, metavar="FILE|imagenet",
        help="weights of the encoder: a Keras file, or imagenet to fetch them (default: random)")  # fmt: skip
    new.add_argument(
        "--cut", type=whole(1), metavar="PX", help="stride at which the encoder of a U-Net is cut"
    )
    new.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="another argument of the network's builder, such as head_width=512")  # fmt: skip
    new.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="seed of the random weights (default: 0)"
    )


def _add_import(verbs: Any) -> None:
    foreign = verbs.add_parser(
        "import", help="make a bundle of a Keras file, a SavedModel or an ONNX file",
        description="Make a bundle of a network from elsewhere: a .keras, .h5 or .onnx file, or a SavedModel's folder.",
        epilog=IMPORT_EPILOG, **LOOK,
    )  # fmt: skip
    add = foreign.add_argument
    add("file", type=text, metavar="FILE", help="the network")
    _add_card(
        foreign, scaling="scale of raw values, one number or one a band; fractions such as 1/255 are taken"
    )
    add(
        "--answer",
        choices=ANSWERS,
        help="what it answers (default: what is found at its end and in its answers)",
    )
    add("--layout", choices=NETWORK["layout"], help="where its bands are (default: what its shape says)")
    add("--stride", type=whole(1), metavar="PX", help="multiples of which its chips must be (default: found)")
    add("--reach", type=whole(0), metavar="PX",
        help="how far it looks, if you know (default: read from the graph, or measured)")  # fmt: skip


def _add_card(parser: argparse.ArgumentParser, scaling: str) -> None:
    """What only the user knows; whether something is missing is said later, all at once."""
    add = parser.add_argument
    add("--name", type=text, metavar="TEXT", help="name of the bundle (default: that of its folder)")
    add(
        "--version",
        type=text,
        default="1.0.0",
        metavar="TEXT",
        help="version of the bundle (default: 1.0.0)",
    )
    add("--bands", type=names, metavar="red,green,...", help="names of its bands, in its order")
    add(
        "--classes",
        type=names,
        metavar="a,b,...",
        help="its classes, in the order of its channels or labels",
    )
    add(
        "--colors",
        type=names,
        metavar="#rrggbb,...",
        help="a colour for each class (default: a palette)",
    )
    add("--background", type=text, metavar="CLASS", help="the class of which no polygons are made")
    add(
        "--gsd",
        type=_gsd,
        metavar="M|M-M|any",
        help="GSD it was trained at, in metres a pixel, such as 0.3 or 0.2-0.4",
    )
    add("--scale", type=_numbers, metavar="X[,X...]", help=scaling)
    add("--offset", type=_numbers, metavar="X[,X...]", help="what is added after scaling (default: 0)")
    add("--fill", type=_numbers, metavar="X[,X...]",
        help="raw value that stands for invalid pixels (default: what is scaled to 0)")  # fmt: skip
    add("--halo", type=whole(0), metavar="PX", help="context that it wants, where it has no finite reach")
    add("--license", type=text, default="not stated", metavar="TEXT", help="licence of its weights")
    add("--output", type=text, metavar="BUNDLE", help="folder of the bundle")
    add("--force", action="store_true", help="write over a bundle that is there")


def _joined(argv: Sequence[str]) -> list[str]:
    """Join options and values that begin with a minus, such as ``--offset -1,-1,-1``, as argparse wants them."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in SIGNED and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _gsd(text: str) -> float | tuple[float, float] | str:
    if text == "any":
        return text
    try:
        ends = tuple(fraction(part) for part in text.split("-"))
    except argparse.ArgumentTypeError:
        ends = ()
    if len(ends) not in (1, 2) or min(ends) <= 0 or (len(ends) == 2 and ends[0] > ends[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a GSD such as 0.3, 0.2-0.4 or any")
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])
