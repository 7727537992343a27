"""The arguments of the subcommands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from terraseam.models.engines.choice import ENGINES, PRECISIONS
from terraseam.pipeline.machines import DEFAULT_ACCELERATOR
from terraseam.pipeline.options.parser import LOOK, Parser, add_config, read_arguments
from terraseam.pipeline.options.segment import (
    COMPRESSIONS,
    DEFAULT_SHEET,
    DEFAULT_TILE,
    FORMATS,
    ON_ERROR,
    SegmentOptions,
)
from terraseam.pipeline.options.values import (
    Value,
    bands,
    formats,
    names,
    number,
    path,
    path_or_name,
    positive,
    share,
    text,
    whole,
)

EPILOG = """\
Any option of Apache Beam may be added: --runner, --project, --region, --temp_location, ...

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
    values["rasters"], values["models"] = tuple(values["rasters"]), tuple(values["models"])
    values["allow_sources"] = tuple(values["allow_sources"])
    return argv[0], SegmentOptions(**values), as_json


def parsers(version: str) -> tuple[Parser, dict[str, argparse.ArgumentParser]]:
    """The parser of the program, and those of ``segment`` and ``plan``."""
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
        epilog=EPILOG,
        **LOOK,
    )
    plan = commands.add_parser(
        "plan",
        help="what segment would do, how exact, and what it takes; runs nothing",
        description="Say what `terraseam segment` would do with the same arguments; runs and writes nothing.",
        epilog=EPILOG,
        **LOOK,
    )
    commands.add_parser("vectorize", help="label rasters in, polygons out")
    commands.add_parser("store", help="the prediction store of a job: list, verify, prune")
    commands.add_parser("models", help="networks and bundles: list, show, new, import")
    commands.add_parser("train", help="train a network on rasters with labels, and write a bundle")
    commands.add_parser("evaluate", help="measure label maps and polygons against the truth")
    for subcommand in (segment, plan):
        _add_segment_arguments(subcommand)
        add_config(subcommand)
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    return parser, {"segment": segment, "plan": plan}


def _add_segment_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "rasters",
        nargs="+",
        type=path,
        metavar="RASTER",
        help="georeferenced raster, directory or glob; also gs://, s3://, https://",
    )
    _add_network_arguments(parser)
    add("--output", required=True, type=path, metavar="DIR", help="folder of the results")
    add("--bands", type=bands, metavar="1,2,3", help="bands to read (default: all but alpha)")
    add("--classes", type=names, metavar="a,b",
        help="classes to make polygons of (default: all but background)")  # fmt: skip
    add_polygon_arguments(parser)
    add("--compress", choices=COMPRESSIONS, default=COMPRESSIONS[0],
        help="compression of labels.tif (default: deflate, which everything reads; zstd is smaller)")  # fmt: skip
    _add_input_arguments(parser)
    _add_tile_arguments(parser)
    add("--on-error", choices=ON_ERROR, default=ON_ERROR[0],
        help="rasters and sheets that cannot be segmented: leave them out and say so (default), or end the run")  # fmt: skip
    add("--work", type=path, metavar="DIR", help="folder of the prediction store (default: OUTPUT/.work)")
    add(
        "--prune",
        action="store_true",
        help="remove the results of rasters that are not among those given any more",
    )
    add("--force", action="store_true", help="compute every sheet, also those that the store has")
    _add_runner_arguments(parser)


