"""GeoJSON features (RFC 7946) of regions: one a region, ready to be written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely

from tiles.feature_texts import FeatureTexts
from tiles.georef import Georef
from tiles.outlines import fill_small_holes, outline
from tiles.regions import Regions
from tiles.regularize import regularize

_AREA_DIGITS = 7


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """What features say beside their geometry, and which of them are left out.

    Attributes:
        raster: Id of the raster.
        class_names: Names of the labels 0, 1, 2, ...
        min_area_m2: Regions smaller than this are left out, in square metres.
        fill_holes_m2: Holes smaller than this are filled, in square metres.
        min_score: Regions with a lower score are left out, 0 to 1.
        regularized: Whether regions get right angles where their outlines support them.
        scored: Whether they have a score; else it is null.
        text: Whether features are made as GeoJSON.
        wkb: Whether they are made as WKB in the raster's CRS.
    """

    raster: str
    class_names: tuple[str, ...]
    min_area_m2: float = 0.0
    fill_holes_m2: float = 0.0
    min_score: float = 0.0
    regularized: bool = False
    scored: bool = True
    text: bool = True
    wkb: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_area_m2) and self.min_area_m2 >= 0):
            raise ValueError(f"min_area_m2 must be 0 m2 or more, got {self.min_area_m2}")
        if not (math.isfinite(self.fill_holes_m2) and self.fill_holes_m2 >= 0):
            raise ValueError(f"fill_holes_m2 must be 0 m2 or more, got {self.fill_holes_m2}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be 0 to 1, got {self.min_score}")

    def keeps(self, area_m2: float, score: float) -> bool:
        """Whether a feature is large and sure enough."""
        return area_m2 >= self.min_area_m2 and score >= self.min_score


class Feature(NamedTuple):
    """The feature of one region.

    Attributes:
        first: First pixel ``(row, col)`` of the region.
        identity: Its id.
        properties: What is said of it, ``class`` and ``area_m2`` among others.
        text: The feature as UTF-8 JSON, which begins with type, id and bbox; empty where it was not wanted.
        wkb: Its geometry in the raster's CRS, shells counter-clockwise; empty where it was not wanted.
    """

    first: tuple[int, int]
    identity: str
    properties: Mapping[str, Any]
    text: bytes
    wkb: bytes

    @property
    def order(self) -> tuple[Any, ...]:
        """What features are sorted by: their first pixels; the rest tells apart what may overlap."""
        return self.first, self.identity, self.text, self.wkb


def features(regions: Regions, georef: Georef, options: FeatureOptions) -> list[Feature]:
    """One GeoJSON feature for each region that is large enough.

    Coordinates are WGS 84 longitude and latitude with 7 decimals, about 1 cm: on rasters of 2 cm a pixel or
    coarser, neighbouring vertices stay apart. ``area_m2`` is the area on the ellipsoid before rounding, with
    7 significant digits, ``perimeter_m`` the length of all rings there; ``score`` the mean of the pixels' top
    scores, 0 to 1; ``touches_edge`` says whether the raster ends at it, and of regularized ones ``regularized`` whether
    they were changed and ``area_change`` by how much of their area they grew; the id is a hash of raster, class and first
    pixel. A region that crosses the antimeridian becomes a MultiPolygon.

    Args:
        regions: Whole regions, in pixel coordinates of the raster.
        georef: Where the raster lies.
        options: Names and filters.

    Returns:
        The features, in the order of `regions`.

    Raises:
        ValueError: If a label has no name, or a vertex lies outside the area of the raster's CRS.
    """
    if len(regions) and regions.labels.max() >= len(options.class_names):
        raise ValueError(f"label {regions.labels.max()} has no name among {len(options.class_names)} classes")
    regions = fill_small_holes(regions, georef, options.fill_holes_m2)
    at_edge = touches_edge(regions, georef).tolist()
    squared = regularize(regions, georef.ground_steps()) if options.regularized else None
    regions = regions if squared is None else squared.regions
    outlines = outline(regions, georef)
    scores = (regions.score_sum / (255 * np.maximum(regions.pixels, 1))).tolist()
    areas, perimeters = outlines.areas_m2.tolist(), outlines.perimeters_m.tolist()
    names = [options.class_names[label] for label in regions.labels.tolist()]
    firsts = list(map(tuple, regions.first.tolist()))
    kept = np.array([i for i in range(len(regions)) if options.keeps(areas[i], scores[i])], np.int64)
    texts = FeatureTexts(outlines, kept) if options.text else None
    shapes = shapely.to_wkb(map_polygons(regions.take(kept), georef), byte_order=1) if options.wkb else None
    found = []
    for n, i in enumerate(kept.tolist()):
        properties = {
            "class": names[i],
            "score": round(scores[i], 4) if options.scored else None,
            "area_m2": significant(areas[i]),
            "perimeter_m": significant(perimeters[i]),
            "raster": options.raster,
            "touches_edge": at_edge[i],
            **(squared.said(i) if squared else {}),
        }
        identity = feature_id(options.raster, names[i], firsts[i])
        text = b"" if texts is None else texts.feature(n, identity, properties)
        found.append(Feature(firsts[i], identity, properties, text, b"" if shapes is None else shapes[n]))
    return found


def map_polygons(regions: Regions, georef: Georef) -> np.ndarray:
    """Polygons of regions in the raster's CRS, shells counter-clockwise: object array of shape ``(regions,)``."""
    return shapely.orient_polygons(shapely.transform(regions.polygons(), georef.to_map))


def touches_edge(regions: Regions, georef: Georef) -> np.ndarray:
    """Whether each region has an edge of the raster as its own: bool, shape ``(regions,)``."""
    ends = np.array([georef.width, georef.height])
    at_edge = ((regions.coords == 0) | (regions.coords == ends)).any(axis=1)
    shells = regions.ring_offsets[regions.region_offsets]
    return np.logical_or.reduceat(at_edge, shells[:-1]) if len(regions) else np.zeros(0, bool)


def feature_id(raster: str, class_name: str, first: tuple[int, int], *more: int) -> str:
    """16 hexadecimal digits that name a feature, the same in every run.

    Args:
        raster: Id of the raster.
        class_name: Its class.
        first: Its first pixel ``(row, col)``.
        *more: What else tells it from features of its class that begin at the same pixel.
    """
    name = "\0".join(map(str, (raster, class_name, *first, *more)))
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def significant(area: float) -> float:
    """Round to 7 significant digits; whole square metres stay whole."""
    return round(area, max(0, _AREA_DIGITS - 1 - math.floor(math.log10(area)))) if area > 0 else 0.0
