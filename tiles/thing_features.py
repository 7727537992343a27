"""Things as polygons: traced by the tracer of label maps, one GeoJSON feature each; they may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiles.close import close_regions
from tiles.features import Feature, FeatureOptions, feature_id, feature_json, significant
from tiles.geojson import Extent
from tiles.georef import Georef
from tiles.lattice import Lattice
from tiles.outlines import Outlines, outline
from tiles.regions import Regions
from tiles.seams import Seams, unite
from tiles.things import Thing
from tiles.trace import SheetTrace, trace_sheet
from tiles.window import Window

INSIDE = 1
"""The label that stands for a thing while it is traced."""

_KEEP = np.arange(256) == INSIDE
_ALONE = Seams(top=False, bottom=False, left=False, right=False)


def trace_thing(thing: Thing, lattice: Lattice) -> Regions:
    """The 4-connected regions of a thing, in the order of their first pixels; one core is in memory at a time."""
    if len(thing.parts) == 1:
        ((window, mask),) = thing.parts
        regions = _trace(mask, window, _ALONE).closed
    else:
        traces = {}
        for core, (window, mask) in zip(thing.cores, thing.parts, strict=True):
            whole = lattice.core_window(*core)
            canvas = np.zeros(whole.shape, bool)
            canvas[window.within(whole)] = mask
            traces[core] = _trace(canvas, whole, _seams(core, thing.cores))
        homes = unite({core: trace.summary for core, trace in traces.items()})
        joined = close_regions((trace.fragments, homes[core].first) for core, trace in traces.items())
        regions = Regions.concatenate([*(trace.closed for trace in traces.values()), joined]).ordered()
    return replace(regions, labels=np.full(len(regions), thing.label, np.uint8))


def _trace(mask: np.ndarray, window: Window, seams: Seams) -> SheetTrace:
    labels = mask.astype(np.uint8) * np.uint8(INSIDE)
    return trace_sheet(labels, np.zeros_like(labels), (window.row_off, window.col_off), seams, _KEEP)


def _seams(core: tuple[int, int], cores: Sequence[tuple[int, int]]) -> Seams:
    """The sides of a core on which another one has a part of the thing."""
    row, col = core
    return Seams(
        top=(row - 1, col) in cores,
        bottom=(row + 1, col) in cores,
        left=(row, col - 1) in cores,
        right=(row, col + 1) in cores,
    )


def thing_features(
    things: Sequence[Thing], lattice: Lattice, georef: Georef, options: FeatureOptions
) -> list[Feature]:
    """One GeoJSON feature for each thing that is large enough, in the order of their first pixels.

    Geometry and properties are those of `tiles.features.features`; a thing of several regions is a MultiPolygon.

    Raises:
        ValueError: If a vertex lies outside the area of the raster's CRS.
    """
    traced = [trace_thing(thing, lattice) for thing in things]
    outlines = outline(Regions.concatenate(traced), georef)
    ends = np.cumsum([len(regions) for regions in traced])
    made = []
    for thing, regions, end in zip(things, traced, ends.tolist(), strict=True):
        feature = _feature(thing, regions, outlines, range(end - len(regions), end), options)
        if feature.area_m2 >= options.min_area_m2:
            made.append(feature)
    return sorted(made, key=lambda feature: (feature.first, feature.text))


def _feature(
    thing: Thing, regions: Regions, outlines: Outlines, own: range, options: FeatureOptions
) -> Feature:
    """The feature of one thing, whose regions have the places `own` among the outlines."""
    name, first = options.class_names[thing.label], (int(regions.first[0, 0]), int(regions.first[0, 1]))
    area = significant(float(outlines.areas_m2[own.start : own.stop].sum()))
    extent = Extent()
    for i in own:
        west, south, east, north = outlines.bounds[i].tolist()
        extent.add((west, south, east, north))
    properties: dict[str, str | float] = {
        "class": name,
        "score": round(thing.score / 255, 4),
        "area_m2": area,
        "raster": options.raster,
    }
    identity = feature_id(options.raster, name, first, int(regions.pixels.sum()))
    parts = [part for i in own for part in outlines.parts(i)]
    return Feature(first, feature_json(identity, extent.bounds() or (), properties, parts), name, area)
