"""Options of ``terraseam train``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

from terraseam.models.training.recipe import LOSSES, OPTIMIZERS, SCHEDULES, Recipe
from terraseam.pipeline.declarations.option import Option, bound, shown
from terraseam.pipeline.declarations.values import (
    LIST_MARK,
    any_text,
    bands,
    checked,
    label_values,
    names,
    number,
    path,
    path_or_name,
    path_to_write,
    positive,
    setting,
    whole,
)
from terraseam.pipeline.options.segment import INPUT, RUN, AllowSources, Verify

DEFAULT_CHIP = 256
BLOCK_CHIPS = 4
"""Side of a validation block where none is said, in chips."""

LABELS, VALIDATION, CHIPS, NETWORK, RECIPE_GROUP = (
    "labels",
    "validation",
    "chips",
    "network and bundle",
    "recipe",
)
"""Headings of options in `--help`."""


def _floats(text: str, mark: str = LIST_MARK) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(mark))


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
    lambda value: value == "balanced" or all(0 <= weight < float("inf") for weight in value),
    "a list of factors such as 1,2 or balanced",
    holds=float,
    mark=LIST_MARK,
)


@dataclass(frozen=True, slots=True)
class Truths:
    """What is true, and where; each `Option` says what its field holds, and the unit."""

    images: Annotated[
        tuple[str, ...],
        Option("training rasters: paths, directories or globs", path, "GLOB", repeats="words"),
    ]
    labels: Annotated[
        tuple[str, ...], Option("polygons or label rasters: paths or globs", path, "GLOB", repeats="words")
    ]
    classes: Annotated[
        tuple[str, ...], Option("classes of the polygons or of the label raster values", names, "a,b")
    ]
    class_property: Annotated[
        str | None,
        Option(
            "attribute with the class of each polygon",
            any_text,
            "NAME",
            group=LABELS,
            default_help="all are of the only class",
        ),
    ] = None
    background: Annotated[
        str | None,
        Option(
            "background class: what no polygon covers; for label rasters one of the classes, or none",
            any_text,
            "NAME",
            group=LABELS,
            default_help="background, else the first class of label rasters",
        ),
    ] = None
    label_values: Annotated[
        tuple[int, ...] | None,
        Option(
            "label raster values, in the order of the classes",
            label_values,
            "0,1,2",
            group=LABELS,
            default_help="0, 1, ...",
        ),
    ] = None
    aoi: Annotated[
        str | None,
        Option(
            "area of interest: chips and validation blocks are chosen inside these polygons, pixels outside are ignored",
            path,
            "FILE",
            group=INPUT,
        ),
    ] = None
    allow_sources: AllowSources = ()
    verify: Verify = True
    val_images: Annotated[
        tuple[str, ...],
        Option("validation rasters", path, "GLOB", group=VALIDATION, repeats="words"),
    ] = ()
    val_labels: Annotated[
        tuple[str, ...],
        Option("labels of the validation rasters", path, "GLOB", group=VALIDATION, repeats="words"),
    ] = ()
    val_aoi: Annotated[
        str | None,
        Option(
            "area of interest on the validation rasters: pixels outside these polygons are ignored",
            path,
            "FILE",
            group=VALIDATION,
        ),
    ] = None
    bands: Annotated[
        tuple[int, ...] | None,
        Option(
            "bands to read, numbered from 1",
            bands,
            "1,2,3",
            group=INPUT,
            default_help="all but alpha",
        ),
    ] = None
    on_error: Annotated[
        str,
        Option(
            "fail on or skip files that cannot be read; skip first reads every raster once",
            group=RUN,
            choices=("fail", "skip"),
        ),
    ] = "fail"


@dataclass(frozen=True, slots=True)
class Chips:
    """Which chips are drawn; each `Option` says what its field holds, and the unit."""

    gsd: Annotated[
        float | None,
        Option(
            "ground sample distance (GSD) to train at, in metres per pixel",
            positive,
            "M",
            group=CHIPS,
            default_help="median GSD of the rasters",
        ),
    ] = None
    chip: Annotated[
        int, Option("side of a chip", whole(1), "PX", group=CHIPS, name="chip-size", former=("chip",))
    ] = DEFAULT_CHIP
    split: Annotated[
        str,
        Option(
            "what to hold out for validation without --val-images: equal blocks of the rasters, or whole rasters",
            group=VALIDATION,
            choices=("block", "raster"),
        ),
    ] = "block"
    val_share: Annotated[
        float,
        Option(
            "fraction to hold out",
            _share,
            "X",
            group=VALIDATION,
            name="val-fraction",
            former=("val-share",),
        ),
    ] = 0.2
    block_size: Annotated[
        float | None,
        Option(
            "longest side of the blocks, in metres",
            positive,
            "M",
            group=VALIDATION,
            default_help=f"side of {BLOCK_CHIPS} chips",
        ),
    ] = None
    objects: Annotated[
        float,
        Option(
            "fraction of chips centred on objects",
            number(0),
            "X",
            group=CHIPS,
            name="object-fraction",
            former=("objects",),
        ),
    ] = 0.5
    balance: Annotated[
        float,
        Option(
            "sample rasters by area to this power: 1 weights all ground equally, 0 all rasters",
            number(0),
            "X",
            group=CHIPS,
        ),
    ] = 0.5
    scale_range: Annotated[
        tuple[float, float],
        Option("range of random magnification", _range, "A-B", group=CHIPS, default_help="0.75-1.5"),
    ] = (0.75, 1.5)
    stretch: Annotated[
        float, Option("largest random ratio between height and width", number(1), "X", group=CHIPS)
    ] = 1.1
    symmetries: Annotated[bool, Option("do not rotate or flip chips", group=CHIPS, name="no-symmetries")] = (
        True
    )
    augmentation: Annotated[
        float,
        Option(
            "strength of photometric augmentation (colour, brightness, blur and noise); 0 for none",
            number(0),
            "X",
            group=CHIPS,
            former=("looks",),
        ),
    ] = 1.0

    def record(self) -> dict[str, object]:
        """Return the fields by the names that cards have for them."""
        return {"looks" if name == "augmentation" else name: value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Options of ``terraseam train``; each `Option` says what its field holds, and the unit.

    Attributes:
        truths: What is true, and where.
        chips: Which chips are drawn.
        recipe: Fields of `terraseam.models.training.recipe.Recipe` that were said; ``class_weights`` may be ``balanced``.
    """

    truths: Truths
    chips: Chips
    architecture: Annotated[str, Option("network, as listed by `terraseam models list`", any_text, "NAME")]
    encoder: Annotated[str | None, Option("encoder of the network, or none", any_text, "NAME")] = None
    output: Annotated[str, Option("folder of the bundle to write", path_to_write, "BUNDLE")]
    recipe: Mapping[str, object] = field(default_factory=dict)
    encoder_weights: Annotated[
        str | None,
        Option(
            "initial weights of the encoder",
            path_or_name,
            "FILE|imagenet",
            group=NETWORK,
            default_help="random",
        ),
    ] = None
    settings: Annotated[
        Mapping[str, int | float],
        Option(
            "further argument of the network builder, such as decoder_width=32; can be repeated",
            setting,
            "NAME=VALUE",
            group=NETWORK,
            name="set",
            repeats="again",
        ),
    ] = field(default_factory=dict)
    initial_bundle: Annotated[
        str | None,
        Option(
            "bundle to start from: its weights are used for layers of the same name and shape",
            path_or_name,
            "BUNDLE",
            group=NETWORK,
            former=("start",),
        ),
    ] = None
    fp16_weights: Annotated[
        bool,
        Option(
            "round weights to half precision (float16), for half the size; the effect is measured",
            group=NETWORK,
            former=("half",),
        ),
    ] = False
    name: Annotated[
        str | None,
        Option("name of the bundle", any_text, "TEXT", group=NETWORK, default_help="name of its folder"),
    ] = None
    version: Annotated[str, Option("version of the bundle", any_text, "TEXT", group=NETWORK)] = "1.0.0"
    license: Annotated[
        str, Option("licences of weights and data, for the model card", any_text, "TEXT", group=NETWORK)
    ] = "not stated"
    band_names: Annotated[
        tuple[str, ...] | None,
        Option("band names, for the model card", names, "red,green,...", group=NETWORK),
    ] = None
    work: Annotated[
        str | None,
        Option(
            "folder for state, logs and pictures",
            path_to_write,
            "DIR",
            group=RUN,
            default_help="OUTPUT.training",
        ),
    ] = None
    restart: Annotated[
        bool,
        Option(
            "start over instead of resuming an interrupted training",
            group=RUN,
            deletes=True,
        ),
    ] = False
    tensorboard: Annotated[bool, Option("also write TensorBoard logs", group=RUN)] = False
    pictures: Annotated[
        int,
        Option("validation chips in the picture of each epoch", whole(0), "N", group=RUN),
    ] = 8
    force: Annotated[bool, Option("overwrite an existing bundle", group=RUN, deletes=True)] = False
    dry_run: Annotated[
        bool,
        Option(
            "report what would be done without doing it; the network is not built",
            group=RUN,
        ),
    ] = False

    @property
    def work_folder(self) -> str:
        """Where state and logs are kept."""
        return self.work if self.work is not None else self.output.rstrip("/") + ".training"


