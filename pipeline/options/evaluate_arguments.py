"""The command line of ``terraseam evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.pipeline.declarations.option import declared
from terraseam.pipeline.options.evaluate import CLASSES, MEASURES, OUTPUT, EvaluateOptions
from terraseam.pipeline.options.parser import LOOK, Parser, add_options, with_tuples
from terraseam.pipeline.options.segment import INPUT, RUN

EPILOG = """\
Label maps: pixel accuracy, IoU, precision, recall and F1 of each class, confusion matrix, boundary F1. The mean
IoU covers the classes that occur in ground truth or prediction. Pixels without ground truth, outside --aoi, or
without a prediction (nodata) are excluded and counted.
Polygons: COCO mask AP (IoU 0.50 to 0.95), AP50, AP75, AP by size in pixels, AR; precision, recall and F1 at IoU 0.5
as in SpaceNet. Polygons are clipped to the raster and --aoi; ground truth that lies mostly on nodata is excluded.
Ground truth is paired with predictions by name, else by overlap.

exit status: 0 success; 1 failure; 2 wrong arguments, or nothing to measure; 3 finished, but rasters were skipped;
130 interrupted
"""


def parse_evaluate(argv: Sequence[str]) -> EvaluateOptions:
    """Parse what stands behind ``terraseam evaluate``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    parser = evaluate_parser()
    return EvaluateOptions(**with_tuples(parser.options, vars(parser.parse_args(argv))))


def evaluate_parser() -> Parser:
    """Make the parser of what stands behind ``terraseam evaluate``."""
    parser = Parser(
        prog="terraseam evaluate",
        description="Measure predicted label maps and polygons against ground truth.",
        epilog=EPILOG,
        **LOOK,
    )
    add_options(parser, declared(EvaluateOptions), (INPUT, CLASSES, MEASURES, OUTPUT, RUN))
    return parser
