"""Plan a training, or raise every reason why it cannot start, without importing Keras or TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from terraseam.models.training.recipe import Recipe, RecipeError
from terraseam.models.zoo import Row, ZooError
from terraseam.pipeline.errors import ArgumentError, TrainError
from terraseam.pipeline.inputs.networks import find_row
from terraseam.pipeline.inputs.remote_rasters import hidden_notes
from terraseam.pipeline.options.train import TrainOptions
from terraseam.pipeline.storage.servers import prepare
from terraseam.pipeline.storage.watched_files import WatchedFiles
from terraseam.pipeline.training.checks import (
    band_name_reasons,
    class_reasons,
    file_reasons,
    gsd_notes,
    gsd_reasons,
    instance_reasons,
    label_value_notes,
    left_out_notes,
    overlap_notes,
    picture_reasons,
    recipe_reasons,
    same_bands,
    twice_reasons,
)
from terraseam.pipeline.training.chips import ChipMaker, ValidationChips, instances_in, middle_alone
from terraseam.pipeline.training.classes import TrainingClasses
from terraseam.pipeline.training.labelled import Findings, Labelled, LabelReader
from terraseam.pipeline.training.split import Parts, Reading, set_apart, validation_chips
from terraseam.pipeline.training.value_range import Values, values_of
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.raster.band_order import colours_of_bands
from terraseam.tiles.truth.sampling import Sampler, SamplingRule, Site
from terraseam.tiles.truth.scene import IGNORED

USUAL_BANDS = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "infrared")}
"""Default band names, by number of bands."""
WEIGHED = 200
"""Number of chips whose labels are counted for balanced class weights."""


@dataclass(frozen=True)
class TrainPlan:
    """The plan of a training.

    Attributes:
        options: The options of the training.
        row: The network.
        recipe: The hyperparameters.
        classes: Its classes.
        bands: Bands to read, numbered from 1.
        gsd: Ground sample distance of the chips, in metres per pixel.
        values: Mapping of raster values to 0 to 255.
        train: Training rasters.
        chips: Source of training chips.
        validation: Validation chips.
        findings: Findings from reading the files.
        watched: The files that are read throughout the training.
    """

    options: TrainOptions
    row: Row
    recipe: Recipe
    classes: TrainingClasses
    bands: tuple[int, ...]
    gsd: float
    values: Values
    train: tuple[Labelled, ...]
    chips: ChipMaker
    validation: ValidationChips
    findings: Findings
    watched: tuple[WatchedFiles, ...] = ()

    @property
    def band_names(self) -> tuple[str, ...]:
        """Band names for the card: the given ones, else those in the files, else defaults for their number."""
        count = len(self.bands)
        numbered = tuple(f"band {number}" for number in range(1, count + 1))
        colours = colours_of_bands(self.train[0].info.band_descriptions)
        own = tuple(name for band in self.bands if (name := colours[band - 1]) is not None)
        known = own if len(set(own)) == count else None
        return self.options.band_names or known or USUAL_BANDS.get(count, numbered)

    @property
    def instances(self) -> bool:
        """Whether the network is a detector."""
        return self.row.task == "instances"


def plan_training(options: TrainOptions) -> TrainPlan:
    """Plan a training.

    Raises:
        TrainError: If it cannot start, with every reason.
    """
    row, recipe, reasons = _network(options)
    findings, truths = Findings(), options.truths
    named = (*truths.images, *truths.labels, *truths.val_images, *truths.val_labels)
    allow_sources(truths.allow_sources)
    verify_blocks(truths.verify)
    prepare((*named, truths.aoi, truths.val_aoi))
    reader = LabelReader(truths, findings)
    train = reader.labelled(truths.images, truths.labels, "")
    val = reader.labelled(truths.val_images, truths.val_labels, "val-") if truths.val_images else []
    reasons += findings.reasons
    classes = reader.classes
    if train and classes is not None:
        reasons += class_reasons(classes, train, findings, options)
        reasons += [
            *instance_reasons(row, train),
            *recipe_reasons(row, recipe, classes),
            *twice_reasons(truths, train, val),
            *picture_reasons([*train, *val]),
        ]
    if reasons or row is None or recipe is None or classes is None:
        raise TrainError(reasons)
    if not train:
        raise TrainError(["no raster with labels is left to train on"])
    if truths.val_images and not val:
        raise TrainError(
            ["no raster with labels is left to validate on: check --val-images and --val-labels"]
        )
    return _composed(_Settings(options, row, recipe, classes), train, val, findings)


@dataclass(frozen=True)
class _Settings:
    """The resolved options of a training."""

    options: TrainOptions
    row: Row
    recipe: Recipe
    classes: TrainingClasses


def _composed(
    settings: _Settings, train: list[Labelled], val: list[Labelled], findings: Findings
) -> TrainPlan:
    """Compose the plan from rasters that could be read.

    Raises:
        TrainError: If the rasters differ too much, or hold too few labels.
    """
    options, row, recipe = settings.options, settings.row, settings.recipe
    names = (
        options.band_names if len(set(options.band_names or ())) == len(options.band_names or ()) else None
    )
    bands = same_bands([*train, *val], options.truths, names)
    gsd = options.chips.gsd or float(f"{np.median([raster.gsd for raster in train]):.3g}")
    reasons = [*band_name_reasons(options.band_names, bands), *gsd_reasons(gsd, [*train, *val])]
    if reasons:
        raise TrainError(reasons)
    reading = Reading(bands, values_of(train, bands), row.task == "instances")
    parts = set_apart(options.chips, train, gsd, recipe.seed, reading) if not val else Parts(
        train, [reading.scene(raster) for raster in train], [(raster, reading.scene(raster)) for raster in val]
    )  # fmt: skip
    findings.notes += [
        *hidden_notes([findings]),
        *gsd_notes(gsd, parts.rasters),
        *overlap_notes(train, val),
        *label_value_notes(settings.classes, [*train, *val]),
    ]
    chips = _chip_maker(settings, parts, gsd, reading)
    validation = validation_chips(parts.validation, gsd, row.stride, options.chips.chip, reading)
    if not val and options.chips.split == "block":
        validated = {validation.scenes[site].name for site, _ in validation.views}
        findings.notes += left_out_notes(train, validated)
    _check_labels(chips, options)
    _check_instances(validation)
    unseen = ", ".join(_unseen(validation, settings.classes))
    if unseen:
        findings.notes.append(
            f"the validation data has no labels of {unseen}, so its accuracy cannot be measured"
        )
    recipe = _weighted(recipe, options, chips, len(settings.classes.names))
    watched = tuple(files for raster in [*train, *val] for files in raster.watched)
    return TrainPlan(
        options, row, recipe, settings.classes, bands, gsd, reading.values, tuple(parts.rasters), chips,
        validation, findings, watched,
    )  # fmt: skip


def _chip_maker(settings: _Settings, parts: Parts, gsd: float, reading: Reading) -> ChipMaker:
    chips = settings.options.chips
    rule = SamplingRule(chips.chip, gsd, chips.objects, chips.scale_range, chips.stretch, chips.balance)
    sites = [Site(raster.info.georef, raster.truth, raster.gsd, raster.parts) for raster in parts.rasters]
    if not any(site.pixels for site in sites):
        raise TrainError([_nothing_learned(settings.options)])
    sampler = Sampler(sites, rule, settings.recipe.seed)
    borders = settings.recipe.wants_borders and not reading.instances
    return ChipMaker(parts.scenes, sampler, reading.values, chips.symmetries, borders, reading.instances)


def _network(options: TrainOptions) -> tuple[Row | None, Recipe | None, list[str]]:
    """Return the network and the recipe, None for invalid ones, and reasons about them and about files."""
    row, recipe, reasons = None, None, []
    try:
        row = find_row(options.architecture, options.encoder)
        if options.chips.chip % row.stride:
            reasons.append(
                f"--chip-size {options.chips.chip} is not a multiple of {row.stride} px, the stride of "
                f"{row.architecture}; use {-(-options.chips.chip // row.stride) * row.stride}"
            )
    except (ArgumentError, ZooError) as error:
        reasons.append(str(error))
    try:
        settings = {name: value for name, value in options.recipe.items() if value != "balanced"}
        recipe = Recipe(**settings)  # type: ignore[arg-type]
    except RecipeError as error:
        reasons += str(error).splitlines()
    if options.chips.objects > 1:
        reasons.append(f"--object-fraction {options.chips.objects:g} must be 0 to 1")
    reasons += file_reasons(options)
    return row, recipe, reasons


def _check_labels(chips: ChipMaker, options: TrainOptions) -> None:
    """Check on some chips that there are labels.

    Raises:
        TrainError: If none of them has a label.
    """
    if any((chips.labels(number) != IGNORED).any() for number in range(16)):
        return
    raise TrainError([_nothing_learned(options)])


def _nothing_learned(options: TrainOptions) -> str:
    """Return the reason why there is nothing to learn from."""
    where = f"inside --aoi {options.truths.aoi}" if options.truths.aoi else "on the rasters"
    return f"nothing {where} has a label, so there is nothing to learn from"


def _check_instances(validation: ValidationChips) -> None:
    """Check that the validation chips of a detector have an instance.

    Raises:
        TrainError: If they have none.
    """
    if not validation.instances:
        return
    for site, view in validation.views:
        scene = validation.scenes[site]
        if instances_in(scene.truth, view, scene.labels(view)):
            return
    raise TrainError(
        [
            "the validation chips hold no instances; raise --val-fraction, change --block-size, or give --val-images"
        ]
    )


def _unseen(validation: ValidationChips, classes: TrainingClasses) -> list[str]:
    """Return the names of classes in no validation chip; none for detectors."""
    left = set() if validation.instances else set(range(len(classes.names)))
    for site, view in validation.views:
        if not left:
            break
        left -= set(np.unique(middle_alone(validation.scenes[site].labels(view), validation.margin)).tolist())
    return [classes.names[label] for label in sorted(left)]


def _weighted(recipe: Recipe, options: TrainOptions, chips: ChipMaker, classes: int) -> Recipe:
    """Return the recipe with class weights; balanced ones use median frequency balancing.

    A weight is the median frequency divided by that of the class, measured over the chips in which it occurs, see
    https://arxiv.org/abs/1411.4734.
    """
    if options.recipe.get("class_weights") != "balanced":
        return recipe
    pixels, chip_pixels = np.zeros(classes), np.zeros(classes)
    for number in range(WEIGHED):
        labels = chips.labels(number)
        counted = np.bincount(labels[labels < classes], minlength=classes)
        pixels += counted
        chip_pixels += (counted > 0) * counted.sum()
    shares = np.divide(pixels, chip_pixels, out=np.ones(classes), where=chip_pixels > 0)
    weights = np.median(shares[pixels > 0]) / shares
    return replace(recipe, class_weights=tuple(round(float(weight), 4) for weight in weights))
