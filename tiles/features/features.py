"""Build GeoJSON features (RFC 7946) of regions: one for each group, ready to be written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import shapely

from terraseam.tiles.features.feature_texts import FeatureTexts
from terraseam.tiles.features.outlines import fill_small_holes, outline
from terraseam.tiles.features.valid_output import (
    doubtful_groups,
    grouped_polygons,
    repaired_features,
    valid_shapes,
)
from terraseam.tiles.features.validity import keep_valid
from terraseam.tiles.raster.ground import Ground
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.regions import Regions, ragged_take
from terraseam.tiles.regions.regularize import Regularized, regularize

_DIGITS = 7


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """Properties and filters of features.

    Attributes:
        raster: Id of the raster.
        class_names: Names of labels; those without one are named by their number.
        min_area_m2: Regions smaller than this are left out, in square metres; in pixels on a pixel plane.
        fill_holes_m2: Holes smaller than this are filled, in the same unit.
        min_score: Regions with a lower score are left out, 0 to 1.
        regularized: Whether outlines are regularized to right angles where they support them.
        scored: Whether features have a score; otherwise the property is left out.
        text: Whether features are built as GeoJSON.
        wkb: Whether they are built as WKB in the raster's CRS.
        in_parts: Whether WKB holds MultiPolygons, as features of several regions require.
    """

    raster: str
    class_names: Mapping[int, str]
    min_area_m2: float = 0.0
    fill_holes_m2: float = 0.0
    min_score: float = 0.0
    regularized: bool = False
    scored: bool = True
    text: bool = True
    wkb: bool = False
    in_parts: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_area_m2) and self.min_area_m2 >= 0):
            raise ValueError(f"min_area_m2 must be 0 m2 or more, got {self.min_area_m2}")
        if not (math.isfinite(self.fill_holes_m2) and self.fill_holes_m2 >= 0):
            raise ValueError(f"fill_holes_m2 must be 0 m2 or more, got {self.fill_holes_m2}")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must be 0 to 1, got {self.min_score}")

    def name_of(self, label: int) -> str:
        """Return the name of a label."""
        return self.class_names.get(label, str(label))

    def keeps(self, area_m2: float, score: float) -> bool:
        """Check whether a feature is large enough and scores high enough."""
        return area_m2 >= self.min_area_m2 and score >= self.min_score


class Feature(NamedTuple):
    """The feature of a region, or of a group of regions.

    Attributes:
        first: Its first pixel ``(row, col)``.
        identity: Its id.
        properties: Its properties, such as ``class`` and ``area_m2``.
        text: The feature as UTF-8 JSON, starting with type, id and bbox; empty if not requested.
        wkb: Its geometry in the raster's CRS, shells counter-clockwise; empty if not requested.
    """

    first: tuple[int, int]
    identity: str
    properties: Mapping[str, Any]
    text: bytes
    wkb: bytes

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key of features: their first pixels; the rest breaks ties between features that may overlap."""
        return self.first, self.identity, self.text, self.wkb


def features(
    regions: Regions, georef: Ground, options: FeatureOptions, traced: Neighbourhood | None = None
) -> list[Feature]:
    """Build one GeoJSON feature for each group of regions that is large enough; most groups are single regions.

    Coordinates are WGS 84 longitude and latitude with as many decimals as a tenth of a pixel needs, at least 7 (about
    1 cm), and every geometry is valid as written. ``area_m2`` is the area on the ellipsoid before rounding, with 7
    significant digits, ``perimeter_m`` the length of all rings there; ``score`` is the mean of the pixels' top
    scores, 0 to 1; ``touches_edge`` is whether the raster ends at it. With regularization, ``regularized`` is whether
    it was changed, and ``area_change`` the relative growth of its area. The id is a hash of raster, class and first
    pixel. A group of several regions becomes a MultiPolygon, as does a region that crosses the antimeridian. On a
    pixel plane, coordinates are columns and rows, and ``area_px`` and ``perimeter_px`` replace ``area_m2`` and
    ``perimeter_m``.

    Args:
        regions: Whole regions, in pixel coordinates of the raster.
        georef: The surface that the raster lies on.
        options: Names and filters.
        traced: The same regions along pixel edges and their neighbourhood, if they are regularized and were
            simplified or have neighbours.

    Returns:
        The features, in order of the first pixels of their groups.

    Raises:
        ValueError: If a vertex lies outside the area of the raster's CRS.
    """
    regions, groups = regions.by_group()
    heads = groups[:-1]
    scores = (_sums(regions.score_sum, heads) / (255 * np.maximum(_sums(regions.pixels, heads), 1))).tolist()
    regions, free = fill_small_holes(regions, georef, options.fill_holes_m2, groups)
    if not free.all():
        regions, groups = regions.take(np.flatnonzero(free)), np.concatenate([[0], np.cumsum(free)])[groups]
        heads = groups[:-1]
    at_edge = np.logical_or.reduceat(touches_edge(regions, georef), heads).tolist() if len(heads) else []
    squared = _regularized(regions, groups, georef, options, (traced, free)) if options.regularized else None
    regions = regions if squared is None else squared.regions
    outlines = outline(regions, georef)
    areas = _sums(outlines.areas_m2, heads).tolist()
    names = list(map(options.name_of, regions.labels[heads].tolist()))
    firsts = list(map(tuple, regions.first[heads].tolist()))
    selected = np.array([i for i in range(len(heads)) if options.keeps(areas[i], scores[i])], np.int64)
    chosen, parts = ragged_take(groups, selected)
    repaired = repaired_features(regions, groups, outlines, selected) if options.text else {}
    texts = FeatureTexts(outlines, chosen) if options.text else None
    shapes = (
        group_wkb(regions.take(chosen), parts, georef, in_parts=options.in_parts) if options.wkb else None
    )
    ends = parts.tolist()
    rounded_areas, perimeters = significant(areas), significant(_sums(outlines.perimeters_m, heads))
    results = []
    for n, i in enumerate(selected.tolist()):
        properties = {
            "class": names[i],
            **({"score": round(scores[i], 4)} if options.scored else {}),
            georef.area_attribute: rounded_areas[i],
            georef.length_attribute: perimeters[i],
            "raster": options.raster,
            "touches_edge": at_edge[i],
            **(squared.properties(*range(groups[i], groups[i + 1])) if squared else {}),
        }
        identity = feature_id(options.raster, names[i], firsts[i])
        own = range(ends[n], ends[n + 1])
        text = b"" if texts is None else texts.feature(own, identity, properties, repaired.get(i))
        results.append(Feature(firsts[i], identity, properties, text, b"" if shapes is None else shapes[n]))
    return results


