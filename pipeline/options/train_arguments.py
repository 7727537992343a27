"""The arguments of ``terraseam train``, on the command line or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from terraseam.models.training.recipe import LOSSES, OPTIMIZERS, SCHEDULES, Recipe
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.parser import LOOK, Parser, add_config, read_arguments
from terraseam.pipeline.options.segment_arguments import add_sources_argument, add_verify_argument
from terraseam.pipeline.options.train import BLOCK_CHIPS, DEFAULT_CHIP, Chips, TrainOptions, Truths
from terraseam.pipeline.options.values import (
    LIST_MARK,
    bands,
    checked,
    label_values,
    names,
    number,
    path,
    path_or_name,
    setting,
    text,
    whole,
)

EPILOG = """\
Labels are polygons (GeoJSON, GeoPackage, FlatGeobuf, Shapefile, GeoParquet) or label rasters, in any CRS; they are
paired with the rasters by name, or else by where they lie. What is outside --aoi or off a label raster is ignored.
Chips are read from the rasters while training, at --gsd. Half of them (--objects) are drawn around a thing: first a
class, each as often, then a raster by the root of its area, then a thing; the others lie anywhere.
All of it can stand in a job file (--config), with the names of the options: `images = ["train/*.tif"]`, `chip = 320`.

exit status: 0 done; 1 failed; 2 wrong arguments, or nothing that can be trained on; 130 interrupted
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
    values["symmetries"] = not values.pop("no_symmetries")
    values["settings"] = dict(values["settings"])
    values["recipe"] = {name: values[name] for name in RECIPE if values[name] is not None}
    for name in ("images", "labels", "val_images", "val_labels", "allow_sources"):
        values[name] = tuple(values[name] or ())
    values["truths"], values["chips"] = Truths(**_taken(values, Truths)), Chips(**_taken(values, Chips))
    return TrainOptions(**_taken(values, TrainOptions))


