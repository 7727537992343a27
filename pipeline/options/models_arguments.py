"""The command line of ``terraseam models``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from terraseam.models.bundle.checks import NETWORK
from terraseam.pipeline.declarations.option import Option, bound
from terraseam.pipeline.declarations.values import (
    LIST_MARK,
    Value,
    any_text,
    fraction,
    names,
    path,
    path_to_write,
    setting,
    whole,
)
from terraseam.pipeline.options.parser import LOOK, Parser, add_options

SIGNED = ("--scale", "--offset", "--fill-value", "--fill")
"""Options whose values may begin with a minus."""
_numbers = Value(lambda text: tuple(fraction(part) for part in text.split(LIST_MARK)), mark=LIST_MARK)
"""Numbers, one a band or one for all."""
OUTPUT_TYPES = tuple(kind for kind in NETWORK["answer"] if kind != "instances")

IMPORT_EPILOG = """\
What the file does not say must be said: bands, classes, GSD and scaling (network input = raw value * scale + offset).
What it does say is read from it: layout, output type, stride, reach. Nothing that the file brings is run as code.
"""


def _read_gsd(text: str) -> float | tuple[float, float] | str:
    if text == "any":
        return text
    try:
        ends = tuple(fraction(part) for part in text.split("-"))
    except argparse.ArgumentTypeError:
        ends = ()
    if len(ends) not in (1, 2) or min(ends) <= 0 or (len(ends) == 2 and ends[0] > ends[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a GSD such as 0.3, 0.2-0.4 or any")
    return ends[0] if len(ends) == 1 else (ends[0], ends[1])


_gsd = Value(_read_gsd)

JSON = bound(Option("print as JSON"), "json", False, flag=True)
SHOW = (
    bound(
        Option(
            "folder of a bundle, name of a built-in one, or name of an architecture",
            metavar="BUNDLE|ARCHITECTURE",
            positional=True,
        ),
        "name",
    ),
    JSON,
)


def card_options(scaling: str) -> tuple[Option, ...]:
    """Return the options of what only the user knows; whether something is missing is said later, all at once.

    Args:
        scaling: What ``--scale`` is.
    """
    return (
        bound(Option("name of the bundle", any_text, "TEXT", default_help="that of its folder"), "name"),
        bound(Option("version of the bundle", any_text, "TEXT"), "version", "1.0.0"),
        bound(Option("names of its bands, in its order", names, "red,green,..."), "bands"),
        bound(Option("its classes, in the order of its channels or labels", names, "a,b,..."), "classes"),
        bound(Option("a colour for each class", names, "#rrggbb,...", default_help="a palette"), "colors"),
        bound(Option("the class of which no polygons are made", any_text, "CLASS"), "background"),
        bound(
            Option("GSD it was trained at, in metres a pixel, such as 0.3 or 0.2-0.4", _gsd, "M|M-M|any"),
            "gsd",
        ),
        bound(Option(scaling, _numbers, "X[,X...]"), "scale"),
        bound(Option("what is added after scaling", _numbers, "X[,X...]", default_help="0"), "offset"),
        bound(
            Option(
                "raw value that stands for invalid pixels",
                _numbers,
                "X[,X...]",
                default_help="what is scaled to 0",
                name="fill-value",
                former=("fill",),
            ),
            "fill",
        ),
        bound(
            Option("overlap read around a tile that it needs, where its reach is not finite", whole(0), "PX"),
            "halo",
        ),
        bound(Option("licence of its weights", any_text, "TEXT"), "license", "not stated"),
        bound(Option("folder of the bundle", path_to_write, "BUNDLE"), "output"),
        bound(Option("replace a bundle that is there", deletes=True), "force", False, flag=True),
    )


NEW = (
    bound(Option("a name that `terraseam models list` lists", any_text, "NAME"), "architecture"),
    bound(Option("its encoder, or none", any_text, "NAME"), "encoder"),
    *card_options("scale and offset of raw values (default: what the encoder was trained on)"),
    bound(
        Option(
            "weights of the encoder: a Keras file, or imagenet to download them",
            any_text,
            "FILE|imagenet",
            default_help="random",
        ),
        "weights",
    ),
    bound(Option("stride at which the encoder of a U-Net is cut", whole(1), "PX"), "cut"),
    bound(
        Option(
            "another argument of the network's builder, such as head_width=512; can be repeated",
            setting,
            "NAME=VALUE",
            name="set",
            repeats="again",
        ),
        "settings",
        (),
    ),
    bound(Option("seed of the random weights", whole(0), "N"), "seed", 0),
)
IMPORT = (
    bound(Option("the network", path, "FILE", positional=True), "file"),
    *card_options("scale of raw values, one number or one a band; fractions such as 1/255 are accepted"),
    bound(
        Option(
            "output type",
            choices=OUTPUT_TYPES,
            default_help="detected",
            name="output-type",
            former=("answer",),
        ),
        "output_type",
    ),
    bound(
        Option("where its bands are", choices=NETWORK["layout"], default_help="what its shape says"), "layout"
    ),
    bound(Option("multiples of which its chips must be", whole(1), "PX", default_help="detected"), "stride"),
    bound(
        Option(
            "its reach, or receptive field, if you know it",
            whole(0),
            "PX",
            default_help="read from the graph, or measured",
        ),
        "reach",
    ),
)


def parse_models(argv: Sequence[str]) -> argparse.Namespace:
    """Parse what stands behind ``terraseam models``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    namespace: argparse.Namespace = models_parsers()[0].parse_args(_joined(argv))
    return namespace


def models_parsers() -> tuple[Parser, dict[str, Parser]]:
    """Make the parser of what stands behind ``terraseam models``, and those of its verbs."""
    parser = Parser(prog="terraseam models", description="Networks and bundles.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    parsers: dict[str, Parser] = {
        "list": verbs.add_parser(
            "list", help="the networks that can be built, and the built-in bundles", allow_abbrev=False
        ),
        "show": verbs.add_parser(
            "show", help="what a bundle or an architecture is, in words", allow_abbrev=False
        ),
        "new": verbs.add_parser(
            "new",
            help="write an untrained bundle, as a start for training",
            allow_abbrev=False,
            description="Write a bundle with an untrained network and a card that fits it.",
        ),
        "import": verbs.add_parser(
            "import",
            help="make a bundle of a Keras file, a SavedModel or an ONNX file",
            description="Make a bundle of a network from elsewhere: a .keras, .h5 or .onnx file, or a SavedModel's folder.",
            epilog=IMPORT_EPILOG,
            **LOOK,
        ),
    }
    for name, options in (("list", (JSON,)), ("show", SHOW), ("new", NEW), ("import", IMPORT)):
        add_options(parsers[name], options)
    return parser, parsers


def _joined(argv: Sequence[str]) -> list[str]:
    """Join options and values that begin with a minus, such as ``--offset -1,-1,-1``, as argparse wants them."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in SIGNED and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
