"""The arguments of ``terraseam evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.pipeline.options.evaluate import (
    DEFAULT_BLOCK,
    DEFAULT_PICTURE,
    DEFAULT_TOLERANCE,
    EvaluateOptions,
)
from terraseam.pipeline.options.parser import LOOK, Parser
from terraseam.pipeline.options.segment import ON_ERROR
from terraseam.pipeline.options.segment_arguments import add_sources_argument, add_verify_argument
from terraseam.pipeline.options.values import checked, label_values, names, text, whole

MOST_TOLERANCE = 64
EPILOG = """\
Label maps: pixel accuracy, IoU, precision, recall and F1 of each class, confusion matrix, boundary F1. The mean
IoU is over the classes that occur in truth or prediction. Pixels without truth, outside --aoi, or without a
prediction (nodata) are left out and counted.
Polygons: COCO mask AP (IoU 0.50 to 0.95), AP50, AP75, by size in pixels, AR; precision, recall and F1 at IoU 0.5
as SpaceNet has them. They are cut at the edge of raster and area; true ones that lie mostly on nodata are left out.
Truth is paired with predictions by name, the rest by overlap.

exit status: 0 done; 1 failed; 2 wrong arguments, or nothing that can be measured; 3 done, but rasters are left out;
130 interrupted
"""


def parse_evaluate(argv: Sequence[str]) -> EvaluateOptions:
    """Parse what stands behind ``terraseam evaluate``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    values = vars(evaluate_parser().parse_args(argv))
    for name in ("truth", "images", "allow_sources"):
        values[name] = tuple(values[name])
    return EvaluateOptions(**values)


def evaluate_parser() -> Parser:
    """Make the parser of what stands behind ``terraseam evaluate``."""
    parser = Parser(
        prog="terraseam evaluate",
        description="Measure predicted label maps and polygons against the truth.",
        epilog=EPILOG,
        **LOOK,
    )
    _add_inputs(parser)
    _add_measures(parser)
    return parser


def _add_inputs(parser: Parser) -> None:
    """What is compared."""
    add = parser.add_argument
    add("--predicted", required=True, type=text, metavar="DIR|FILE",
        help="output of `terraseam segment`, a folder of files, a label map, or a file of polygons")  # fmt: skip
    add("--truth", required=True, action="extend", nargs="+", type=text, metavar="FILE|GLOB",
        help="true polygons in any CRS, or label rasters")  # fmt: skip
    add("--images", action="extend", nargs="+", default=[], type=text, metavar="FILE|GLOB",
        help="the rasters that were segmented: pixels to measure polygons in, and ground for --picture")  # fmt: skip
    add("--aoi", type=text, metavar="FILE", help="polygons outside which nothing is measured")
    add_sources_argument(parser)
    add_verify_argument(parser)
    add("--classes", type=names, metavar="a,b",
        help="classes to measure (default: all); the names of labels 0, 1, ... where a map names none")  # fmt: skip
    add("--background", type=text, metavar="NAME",
        help="the class that is nothing, or none (default: background, else the first class)")  # fmt: skip
    add("--class-property", type=text, metavar="NAME",
        help="property that names the class of true polygons (default: all are of one class)")  # fmt: skip
    add("--label-values", type=label_values, metavar="0,1,2",
        help="values of true label rasters, in the order of the classes "
        "(default: the numbers that classes are called by, else 0, 1, ...)")  # fmt: skip
    add("--on-error", choices=ON_ERROR, default=ON_ERROR[0],
        help="rasters that cannot be measured: leave them out and say so (default), or measure none")  # fmt: skip


def _add_measures(parser: Parser) -> None:
    """What is measured, and how it is told."""
    add = parser.add_argument
    add("--tolerance", type=_tolerance, default=DEFAULT_TOLERANCE, metavar="PX",
        help=f"distance forgiven between boundaries, 0 to {MOST_TOLERANCE} (default: {DEFAULT_TOLERANCE})")  # fmt: skip
    add("--max-detections", type=whole(1), metavar="N",
        help="surest polygons of a class that count on each raster for AP and AR; COCO has 100 (default: all)")  # fmt: skip
    add("--block", type=whole(1), default=DEFAULT_BLOCK, metavar="PX",
        help=f"side of the squares read at once (default: {DEFAULT_BLOCK}); changes memory, no figure")  # fmt: skip
    add("--picture", type=text, metavar="FILE.png",
        help="write a picture of errors: green true, yellow missed, purple false")  # fmt: skip
    add("--picture-size", type=whole(1), default=DEFAULT_PICTURE, metavar="PX",
        help=f"its longest side (default: {DEFAULT_PICTURE})")  # fmt: skip
    add("--json", action="store_true", help="print all figures as JSON")


_tolerance = checked(
    int, lambda value: 0 <= value <= MOST_TOLERANCE, f"a whole number from 0 to {MOST_TOLERANCE}"
)
