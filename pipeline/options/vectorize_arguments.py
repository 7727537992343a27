"""The arguments of ``terraseam vectorize``."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.pipeline.options.parser import LOOK, Parser, add_config, read_arguments
from terraseam.pipeline.options.segment import DEFAULT_SHEET, ON_ERROR
from terraseam.pipeline.options.segment_arguments import (
    add_aoi_argument,
    add_polygon_arguments,
    add_sources_argument,
    add_verify_argument,
)
from terraseam.pipeline.options.values import label_names, names, path, whole
from terraseam.pipeline.options.vectorize import VectorizeOptions

EPILOG = """\
Writes OUTPUT/<raster>/polygons.*, and OUTPUT/manifest.json. Any option of Apache Beam may be added.

exit status: 0 done; 1 failed; 2 wrong arguments, or no raster that can be made into polygons; 3 done, but rasters are
left out; 130 interrupted
"""


def parse_vectorize(argv: Sequence[str]) -> VectorizeOptions:
    """Parse what stands behind ``terraseam vectorize``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    values = read_arguments(vectorize_parser(), argv)
    values["rasters"], values["allow_sources"] = tuple(values["rasters"]), tuple(values["allow_sources"])
    return VectorizeOptions(**values)


def vectorize_parser() -> Parser:
    """The parser of what stands behind ``terraseam vectorize``."""
    parser = Parser(
        prog="terraseam vectorize",
        description="Make polygons of label rasters, such as labels.tif: 4-connected regions of equal label.",
        epilog=EPILOG,
        **LOOK,
    )
    add = parser.add_argument
    add(
        "rasters",
        nargs="+",
        type=path,
        metavar="LABELS",
        help="raster of whole numbers, of one band; directory or glob",
    )
    add("--output", required=True, type=path, metavar="DIR", help="folder of the results")
    add("--class-names", type=label_names, metavar="a,b",
        help="names of the labels 0, 1, ..., or of any, as in 10=trees,20=shrubs (default: those in the file); other "
        "labels are called by their number")  # fmt: skip
    add("--classes", type=names, metavar="a,b", help="classes to make polygons of (default: all)")
    add_aoi_argument(parser)
    add_sources_argument(parser)
    add_verify_argument(parser)
    add_polygon_arguments(parser, scored=False)
    add("--pixel-coordinates", action="store_true",
        help="write columns and rows of pixels instead of places on the Earth, as of rasters without CRS; M2 and M are "
        "pixels then")  # fmt: skip
    add("--sheet", type=whole(1), default=DEFAULT_SHEET, metavar="PX",
        help=f"side of the squares that are worked on (default: {DEFAULT_SHEET}); changes no result")  # fmt: skip
    add("--on-error", choices=ON_ERROR, default=ON_ERROR[0],
        help="rasters that cannot be used: leave them out and say so (default), or end the run")  # fmt: skip
    add("--work", type=path, metavar="DIR", help="folder of intermediate files (default: OUTPUT/.work)")
    add_config(parser)
    return parser