RECIPE: Mapping[str, Option] = {
    "epochs": Option("maximum number of epochs", whole(1), "N"),
    "steps": Option("steps per epoch", whole(1), "N", name="steps-per-epoch", former=("steps",)),
    "batch": Option("chips per step", whole(1), "N", name="batch-size", former=("batch",)),
    "learning_rate": Option("peak learning rate", positive, "X", former=("rate",)),
    "schedule": Option("learning rate schedule", choices=SCHEDULES),
    "warm_up": Option(
        "initial steps over which the learning rate rises",
        whole(0),
        "N",
        name="warmup-steps",
        former=("warm-up",),
    ),
    "optimizer": Option("optimizer", choices=OPTIMIZERS),
    "weight_decay": Option("weight decay", number(0), "X"),
    "clip": Option(
        "norm to which gradients are clipped",
        positive,
        "X",
        default_help="no clipping",
        name="clip-norm",
        former=("clip",),
    ),
    "loss": Option(
        f"sum of {', '.join(LOSSES)}, each with an optional factor, such as 0.5*focal+dice; "
        "cross_entropy:border weights the gaps between objects",
        any_text,
        "TEXT",
    ),
    "class_weights": Option("weight of each class in the loss", _weights, "a,b|balanced", default_help="1"),
    "freeze_epochs": Option("number of epochs with a frozen encoder", whole(0), "N"),
    "freeze_norm": Option("freeze the encoder's batch normalization"),
    "patience": Option(
        "stop after this many epochs without improvement in validation", whole(1), "N", default_help="never"
    ),
    "ema": Option(
        "momentum of an exponential moving average (EMA) of the weights",
        number(0),
        "X",
        default_help="none",
        former=("average",),
    ),
    "seed": Option("random seed", whole(0), "N"),
}
"""Options by the field of `Recipe` that they set, whose default is theirs."""


def recipe_options() -> tuple[Option, ...]:
    """Return the options of the recipe; each is None where it is not given."""
    usual = Recipe()
    return tuple(
        bound(
            replace(
                option,
                group=RECIPE_GROUP,
                default_help=option.default_help or shown(getattr(usual, name)),
            ),
            name,
            flag=isinstance(getattr(usual, name), bool),
        )
        for name, option in RECIPE.items()
    )
