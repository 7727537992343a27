"""The command lines of ``terraseam segment`` and ``terraseam plan``."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.pipeline.declarations.option import Option, bound, declared
from terraseam.pipeline.options.parser import LOOK, Parser, add_options, read_arguments
from terraseam.pipeline.options.segment import (
    INPUT,
    LABEL_MAP,
    NETWORK,
    POLYGONS,
    RUN,
    TILING,
    SegmentOptions,
)

GROUPS = (INPUT, NETWORK, POLYGONS, LABEL_MAP, TILING, RUN)

JSON = bound(Option("print the plan as JSON", group=RUN, in_jobs=False), "json", False, flag=True)

EPILOG = """\
Any Apache Beam option is accepted too: --runner, --project, --region, --temp_location, ...

examples:
  terraseam {name} scene.tif --model coast --output out
  terraseam {name} scenes/ 'more/*.tif' --model my-bundle --output out \\
      --classes roof --min-area 10 --regularize --format gpkg

exit status: 0 success; 1 failure; 2 wrong arguments, or a plan that cannot succeed; 3 finished, but
sheets are in quarantine or rasters were skipped; 130 interrupted
"""


def parse(argv: Sequence[str], version: str) -> tuple[str, SegmentOptions, bool]:
    """Parse a command line.

    Args:
        argv: The arguments behind the program's name.
        version: What ``--version`` prints.

    Returns:
        The subcommand, its options, and whether JSON was asked for.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    parser, subcommands = parsers(version)
    if not argv or argv[0] not in subcommands:
        parser.parse_args(argv)
    values = read_arguments(subcommands[argv[0]], argv[1:])
    as_json = values.pop("json", False)
    return argv[0], SegmentOptions(**values), as_json


def parsers(version: str) -> tuple[Parser, dict[str, Parser]]:
    """Make the parser of the program, and those of ``segment`` and ``plan``."""
    parser = Parser(
        prog="terraseam",
        description="Segment GeoTIFFs of any size with Keras networks, without visible seams.",
    )
    parser.add_argument("--version", action="version", version=f"terraseam {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    segment = commands.add_parser(
        "segment",
        help="segment rasters into label maps and polygons",
        description="Segment rasters. Writes OUTPUT/<raster>/labels.tif and polygons.*, and OUTPUT/manifest.json.",
        epilog=EPILOG.format(name="segment"),
        **LOOK,
    )
    plan = commands.add_parser(
        "plan",
        help="show what segment would do, how exact it is and what it needs; runs nothing",
        description="Show what `terraseam segment` would do with the same arguments. Runs and writes nothing.",
        epilog=EPILOG.format(name="plan"),
        **LOOK,
    )
    commands.add_parser("vectorize", help="turn label rasters into polygons")
    commands.add_parser("store", help="list, verify and prune a prediction store")
    commands.add_parser("models", help="list, show, create and import networks and bundles")
    commands.add_parser("train", help="train a network on labelled rasters and write a bundle")
    commands.add_parser("evaluate", help="measure label maps and polygons against ground truth")
    options = declared(SegmentOptions)
    add_options(segment, options, GROUPS)
    add_options(plan, (*options, JSON), GROUPS)
    return parser, {"segment": segment, "plan": plan}
