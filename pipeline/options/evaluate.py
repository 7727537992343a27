"""Options of ``terraseam evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from terraseam.pipeline.declarations.option import Option
from terraseam.pipeline.declarations.values import any_text, checked, label_values, names, path, whole
from terraseam.pipeline.options.segment import INPUT, ON_ERROR, RUN, AllowSources, Verify

DEFAULT_TOLERANCE = 3
MOST_TOLERANCE = 64
DEFAULT_BLOCK = 1024
DEFAULT_PICTURE = 2048

CLASSES, MEASURES, OUTPUT = "classes", "measures", "output"
"""Headings of options in `--help`."""

_tolerance = checked(
    int, lambda value: 0 <= value <= MOST_TOLERANCE, f"a whole number from 0 to {MOST_TOLERANCE}"
)


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``terraseam evaluate``; each `Option` says what its field holds, and the unit."""

    predicted: Annotated[
        str,
        Option(
            "output of `terraseam segment`, a folder of predictions, a label map, or a polygon file",
            path,
            "DIR|FILE",
        ),
    ]
    truth: Annotated[
        tuple[str, ...],
        Option("ground truth: polygons in any CRS, or label rasters", path, "FILE|GLOB", repeats="words"),
    ]
    images: Annotated[
        tuple[str, ...],
        Option(
            "the segmented rasters: their pixels are used to measure polygons, and as background of --picture",
            path,
            "FILE|GLOB",
            repeats="words",
            more="They may have any grid and CRS, as after `segment --resample`.",
        ),
    ] = ()
    aoi: Annotated[
        str | None,
        Option("area of interest, as polygons; nothing outside is measured", path, "FILE", group=INPUT),
    ] = None
    allow_sources: AllowSources = ()
    verify: Verify = True
    classes: Annotated[
        tuple[str, ...] | None,
        Option(
            "classes to measure; names of labels 0, 1, ... if a label map has no names",
            names,
            "a,b",
            group=CLASSES,
            default_help="all",
        ),
    ] = None
    background: Annotated[
        str | None,
        Option(
            "background class, or none",
            any_text,
            "NAME",
            group=CLASSES,
            default_help="background, else the first class",
        ),
    ] = None
    class_property: Annotated[
        str | None,
        Option(
            "attribute with the class of each ground truth polygon",
            any_text,
            "NAME",
            group=CLASSES,
            default_help="all are of the only class",
        ),
    ] = None
    label_values: Annotated[
        tuple[int, ...] | None,
        Option(
            "values of ground truth label rasters, in the order of the classes",
            label_values,
            "0,1,2",
            group=CLASSES,
            default_help="class names if they are integers, else 0, 1, ...",
        ),
    ] = None
    on_error: Annotated[
        str,
        Option(
            "skip and report rasters that cannot be measured, or measure none",
            group=RUN,
            choices=ON_ERROR,
        ),
    ] = ON_ERROR[0]
    tolerance: Annotated[
        int,
        Option(
            f"tolerated distance between boundaries, in pixels, 0 to {MOST_TOLERANCE}",
            _tolerance,
            "PX",
            group=MEASURES,
        ),
    ] = DEFAULT_TOLERANCE
    max_detections: Annotated[
        int | None,
        Option(
            "highest-scoring polygons per class and raster that count for AP and AR; COCO uses 100",
            whole(1),
            "N",
            group=MEASURES,
            default_help="all",
        ),
    ] = None
    block: Annotated[
        int,
        Option(
            "side of the blocks read at once; affects memory, not the figures",
            whole(1),
            "PX",
            group=RUN,
            name="block-size",
            former=("block",),
        ),
    ] = DEFAULT_BLOCK
    picture: Annotated[
        str | None,
        Option(
            "write a picture of true positives (green), misses (yellow) and false positives (purple)",
            path,
            "FILE.png",
            group=OUTPUT,
        ),
    ] = None
    picture_size: Annotated[int, Option("longest side of the picture", whole(1), "PX", group=OUTPUT)] = (
        DEFAULT_PICTURE
    )
    json: Annotated[bool, Option("print all figures as JSON", group=OUTPUT, in_jobs=False)] = False