def _regularized(
    regions: Regions,
    groups: np.ndarray,
    georef: Ground,
    options: FeatureOptions,
    traced: tuple[Neighbourhood | None, np.ndarray],
) -> Regularized:
    """Regularize the remaining regions; `traced` holds all regions and marks the remaining ones."""
    around, free = traced
    exact = Neighbourhood(regions)
    if around is not None:
        own, all_groups = around.regions.by_group()
        own, _ = fill_small_holes(own, georef, options.fill_holes_m2, all_groups)
        exact = replace(around, regions=own.take(np.flatnonzero(free)))
    squared = regularize(exact, georef.ground_steps(), (georef.height, georef.width), regions)
    return keep_valid(squared, regions, groups, georef)


def _sums(values: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """Sum values over groups given by their first indices; exactly the value for a group of one."""
    return np.add.reduceat(values, heads) if len(heads) else values


def group_wkb(regions: Regions, groups: np.ndarray, georef: Ground, *, in_parts: bool) -> np.ndarray:
    """Return WKB of groups of regions in the raster's CRS, shells counter-clockwise, object ``(groups,)``.

    Args:
        regions: The regions.
        groups: First region of each group and the end of the last, shape ``(groups + 1,)``.
        georef: The surface that the raster lies on.
        in_parts: Whether all are MultiPolygons; otherwise every group has one region.
    """
    if in_parts:
        shapes = grouped_polygons(
            georef.to_map(regions.coords), regions.ring_offsets, regions.region_offsets, groups
        )
    else:
        shapes = shapely.transform(regions.polygons(), georef.to_map)
    shapes = shapely.orient_polygons(shapes)
    doubtful = doubtful_groups(regions, groups)
    shapes[doubtful] = valid_shapes(shapes[doubtful])
    return shapely.to_wkb(shapes, byte_order=1)


def touches_edge(regions: Regions, georef: Ground) -> np.ndarray:
    """Return whether each region touches an edge of the raster: bool, shape ``(regions,)``."""
    x, y = regions.coords.T
    at_edge = (x == 0) | (x == georef.width) | (y == 0) | (y == georef.height)
    shells = regions.ring_offsets[regions.region_offsets]
    return np.logical_or.reduceat(at_edge, shells[:-1]) if len(regions) else np.zeros(0, bool)


def feature_id(raster: str, class_name: str, first: tuple[int, int], *more: int) -> str:
    """Return a feature's id of 16 hexadecimal digits, the same in every run.

    Args:
        raster: Id of the raster.
        class_name: Its class.
        first: Its first pixel ``(row, col)``.
        *more: Numbers that distinguish it from features of its class with the same first pixel.
    """
    row, col = first
    name = f"{raster}\0{class_name}\0{row}\0{col}"
    for number in more:
        name += f"\0{number}"
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def significant(values: Sequence[float] | np.ndarray) -> list[float]:
    """Round areas or lengths to 7 significant digits, but never more coarsely than to integers."""
    positive = np.maximum(values, 0.0)
    magnitudes = np.floor(np.log10(np.where(positive > 0, positive, 1.0)))
    places = np.maximum(0, _DIGITS - 1 - magnitudes).astype(np.int64)
    return list(map(round, positive.tolist(), places.tolist()))
