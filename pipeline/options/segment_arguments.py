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
Any Apache Beam option may be added: --runner, --project, --region, --temp_location, ...

examples:
  terraseam {name} scene.tif --model coast --output out
  terraseam {name} scenes/ 'more/*.tif' --model my-bundle --output out \\
      --classes roof --min-area 10 --regularize --format gpkg

exit status: 0 done; 1 failed; 2 wrong arguments, or a plan that cannot succeed; 3 done, but
sheets are in quarantine or rasters left out; 130 interrupted
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
        description="Segment GeoTIFFs of any size with Keras networks, without a visible seam.",
    )
    parser.add_argument("--version", action="version", version=f"terraseam {version}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    segment = commands.add_parser(
        "segment",
        help="the main job: rasters in, label maps and polygons out",
        description="Segment rasters: writes OUTPUT/<raster>/labels.tif and polygons.*, and OUTPUT/manifest.json.",
        epilog=EPILOG.format(name="segment"),
        **LOOK,
    )
    plan = commands.add_parser(
        "plan",
        help="what segment would do, how exact, and what it takes; runs nothing",
        description="Say what `terraseam segment` would do with the same arguments; runs and writes nothing.",
        epilog=EPILOG.format(name="plan"),
        **LOOK,
    )
    commands.add_parser("vectorize", help="label rasters in, polygons out")
    commands.add_parser("store", help="the prediction store of a job: list, verify, prune")
    commands.add_parser("models", help="networks and bundles: list, show, new, import")
    commands.add_parser("train", help="train a network on rasters with labels, and write a bundle")
    commands.add_parser("evaluate", help="measure label maps and polygons against the truth")
    options = declared(SegmentOptions)
    add_options(segment, options, GROUPS)
    add_options(plan, (*options, JSON), GROUPS)
    return parser, {"segment": segment, "plan": plan}
