"""Check the options and data of a training; every reason why it cannot start is one sentence, as is every note."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from rasterio.enums import ColorInterp

from terraseam.models.bundle.card import Card, find_bundle
from terraseam.models.bundle.writing import check_target
from terraseam.models.errors import CardError
from terraseam.models.training.recipe import Recipe
from terraseam.models.zoo import Row
from terraseam.pipeline.errors import TrainError
from terraseam.pipeline.options.train import TrainOptions, Truths
from terraseam.pipeline.plan.reasons import folder_reason
from terraseam.pipeline.training.classes import TrainingClasses
from terraseam.pipeline.training.label_values import value_notes, value_reasons
from terraseam.pipeline.training.labelled import Findings, Labelled
from terraseam.pipeline.units import count, format_gsd, listed
from terraseam.tiles.raster.band_order import colours_of_bands, order_bands
from terraseam.tiles.raster.inspect import RasterInfo
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.truth.polygons import PolygonTruth
from terraseam.tiles.vectors.placing import footprint, parts_of, polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile

FAR = 4.0
"""Factor between the GSD of a raster and that of the chips above which the user gets a note."""
FARTHEST = 16.0
"""Factor above which the GSD is refused as a mistake."""
LEAST_SHARED_PX = 1.0
"""Pixels that areas of training and validation share above which the user gets a note; some share an edge."""


def file_reasons(options: TrainOptions) -> list[str]:
    """Return a reason for each missing file, unusable bundle and folder that cannot be written."""
    reasons: list[str | None] = []
    weights = options.encoder_weights
    if weights not in (None, "imagenet") and not Path(str(weights)).is_file():
        reasons.append(
            f"--encoder-weights {weights} is not a file; name a Keras .weights.h5 file, or imagenet"
        )
    try:
        if options.initial_bundle is not None:
            Card.read(find_bundle(options.initial_bundle))
    except CardError as error:
        reasons.append(f"--initial-bundle {options.initial_bundle}: {error}")
    try:
        check_target(Path(options.output), options.force)
    except CardError as error:
        reasons.append(str(error))
    if not Path(options.output).is_file():  # else `check_target` reports it
        reasons.append(folder_reason("--output", options.output))
    if options.work is not None:
        reasons.append(folder_reason("--work", options.work))
    return [reason for reason in reasons if reason]


def recipe_reasons(row: Row | None, recipe: Recipe | None, classes: TrainingClasses | None) -> list[str]:
    """Return which settings of a recipe do not fit the network or the classes."""
    reasons = []
    if row and recipe and not row.encoder and (recipe.freeze_epochs or recipe.freeze_norm):
        reasons.append(
            f"{row.architecture} has no pretrained encoder to freeze; leave out --freeze-epochs and "
            "--freeze-norm, or choose an --encoder"
        )
    weights = recipe.class_weights if recipe else None
    if weights and classes and len(weights) != len(classes.names):
        reasons.append(
            f"--class-weights has {len(weights)} factors for {len(classes.names)} classes; give one for each of "
            f"{', '.join(classes.names)}"
        )
    return reasons


def same_bands(labelled: Sequence[Labelled], options: Truths, names: Sequence[str] | None) -> tuple[int, ...]:
    """Return the bands to read from all rasters.

    Args:
        labelled: The rasters.
        options: The options for rasters and labels.
        names: Band names given by the user; None if there are none.

    Raises:
        TrainError: If rasters differ in bands or type, or lack a chosen band.
    """
    first = labelled[0].info
    bands = options.bands or (
        order_bands(first.band_descriptions, names).bands if names else first.colour_bands
    )
    reasons = [] if options.bands else _order_reasons([raster.info for raster in labelled], names)
    for raster in labelled:
        info = raster.info
        if options.bands and max(options.bands) > info.bands:
            reasons.append(
                f"{info.path} has {count(info.bands, 'band')}; --bands names band {max(options.bands)}"
            )
        elif not options.bands and len(info.colour_bands) != len(first.colour_bands):
            reasons.append(
                f"{info.path} has {count(len(info.colour_bands), 'band')}, but {first.path} has "
                f"{len(first.colour_bands)}; choose bands that all have with --bands"
            )
        if info.dtype != first.dtype:
            reasons.append(
                f"{info.path} is {info.dtype}, but {first.path} is {first.dtype}; convert them to one type"
            )
    if reasons:
        raise TrainError(reasons)
    return tuple(bands)


def _order_reasons(infos: Sequence[RasterInfo], names: Sequence[str] | None) -> list[str]:
    """Return a reason for each raster whose band descriptions contradict the given names, or the first raster."""
    advice = "reorder them with gdal_translate -b, or choose them with --bands"
    if names:
        orders = [order_bands(info.band_descriptions, names) for info in infos]
        return [
            f"the bands of {info.path} are {', '.join(order.descriptions)}, by their {order.source}, unlike "
            f"{', '.join(names)} of the others; {advice}"
            for info, order in zip(infos, orders, strict=True)
            if order.wrong or (order.bands != orders[0].bands and len(order.bands) == len(names))
        ]
    first = colours_of_bands(infos[0].band_descriptions)
    return [
        f"the bands of {info.path} are {', '.join(map(str, own))}, and those of {infos[0].path} "
        f"{', '.join(map(str, first))}, according to the files; {advice}"
        for info in infos
        if len(own := colours_of_bands(info.band_descriptions)) == len(first)
        and any(
            None not in (colour, other) and colour != other for colour, other in zip(own, first, strict=True)
        )
    ]


def band_name_reasons(names: Sequence[str] | None, bands: Sequence[int]) -> list[str]:
    """Return the reason if band names are not unique or do not match the number of bands."""
    if names is None or (len(names) == len(bands) and len(set(names)) == len(names)):
        return []
    if len(names) == len(bands):
        return [f"--band-names {','.join(names)} names a band twice; give each a unique name"]
    return [f"--band-names has {len(names)} names for {len(bands)} bands; give one for each"]


def gsd_reasons(gsd: float, rasters: Sequence[Labelled]) -> list[str]:
    """Return the reason if the GSD of the chips is too far from that of every raster."""
    own = [raster.gsd for raster in rasters]
    if any(1 / FARTHEST <= raster_gsd / gsd <= FARTHEST for raster_gsd in own):
        return []
    between = " to ".join(dict.fromkeys(format_gsd(raster_gsd) for raster_gsd in (min(own), max(own))))
    return [
        f"--gsd {gsd:g} is out of range for these rasters: they have {between}; "
        f"choose one that is within {FARTHEST:g} times of it"
    ]


def gsd_notes(gsd: float, rasters: Sequence[Labelled]) -> list[str]:
    """Return a note on each raster whose GSD is far from that of the chips."""
    return [
        f"{raster.info.path} has a GSD of {format_gsd(raster.gsd)}, far from the {format_gsd(gsd)} of training"
        for raster in rasters
        if not 1 / FAR <= raster.gsd / gsd <= FAR
    ]


def class_reasons(
    classes: TrainingClasses, train: Sequence[Labelled], findings: Findings, options: TrainOptions
) -> list[str]:
    """Return the reason if named classes do not occur in the labels."""
    where = " inside --aoi" if options.truths.aoi else ""
    if not isinstance(train[0].truth, PolygonTruth):
        return value_reasons(classes, _pixels(train), where)
    counts = np.sum([raster.truth.counts() for raster in train], axis=0)
    missing = [name for name in classes.foreground if not counts[classes.names.index(name)]]
    if not missing:
        return []
    if options.truths.class_property is None:
        return [f"no label of {', '.join(missing)} lies on any training raster{where}"]
    others = [name for name, _ in findings.others.most_common(5)]
    hint = f"; {options.truths.class_property} is also {', '.join(others)}" if others else ""
    return [f"no polygon of {', '.join(missing)} lies on any training raster{where}{hint}"]


def _pixels(labelled: Sequence[Labelled]) -> Counter[float]:
    """Return the number of pixels of each value in all label rasters together, inside the area of interest."""
    return sum((Counter(raster.values) for raster in labelled), Counter())


def label_value_notes(classes: TrainingClasses, labelled: Sequence[Labelled]) -> list[str]:
    """Return notes on unexpected or rare values of label rasters; none for polygons."""
    if not isinstance(labelled[0].truth, RasterTruth):
        return []
    places = np.sum([raster.truth.counts() for raster in labelled], axis=0)
    return value_notes(classes, _pixels(labelled), places)


def picture_reasons(labelled: Sequence[Labelled]) -> list[str]:
    """Return a reason for each label raster that has several bands, like an image."""
    reasons = []
    for raster in labelled:
        if isinstance(raster.truth, RasterTruth):
            with open_raster(raster.truth.path) as dataset:
                bands = sum(kind != ColorInterp.alpha for kind in dataset.colorinterp)
            if bands > 1:
                reasons.append(
                    f"{raster.truth.path} has {count(bands, 'band')}, but a label raster has one, of whole numbers; "
                    "give the raster of labels with --labels"
                )
    return reasons


def left_out_notes(rasters: Sequence[Labelled], validated: set[str]) -> list[str]:
    """Return a note on rasters without a validation block."""
    without = [raster.name for raster in rasters if raster.name not in validated]
    return [
        f"validation is on {len(rasters) - len(without)} of {count(len(rasters), 'raster')} only, not on "
        f"{listed(without, 4)}: choose a smaller --block-size, or give --val-images"
    ] * bool(without)


def instance_reasons(row: Row | None, train: Sequence[Labelled]) -> list[str]:
    """Return the reason if a detector has label rasters, as it needs polygons."""
    if row is None or row.task != "instances" or isinstance(train[0].truth, PolygonTruth):
        return []
    return [f"{row.architecture} finds instances and needs polygons as labels, not label rasters"]


def overlap_notes(train: Sequence[Labelled], val: Sequence[Labelled]) -> list[str]:
    """Return a note on each training raster that overlaps a validation raster, inside the areas of both."""
    grounds = [
        footprint(raster.info.path, raster.info.georef)
        if raster.parts is None
        else parts_of(raster.info.path, raster.info.georef, raster.parts)
        for raster in val
    ]
    return [
        f"{_overlap(raster.info.path, ground.path)}: validation figures will be too good"
        for raster in train
        for ground in grounds
        if _shared_pixels(raster, ground) >= LEAST_SHARED_PX
    ]


def _overlap(train: str, val: str) -> str:
    if os.path.realpath(train) == os.path.realpath(val):
        return f"--aoi and --val-aoi overlap on {train}"
    return f"{train} overlaps the validation raster {val}"


def _shared_pixels(raster: Labelled, ground: PolygonFile) -> float:
    """Return how many pixels of a raster, inside its area, lie on some ground."""
    georef = raster.info.georef
    whole = [shapely.box(0, 0, georef.width, georef.height)]
    own = shapely.union_all(whole if raster.parts is None else raster.parts)
    return float(shapely.area(shapely.intersection(polygons_to_pixels(ground, georef).polygons, own)).sum())


def twice_reasons(options: Truths, train: Sequence[Labelled], val: Sequence[Labelled]) -> list[str]:
    """Return a reason for each raster used for both training and validation, unless the areas differ."""
    if options.aoi is not None and options.val_aoi is not None and options.aoi != options.val_aoi:
        return []
    train_paths = {os.path.realpath(raster.info.path) for raster in train}
    both = [raster.info.path for raster in val if os.path.realpath(raster.info.path) in train_paths]
    return [
        f"{path} is in both --images and --val-images, but training data cannot validate; leave it out of one, or "
        "give --aoi and --val-aoi with different parts of it"
        for path in both
    ]
