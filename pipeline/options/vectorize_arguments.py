"""The command line of ``terraseam vectorize``."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.pipeline.declarations.option import declared
from terraseam.pipeline.options.parser import LOOK, Parser, add_options, read_arguments
from terraseam.pipeline.options.segment import INPUT, POLYGONS, RUN
from terraseam.pipeline.options.vectorize import VectorizeOptions

EPILOG = """\
Writes OUTPUT/<raster>/polygons.* and OUTPUT/manifest.json. Any Apache Beam option is accepted too.

exit status: 0 success; 1 failure; 2 wrong arguments, or no raster that can be vectorized; 3 finished, but rasters were
skipped; 130 interrupted
"""


def parse_vectorize(argv: Sequence[str]) -> VectorizeOptions:
    """Parse what stands behind ``terraseam vectorize``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    return VectorizeOptions(**read_arguments(vectorize_parser(), argv))


def vectorize_parser() -> Parser:
    """Make the parser of what stands behind ``terraseam vectorize``."""
    parser = Parser(
        prog="terraseam vectorize",
        description="Turn label rasters, such as labels.tif, into polygons: 4-connected regions of equal label.",
        epilog=EPILOG,
        **LOOK,
    )
    scored = {"min_score"}  # label rasters have no scores
    options = [option for option in declared(VectorizeOptions) if option.field not in scored]
    add_options(parser, options, (INPUT, POLYGONS, RUN))
    return parser