def _taken(values: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {one.name: values[one.name] for one in fields(kind) if one.name in values}


def train_parser() -> Parser:
    """The parser of what stands behind ``terraseam train``."""
    parser = Parser(
        prog="terraseam train",
        description="Train a network on rasters with labels, and write a bundle.",
        epilog=EPILOG,
        **LOOK,
    )
    _add_first(parser)
    _add_truth(parser.add_argument_group("labels"))
    _add_split(parser.add_argument_group("validation"))
    _add_chips(parser.add_argument_group("chips"))
    _add_network(parser.add_argument_group("network and bundle"))
    _add_recipe(parser.add_argument_group("recipe"))
    _add_run(parser.add_argument_group("run"))
    return parser


def _add_first(parser: Parser) -> None:
    """What a newcomer needs."""
    add = parser.add_argument
    add(
        "--images",
        action="extend",
        nargs="+",
        required=True,
        type=path,
        metavar="GLOB",
        help="rasters: paths, directories, globs",
    )
    add(
        "--labels",
        action="extend",
        nargs="+",
        required=True,
        type=path,
        metavar="GLOB",
        help="polygons or label rasters: paths, globs",
    )
    add("--classes", required=True, type=names, metavar="a,b",
        help="classes of the polygons, or of the values of label rasters")  # fmt: skip
    add(
        "--architecture",
        required=True,
        type=text,
        metavar="NAME",
        help="a network that `terraseam models list` lists",
    )
    add("--encoder", type=text, metavar="NAME", help="its encoder, or none")
    add("--output", required=True, type=path, metavar="BUNDLE", help="folder of the bundle")


def _add_truth(group: Any) -> None:
    add = group.add_argument
    add_sources_argument(group)
    add_verify_argument(group)
    add("--class-property", type=text, metavar="NAME",
        help="property that names the class of a polygon (default: all are of the one class)")  # fmt: skip
    add("--background", type=text, metavar="NAME",
        help="class of what no polygon covers (default: background); of label rasters "
        "the one that is nothing, or none (default: the first)")  # fmt: skip
    add("--label-values", type=label_values, metavar="0,1,2",
        help="values of label rasters in the order of the classes (default: 0, 1, ...)")  # fmt: skip
    add(
        "--aoi",
        type=path,
        metavar="FILE",
        help="polygons on the rasters outside which labels are not to be trusted",
    )
    add("--bands", type=bands, metavar="1,2,3", help="bands to read (default: all but alpha)")
    add("--on-error", choices=("fail", "skip"), default="fail",
        help="what becomes of files that cannot be read (default: fail); skip reads each raster once before")  # fmt: skip


def _add_split(group: Any) -> None:
    add = group.add_argument
    add("--val-images", action="extend", nargs="+", type=path, metavar="GLOB", help="rasters to validate on")
    add("--val-labels", action="extend", nargs="+", type=path, metavar="GLOB", help="what is true of them")
    add(
        "--val-aoi",
        type=path,
        metavar="FILE",
        help="polygons on them outside which labels are not to be trusted",
    )
    add("--split", choices=("block", "raster"), default="block",
        help="what is set apart where no --val-images are given: squares of the rasters (default), or rasters")  # fmt: skip
    add("--val-share", type=_share, default=0.2, metavar="X", help="share that is set apart (default: 0.2)")
    add("--block-size", type=_positive, metavar="M",
        help=f"side of the squares, in metres (default: that of {BLOCK_CHIPS} chips)")  # fmt: skip


def _add_chips(group: Any) -> None:
    add, usual = group.add_argument, Chips()
    add(
        "--gsd",
        type=_positive,
        metavar="M",
        help="metres a pixel to train at (default: median of the rasters)",
    )
    add("--chip", type=whole(1), default=DEFAULT_CHIP, metavar="PX",
        help=f"side of a chip (default: {DEFAULT_CHIP})")  # fmt: skip
    add("--objects", type=number(0), default=usual.objects, metavar="SHARE",
        help=f"share of chips drawn around a thing (default: {usual.objects:g})")  # fmt: skip
    add("--balance", type=number(0), default=usual.balance, metavar="X",
        help="rasters are drawn by this power of their area: 1 draws all ground as often, 0 all rasters "
        f"(default: {usual.balance:g})")  # fmt: skip
    add("--scale-range", type=_range, default=usual.scale_range, metavar="A-B",
        help="factors by which the ground is magnified (default: 0.75-1.5)")  # fmt: skip
    add("--stretch", type=number(1), default=usual.stretch, metavar="X",
        help=f"factor up to which height and width differ (default: {usual.stretch:g})")  # fmt: skip
    add("--no-symmetries", action="store_true", help="neither turn nor mirror chips")
    add("--looks", type=number(0), default=usual.looks, metavar="X",
        help="strength of changes of colour, light, blur and noise; 0 for none (default: 1)")  # fmt: skip


def _add_network(group: Any) -> None:
    add = group.add_argument
    add("--encoder-weights", type=path_or_name, metavar="FILE|imagenet",
        help="weights that the encoder starts from (default: random)")  # fmt: skip
    add("--start", type=path_or_name, metavar="BUNDLE",
        help="bundle whose weights are taken where layers have the same name and shape")  # fmt: skip
    add("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="another argument of the network's builder, such as decoder_width=32")  # fmt: skip
    add("--half", action="store_true",
        help="round weights to half precision: half the size; what that changes is measured")  # fmt: skip
    add("--name", type=text, metavar="TEXT", help="name of the bundle (default: that of its folder)")
    add("--version", type=text, default="1.0.0", metavar="TEXT", help="its version (default: 1.0.0)")
    add("--license", type=text, default="not stated", metavar="TEXT",
        help="licences of weights and data, for the card")  # fmt: skip
    add("--band-names", type=names, metavar="red,green,...", help="names of the bands, for the card")


def _add_recipe(group: Any) -> None:
    add, usual = group.add_argument, Recipe()
    add("--epochs", type=whole(1), metavar="N", help=f"epochs at most (default: {usual.epochs})")
    add("--steps", type=whole(1), metavar="N", help=f"steps of an epoch (default: {usual.steps})")
    add("--batch", type=whole(1), metavar="N", help=f"chips of a step (default: {usual.batch})")
    add("--rate", type=_positive, metavar="X", help=f"highest learning rate (default: {usual.rate:g})")
    add("--schedule", choices=SCHEDULES, help=f"how it falls (default: {usual.schedule})")
    add("--warm-up", type=whole(0), metavar="N", help="steps in which it rises first (default: 0)")
    add("--optimizer", choices=OPTIMIZERS, help=f"(default: {usual.optimizer})")
    add("--weight-decay", type=number(0), metavar="X", help="(default: 0)")
    add("--clip", type=_positive, metavar="X", help="norm that gradients are cut to (default: never)")
    add("--loss", type=text, metavar="TEXT",
        help=f"sum of {', '.join(LOSSES)}, each with a factor or not, such as 0.5*focal+dice; "
        f"cross_entropy:border weighs gaps between things (default: {usual.loss})")  # fmt: skip
    add("--class-weights", type=_weights, metavar="a,b|balanced", help="factor of each class in the loss")
    add("--freeze-epochs", type=whole(0), metavar="N", help="epochs in which the encoder rests (default: 0)")
    add(
        "--freeze-norm",
        action="store_const",
        const=True,
        help="leave normalization of the encoder as it came",
    )
    add("--patience", type=whole(1), metavar="N",
        help="epochs without a better validation after which it ends (default: never)")  # fmt: skip
    add("--average", type=number(0), metavar="X", help="momentum of averaged weights (default: none)")
    add("--seed", type=whole(0), metavar="N", help="seed of all that is random (default: 0)")


def _add_run(group: Any) -> None:
    add = group.add_argument
    add_config(group)
    add(
        "--work",
        type=path,
        metavar="DIR",
        help="folder of state, logs and pictures (default: OUTPUT.training)",
    )
    add("--restart", action="store_true", help="begin anew where a training was begun before")
    add("--tensorboard", action="store_true", help="write logs for TensorBoard, too")
    add("--pictures", type=whole(0), default=8, metavar="N",
        help="validation chips on the picture of each epoch (default: 8)")  # fmt: skip
    add("--force", action="store_true", help="replace a bundle that is there")
    add(
        "--dry-run",
        action="store_true",
        help="say what would be done, and do nothing; the network is not built",
    )


RECIPE = (
    "epochs", "steps", "batch", "rate", "schedule", "warm_up", "optimizer", "weight_decay", "clip", "loss",
    "class_weights", "freeze_epochs", "freeze_norm", "patience", "average", "seed",
)  # fmt: skip
"""Options that are fields of a recipe."""


def _floats(text: str, mark: str = ",") -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(mark))


_positive = checked(float, lambda value: 0 < value < float("inf"), "a number above 0")
_share = checked(float, lambda value: 0 < value < 1, "a share above 0 and below 1")
_range = checked(
    lambda text: _floats(text, "-") * (1 if "-" in text else 2),
    lambda ends: len(ends) == 2 and 0 < ends[0] <= ends[1] < float("inf"),
    "a range such as 0.5-2",
    holds=float,
    mark="-",
)
_weights = checked(
    lambda text: text if text == "balanced" else _floats(text),
    lambda value: value == "balanced" or all(0 <= one < float("inf") for one in value),
    "a list of factors such as 1,2 or balanced",
    holds=float,
    mark=LIST_MARK,
)
