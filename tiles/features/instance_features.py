"""Build polygons of instances: traced like label maps, one GeoJSON feature each; they may overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np

from terraseam.tiles.features.feature_texts import FeatureTexts
from terraseam.tiles.features.features import (
    Feature,
    FeatureOptions,
    feature_id,
    group_wkb,
    significant,
    touches_edge,
)
from terraseam.tiles.features.outlines import fill_small_holes, outline
from terraseam.tiles.features.valid_output import repaired_features
from terraseam.tiles.features.validity import keep_valid
from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.resolve import Part, ResolvedInstance
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.regularize import Regularized, regularize
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.simplify import simplify
from terraseam.tiles.regions.tolerance import Tolerance
from terraseam.tiles.regions.trace import SheetTrace, trace_sheet

INSIDE = 1
"""The label of an instance while it is traced."""

_KEEP = np.arange(256) == INSIDE


def trace_instance(instance: ResolvedInstance, lattice: Lattice) -> Regions:
    """Trace the 4-connected regions of an instance in order of their first pixels, one core in memory at a time."""
    if len(instance.parts) == 1:
        ((window, mask),) = instance.parts
        regions = _trace(np.pad(mask, 1), window).closed
    else:
        parts = dict(zip(instance.cores, instance.parts, strict=True))
        traces = {core: _trace(_framed(parts, core, lattice), lattice.core_window(*core)) for core in parts}
        homes = merge_seams({core: trace.summary for core, trace in traces.items()})
        joined = close_regions((trace.fragments, homes[core]) for core, trace in traces.items())
        regions = Regions.concatenate([*(trace.closed for trace in traces.values()), joined]).ordered()
    return replace(regions, labels=np.full(len(regions), instance.label, np.int64))


def _framed(parts: Mapping[tuple[int, int], Part], core: tuple[int, int], lattice: Lattice) -> np.ndarray:
    """Return the mask of an instance on a core and one pixel around it: bool, shape ``(height + 2, width + 2)``."""
    row, col = core
    own = lattice.core_window(*core)
    around = Window(own.row_off - 1, own.col_off - 1, own.height + 2, own.width + 2)
    canvas = np.zeros(around.shape, bool)
    for place in product((row - 1, row, row + 1), (col - 1, col, col + 1)):
        if place in parts:
            window, mask = parts[place]
            shared = window.intersection(around)
            if shared is not None:
                canvas[shared.within(around)] |= mask[shared.within(window)]
    return canvas


def _trace(framed: np.ndarray, window: Window) -> SheetTrace:
    labels = framed.astype(np.uint8) * np.uint8(INSIDE)
    return trace_sheet(labels, np.zeros(window.shape, np.uint8), (window.row_off, window.col_off), _KEEP)


def instance_features(
    instances: Sequence[ResolvedInstance],
    lattice: Lattice,
    georef: Georef,
    options: FeatureOptions,
    tolerance: Tolerance | None = None,
) -> list[Feature]:
    """Build one GeoJSON feature for each instance that is large enough, in order of their first pixels.

    Geometry and properties are those of `features`; an instance of several regions is a MultiPolygon. Instances may
    overlap, so each is simplified by itself if a tolerance is given.

    Raises:
        ValueError: If a vertex lies outside the area of the raster's CRS.
    """
    exact = [trace_instance(instance, lattice) for instance in instances]
    traced = exact
    if tolerance is not None:
        traced = [simplify(regions, Corners.of(regions.coords), tolerance) for regions in exact]
    exact, filled = _filled(exact, traced, georef, options.fill_holes_m2)
    whole = Regions.concatenate(filled)
    squared = _regularized(exact, whole, georef) if options.regularized else None
    shown = whole if squared is None else squared.regions
    outlines = outline(shown, georef)
    texts = FeatureTexts(outlines, np.arange(len(shown))) if options.text else None
    groups = np.cumsum([0, *(len(regions) for regions in filled)])
    repaired = repaired_features(shown, groups, outlines) if options.text else {}
    owned = [range(start, end) for start, end in pairwise(groups.tolist())]
    areas, perimeters = (
        significant([measure[own.start : own.stop].sum() for own in owned])
        for measure in (outlines.areas_m2, outlines.perimeters_m)
    )
    features = []
    for n, (instance, regions, own) in enumerate(zip(instances, traced, owned, strict=True)):
        area = areas[n]
        name = options.name_of(instance.label)
        properties: dict[str, Any] = {
            "class": name,
            "score": round(instance.score / 255, 4),
            "area_m2": area,
            "perimeter_m": perimeters[n],
            "raster": options.raster,
            "touches_edge": bool(touches_edge(regions, georef).any()),
            **(squared.properties(*own) if squared else {}),
        }
        if options.keeps(area, instance.score / 255):
            first = (int(regions.first[0, 0]), int(regions.first[0, 1]))
            identity = feature_id(options.raster, name, first, int(regions.pixels.sum()))
            text = texts.feature(own, identity, properties, repaired.get(n)) if texts else b""
            wkb = _wkb(shown.take(np.array(own)), georef) if options.wkb else b""
            features.append(Feature(first, identity, properties, text, wkb))
    return sorted(features, key=lambda feature: feature.order)


def _filled(
    exact: Sequence[Regions], traced: Sequence[Regions], georef: Georef, least_m2: float
) -> tuple[list[Regions], list[Regions]]:
    """Fill small holes of instances, along pixel edges and as shown, and drop the regions covered by that."""
    closer, shown = [], []
    for pixel_regions, traced_regions in zip(exact, traced, strict=True):
        whole = np.array([0, len(traced_regions)])
        filled, free = fill_small_holes(traced_regions, georef, least_m2, whole)
        left = np.flatnonzero(free)
        closer.append(fill_small_holes(pixel_regions, georef, least_m2, whole)[0].take(left))
        shown.append(filled.take(left))
    return closer, shown


def _regularized(exact: Sequence[Regions], shown: Regions, georef: Georef) -> Regularized:
    around = Neighbourhood(Regions.concatenate(exact))
    size = georef.height, georef.width
    squared = regularize(around, georef.ground_steps(), size, shown, overlapping=True)
    return keep_valid(squared, shown, np.cumsum([0, *map(len, exact)]), georef)


def _wkb(regions: Regions, georef: Georef) -> bytes:
    """Return the regions of an instance as one MultiPolygon in the raster's CRS."""
    (wkb,) = group_wkb(regions, np.array([0, len(regions)]), georef, in_parts=True)
    return bytes(wkb)