def _add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Where rasters are looked at, and at which GSD."""
    add_aoi_argument(parser)
    add_sources_argument(parser)
    add_verify_argument(parser)
    gsd = parser.add_mutually_exclusive_group()
    gsd.add_argument("--resample", action="store_true",
        help="read rasters of another GSD than the network was trained at on a grid of that GSD")  # fmt: skip
    gsd.add_argument("--any-gsd", action="store_true", help="take them as they are")


def add_sources_argument(parser: Any) -> None:
    """Which servers files may name."""
    parser.add_argument("--allow-sources", action="append", default=[], type=text, metavar="PATTERN",
        help="servers that files may name, such as a virtual raster its sources: https://host/*, gs://bucket/*; "
        "can be given again")  # fmt: skip


def add_verify_argument(parser: Any) -> None:
    """Whether damage of files is looked for."""
    parser.add_argument("--no-verify", dest="verify", action="store_false",
        help="read blocks as they are, also where the checksum in the file says that they are damaged")  # fmt: skip


def add_aoi_argument(parser: argparse.ArgumentParser) -> None:
    """Where results are wanted."""
    parser.add_argument("--aoi", type=path, metavar="FILE",
        help="polygons outside which nothing is done: pixels whose centre lies outside become nodata")  # fmt: skip


def add_polygon_arguments(parser: argparse.ArgumentParser, *, scored: bool = True) -> None:
    """Which polygons are made, and how; by their score only where they have one."""
    add = parser.add_argument
    add("--min-area", type=number(0), default=0.0, metavar="M2", help="drop polygons smaller than this")
    add("--fill-holes", type=number(0), default=0.0, metavar="M2",
        help="fill the holes of polygons that are smaller than this")  # fmt: skip
    if scored:
        add("--min-score", type=share, default=0.0, metavar="S",
            help="drop polygons whose score, the mean of their pixels, is below this (0 to 1)")  # fmt: skip
    add("--sieve", type=positive, metavar="M2",
        help="dissolve regions smaller than this into the neighbour with the longest shared border")  # fmt: skip
    add("--simplify", type=positive, metavar="M",
        help="straighten borders by up to this many metres; neighbours go on sharing them")  # fmt: skip
    add("--regularize", action="store_true",
        help="give polygons right angles where their outlines support them, as those of most buildings do")  # fmt: skip
    add("--connectivity", type=int, choices=(4, 8), default=4,
        help="8: regions that touch at a corner alone are one feature of several polygons (default: 4)")  # fmt: skip
    add("--max-region", type=whole(1), metavar="PX",
        help="cut regions along a lattice of this side, such as 8192: for what spans a large raster")  # fmt: skip
    add("--format", dest="formats", type=formats, default=("geojson",), metavar="a,b",
        help=f"formats of the polygons, of {', '.join(FORMATS)} (default: geojson)")  # fmt: skip


def _add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """What runs, and how."""
    add = parser.add_argument
    add("--model", dest="models", action="append", required=True, type=path_or_name, metavar="BUNDLE",
        help="folder of a bundle, or the name of a shipped one: coast; given again, scores of all are averaged")  # fmt: skip
    add("--engine", choices=ENGINES,
        help="what runs the network (default: tensorflow; onnx where a bundle holds a model.onnx)")  # fmt: skip
    add("--precision", choices=PRECISIONS, default=PRECISIONS[0],
        help="type that the network computes in, the half ones for GPUs (default: float32)")  # fmt: skip
    add("--augment", action="store_true",
        help="average scores over the eight symmetries of each tile: 8 times the work")  # fmt: skip
    add("--batch-size", type=_auto(1), metavar="N", help="tiles a call of the network, or auto (default)")


def _add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """How rasters are cut, and put together again."""
    add = parser.add_argument
    add("--tile", type=_auto(1), metavar="PX",
        help=f"side of a tile's core, or auto (default: auto = {DEFAULT_TILE})")  # fmt: skip
    add("--halo", type=_auto(0), metavar="PX",
        help="context around a core, or auto = the network's reach (default)")  # fmt: skip
    add("--sheet", type=whole(1), default=DEFAULT_SHEET, metavar="PX",
        help=f"side of the squares that are worked on and stored (default: {DEFAULT_SHEET}); changes no result")  # fmt: skip
    add("--stitch", choices=("crop", "blend"),
        help="keep each tile's core (exact), or average overlaps (default: crop where the reach is finite)")  # fmt: skip


def _add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it runs, next to Beam's own options."""
    add = parser.add_argument
    add("--workers", type=whole(1), metavar="N",
        help="processes on this machine, each with a network of its own (default: 1); changes no result")  # fmt: skip
    add("--accelerator", type=text, metavar="NAME",
        help=f"GPU of Dataflow's workers, or none (default: {DEFAULT_ACCELERATOR} for those of an image)")  # fmt: skip


def _auto(least: int) -> Value:
    parse_whole = whole(least)
    return Value(lambda said: None if said == "auto" else parse_whole(said), int)
