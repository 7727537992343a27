"""Read polygons from GeoParquet and the formats of GDAL, such as GeoJSON, GeoPackage, FlatGeobuf and Shapefile."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import shapely

from terraseam.tiles.raster.inspect import SUFFIXES
from terraseam.tiles.vectors import geoparquet, ogr
from terraseam.tiles.vectors.checks import VectorError, check_crs

__all__ = [
    "PolygonFile",
    "VectorError",
    "is_vector",
    "listed_reasons",
    "polygonal",
    "read_bounds",
    "read_polygons",
]

GEOPARQUET = frozenset({".parquet", ".geoparquet"})
"""Extensions of files that are read as GeoParquet."""
_POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True, slots=True, eq=False)
class PolygonFile:
    """The polygons of a file.

    Attributes:
        path: The file.
        crs: CRS of the coordinates, WKT or authority string; they are in the order x, y or longitude, latitude.
        polygons: Valid 2-D polygons and multipolygons, object ``(polygons,)``.
        values: The class property of each, as text; None if it is null or was not requested.
        mended: Number of polygons that were invalid and have been repaired.
        reasons: Number of skipped features for each reason.
    """

    path: str
    crs: str
    polygons: np.ndarray
    values: tuple[str | None, ...]
    mended: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Number of skipped features."""
        return sum(self.reasons.values())


def read_polygons(path: str, class_property: str | None = None) -> PolygonFile:
    """Read the polygons of a file.

    In a file with several layers of polygons, one is selected after a colon: ``file.gpkg:layer``. Lines, points and
    features without geometry are skipped and counted; of collections, only the polygons are kept; invalid polygons
    are repaired: overlapping rings are merged, and parts without area are dropped.

    Args:
        path: File, or URL that GDAL opens.
        class_property: Property that holds the class of each feature; None to read none.

    Raises:
        VectorError: If the file is missing, empty, not a vector file, or has several layers; if its CRS is missing or
            unknown to PROJ; if it lacks the property; or if none of its features is a polygon.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pyogrio")
        features = _reader(path).features(path, class_property)
    crs = check_crs(path, features.crs)
    polygons, indices, count, reasons = _polygons(features.shapes)
    if reasons and not len(indices):
        raise VectorError(f"{path} holds no polygon, but {listed_reasons(reasons)}; give a file of polygons")
    values = tuple(features.values[number] for number in indices)
    return PolygonFile(path, crs, polygons, values, count, reasons)


def listed_reasons(reasons: Mapping[str, int]) -> str:
    """Format why features were skipped, such as ``2 a Point, not a polygon``."""
    return ", ".join(f"{number} {reason}" for reason, number in reasons.items())


def read_bounds(path: str) -> tuple[str, tuple[float, float, float, float] | None]:
    """Read CRS and bounds ``left, bottom, right, top`` of the features of a file; no bounds if it has none.

    Raises:
        VectorError: As `read_polygons`.
    """
    crs, bounds = _reader(path).bounds(path)
    if bounds is None or not np.isfinite(bounds).all():
        return check_crs(path, crs), None
    left, bottom, right, top = map(float, bounds)
    return check_crs(path, crs), (left, bottom, right, top)


def is_vector(path: str) -> bool:
    """Check whether a path has the extension of a vector file rather than of a raster."""
    return Path(path).suffix.lower() not in SUFFIXES


def _reader(path: str) -> ModuleType:
    """Return the module that reads a file; both have ``features`` and ``bounds``."""
    return geoparquet if Path(path).suffix.lower() in GEOPARQUET else ogr


def polygonal(shape: shapely.Geometry) -> shapely.Geometry | None:
    """Return the polygons of a geometry as one polygon or multipolygon; None if it has none."""
    if shape.geom_type in ("Polygon", "MultiPolygon"):
        return None if shape.is_empty else shape
    if shape.geom_type != "GeometryCollection":
        return None
    parts = [polygonal(part) for part in shape.geoms]
    pieces = [piece for part in parts if part is not None for piece in shapely.get_parts(part)]
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else shapely.MultiPolygon(pieces)


def mended(shape: shapely.Geometry) -> shapely.Geometry | None:
    """Repair an invalid geometry: overlapping rings are merged; None if nothing has an area."""
    return polygonal(shapely.make_valid(shape, method="structure", keep_collapsed=False))


def _polygons(wkb: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, dict[str, int]]:
    """Return valid polygons, indices of their features, the number of repaired ones, and reasons for skipped ones."""
    shapes = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="fix"))
    kinds = shapely.get_type_id(shapes)
    reasons: Counter[str] = Counter()
    for number in np.flatnonzero(kinds == shapely.GeometryType.GEOMETRYCOLLECTION):
        shapes[number] = polygonal(shapes[number]) or shapes[number]
    kinds = shapely.get_type_id(shapes)
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    for number in np.flatnonzero(~(np.isin(kinds, _POLYGONAL) & finite)):
        reasons[_why_not(shapes[number], wkb[number])] += 1
        shapes[number] = None
    broken = np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes))
    count = 0
    for number in broken:
        shapes[number] = mended(shapes[number])
        count += shapes[number] is not None
        reasons["no area"] += shapes[number] is None
    indices = np.flatnonzero(~shapely.is_missing(shapes))
    return shapes[indices], indices, count, dict(+reasons)


def _why_not(shape: shapely.Geometry | None, wkb: bytes | None) -> str:
    if shape is None:
        return "no geometry" if wkb is None else "a broken geometry"
    if shape.is_empty:
        return "an empty geometry"
    name = shape.geom_type
    return "coordinates that are not numbers" if name.endswith("Polygon") else f"a {name}, not a polygon"
