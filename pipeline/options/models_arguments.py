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
Bands, classes, GSD and scaling (network input = raw value * scale + offset) are not in the file and must be given.
Layout, output type, stride and reach are detected. No code in the file is run.
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
            "bundle folder, or name of a built-in bundle or of an architecture",
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
        bound(Option("name of the bundle", any_text, "TEXT", default_help="name of its folder"), "name"),
        bound(Option("version of the bundle", any_text, "TEXT"), "version", "1.0.0"),
        bound(Option("band names, in the network's order", names, "red,green,..."), "bands"),
        bound(Option("classes, in the order of the output channels or labels", names, "a,b,..."), "classes"),
        bound(Option("colour of each class", names, "#rrggbb,...", default_help="from a palette"), "colors"),
        bound(Option("class that is not written as polygons", any_text, "CLASS"), "background"),
        bound(
            Option(
                "GSD the network was trained at, in metres per pixel, such as 0.3 or 0.2-0.4",
                _gsd,
                "M|M-M|any",
            ),
            "gsd",
        ),
        bound(Option(scaling, _numbers, "X[,X...]"), "scale"),
        bound(Option("offset added after scaling", _numbers, "X[,X...]", default_help="0"), "offset"),
        bound(
            Option(
                "raw value used for invalid pixels",
                _numbers,
                "X[,X...]",
                default_help="the value that scales to 0",
                name="fill-value",
                former=("fill",),
            ),
            "fill",
        ),
        bound(
            Option("overlap to read around a tile if the reach is not finite", whole(0), "PX"),
            "halo",
        ),
        bound(Option("licence of the weights", any_text, "TEXT"), "license", "not stated"),
        bound(Option("folder of the bundle to write", path_to_write, "BUNDLE"), "output"),
        bound(Option("overwrite an existing bundle", deletes=True), "force", False, flag=True),
    )


NEW = (
    bound(Option("network, as listed by `terraseam models list`", any_text, "NAME"), "architecture"),
    bound(Option("encoder of the network, or none", any_text, "NAME"), "encoder"),
    *card_options("scale of raw values (default: scaling that the encoder was trained with)"),
    bound(
        Option(
            "encoder weights: a Keras file, or imagenet to download them",
            any_text,
            "FILE|imagenet",
            default_help="random",
        ),
        "weights",
    ),
    bound(Option("stride at which a U-Net's encoder is cut off", whole(1), "PX"), "cut"),
    bound(
        Option(
            "further argument of the network builder, such as head_width=512; can be repeated",
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
    bound(Option("network file, or folder of a SavedModel", path, "FILE", positional=True), "file"),
    *card_options("scale of raw values, one number or one per band; fractions such as 1/255 are accepted"),
    bound(
        Option(
            "what the network outputs",
            choices=OUTPUT_TYPES,
            default_help="detected",
            name="output-type",
            former=("answer",),
        ),
        "output_type",
    ),
    bound(
        Option(
            "position of the band axis",
            choices=NETWORK["layout"],
            default_help="detected from the input shape",
        ),
        "layout",
    ),
    bound(
        Option("chip height and width must be multiples of this", whole(1), "PX", default_help="detected"),
        "stride",
    ),
    bound(
        Option(
            "reach (receptive field), if known",
            whole(0),
            "PX",
            default_help="derived from the graph, or measured",
        ),
        "reach",
    ),
)
CONVERT = (bound(Option("folder of the bundle", metavar="BUNDLE", positional=True), "bundle"),)


def parse_models(argv: Sequence[str]) -> argparse.Namespace:
    """Parse what stands behind ``terraseam models``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    namespace: argparse.Namespace = models_parsers()[0].parse_args(_joined(argv))
    return namespace


def models_parsers() -> tuple[Parser, dict[str, Parser]]:
    """Make the parser of what stands behind ``terraseam models``, and those of its verbs."""
    parser = Parser(
        prog="terraseam models",
        description="List, show, create and import networks and bundles.",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    parsers: dict[str, Parser] = {
        "list": verbs.add_parser(
            "list", help="list the networks that can be built, and the built-in bundles", allow_abbrev=False
        ),
        "show": verbs.add_parser("show", help="describe a bundle or an architecture", allow_abbrev=False),
        "new": verbs.add_parser(
            "new",
            help="write an untrained bundle, as a starting point for training",
            allow_abbrev=False,
            description="Write a bundle with an untrained network and a matching model card.",
        ),
        "import": verbs.add_parser(
            "import",
            help="make a bundle from a Keras file, a SavedModel or an ONNX file",
            description="Make a bundle from an existing network: a .keras, .h5 or .onnx file, or a SavedModel folder.",
            epilog=IMPORT_EPILOG,
            **LOOK,
        ),
        "convert": verbs.add_parser(
            "convert",
            help="add the network converted for OpenVINO to a bundle",
            allow_abbrev=False,
            description="Convert the network of a bundle for OpenVINO, compare its labels with TensorFlow's, and add it to "
            "the bundle. New, imported and trained bundles have it where OpenVINO is installed.",
        ),
    }
    verbs_options = (
        ("list", (JSON,)),
        ("show", SHOW),
        ("new", NEW),
        ("import", IMPORT),
        ("convert", CONVERT),
    )
    for name, options in verbs_options:
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
