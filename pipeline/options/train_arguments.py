"""The command line of ``terraseam train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from terraseam.pipeline.declarations.option import bound, declared
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.parser import LOOK, Parser, add_options, read_arguments
from terraseam.pipeline.options.segment import CONFIG, INPUT, RUN
from terraseam.pipeline.options.train import (
    CHIPS,
    LABELS,
    NETWORK,
    RECIPE,
    RECIPE_GROUP,
    VALIDATION,
    Chips,
    TrainOptions,
    Truths,
    recipe_options,
)

GROUPS = (INPUT, LABELS, VALIDATION, CHIPS, NETWORK, RECIPE_GROUP, RUN)

EPILOG = """\
Labels are polygons (GeoJSON, GeoPackage, FlatGeobuf, Shapefile, GeoParquet) or label rasters, in any CRS; they are
paired with the rasters by name, or else by location. Pixels outside --aoi or off a label raster are ignored.
Chips are read from the rasters during training, at --gsd. Half of them (--object-fraction) are centred on objects,
sampled evenly over classes, then over rasters by the square root of area; the others lie anywhere.
Any option can be set by name in a job file (--config): `images = ["train/*.tif"]`, `chip_size = 320`.

exit status: 0 success; 1 failure; 2 wrong arguments, or nothing to train on; 130 interrupted
"""


def parse_train(argv: Sequence[str]) -> TrainOptions:
    """Parse what stands behind ``terraseam train``.

    Raises:
        ArgumentError: If an argument is wrong, or something is missing.
    """
    values = read_arguments(train_parser(), argv, beam=False)
    if bool(values["val_images"]) != bool(values["val_labels"]):
        raise ArgumentError("--val-images and --val-labels belong together; give both, or none")
    if values["val_aoi"] and not values["val_images"]:
        raise ArgumentError("--val-aoi is an area on --val-images; give these, too")
    values["settings"] = dict(values["settings"])
    values["recipe"] = {name: values[name] for name in RECIPE if values[name] is not None}
    values["truths"], values["chips"] = Truths(**_taken(values, Truths)), Chips(**_taken(values, Chips))
    return TrainOptions(**_taken(values, TrainOptions))


def _taken(values: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {field.name: values[field.name] for field in fields(kind) if field.name in values}


def train_parser() -> Parser:
    """Make the parser of what stands behind ``terraseam train``."""
    parser = Parser(
        prog="terraseam train",
        description="Train a network on labelled rasters and write a bundle.",
        epilog=EPILOG,
        **LOOK,
    )
    options = [*declared(Truths), *declared(Chips), *declared(TrainOptions), *recipe_options()]
    add_options(parser, [*options, bound(CONFIG, "config")], GROUPS)
    return parser
