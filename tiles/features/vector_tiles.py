"""Vector tiles of features: all of them at the finest zoom level, and at each lower one those that can be seen there."""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import shapely
from pyarrow import ipc

from terraseam.tiles.features.decimals import narrowest_pixel
from terraseam.tiles.features.features import Feature
from terraseam.tiles.features.geojson import CollectionBounds
from terraseam.tiles.features.gis_formats import (
    BATCH,
    LAYER,
    WKB,
    Table,
    attribute_columns,
    batches,
    write_with_gdal,
)
from terraseam.tiles.features.pmtiles import Archive, MapView, Tile
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.ground import PixelPlane

MOST_POLYGONS = 1 << 16
"""Polygons of a tile below the finest zoom level from which on small ones are left out there."""

HIGHEST_LATITUDE = math.degrees(math.atan(math.sinh(math.pi)))
"""Where the square map of the Earth ends."""

_DEEPEST_ZOOM = 22
"""The finest zoom level that GDAL writes: for smaller pixels, its tiles get finer steps."""
_UNITS = 4096
"""Steps of a tile's coordinates along a side."""
_MOST_UNITS = 1 << 16
_BUFFER = 80 / _UNITS
"""What a tile shows around itself, as a part of its side."""
_PIXELS = 256
"""Pixels of a tile along a side, as far as sizes are told in them."""
_UNSEEN, _PIXEL = -2, 8
"""Exponents of 2: squares of a step of the grid below which nothing can be seen, and those of a pixel."""
_EXPONENTS = (-24, 60)
_RADIUS = 6378137.0
_HALF_WORLD = math.pi * _RADIUS
_NO_LIMIT = 2**31 - 1
_AREA = "area of the map"
_FIELDS = {"string": "String", "double": "Number", "bool": "Boolean"}


@dataclass(frozen=True, slots=True)
class Thinned:
    """Small polygons that are left out at a zoom level.

    Attributes:
        zoom: The zoom level.
        left_out: How many.
        smaller_than_px: What part of a pixel they are smaller than, where tiles have 256 x 256.
    """

    zoom: int
    left_out: int
    smaller_than_px: float


@dataclass(frozen=True, slots=True)
class TilesSummary:
    """What a file of vector tiles shows.

    Attributes:
        least_zoom: The lowest zoom level of which there are tiles.
        finest_zoom: The zoom level at which every polygon is shown.
        thinned: What is left out at the levels between them.
        beyond_the_map: Polygons that lie nearer to a pole than the map reaches.
    """

    least_zoom: int
    finest_zoom: int
    thinned: tuple[Thinned, ...]
    beyond_the_map: int


def write_pmtiles(path: Path, features: Iterable[Feature], table: Table) -> TilesSummary | None:
    """Write vector tiles of all zoom levels up to the one that shows single pixels of the raster.

    The geometry is that of GeoJSON, which is cut where longitudes end. The finest zoom level holds every feature. Below
    it, what is smaller than a quarter of a step of the grid is left out, and where a tile would hold more than
    `MOST_POLYGONS`, what is smaller than a step of it, or twice, four times, ... as small, up to a pixel of a tile of 256.
    There are no tiles of nothing: without features there is no file.

    Args:
        path: The file.
        features: The features, with their text.
        table: What is said of all of them.

    Returns:
        What the file shows; None where there is none.

    Raises:
        ValueError: If the raster has no place on the Earth.
    """
    if isinstance(table.georef, PixelPlane):
        raise ValueError("vector tiles are of the Earth, and the features are in pixels")
    finest, units = finest_zoom(table.georef)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        spool = Spool(Path(scratch) / "features.arrow", table, finest)
        spool.fill(features)
        archive, shown = Archive(Path(scratch) / "tiles"), set[Tile]()
        for zoom in range(finest + 1):
            grid = units if zoom == finest else _UNITS
            for tile, content in _tiles(Path(scratch), spool, zoom, grid):
                archive.add(tile, content)
                shown.add(tile)
        if not shown:
            return None
        zooms = archive.zooms
        archive.finish(path, spool.view(shown, zooms), _metadata(table, zooms))
        thinned = (spool.thinned(zoom) for zoom in range(zooms[0], finest))
        return TilesSummary(zooms[0], finest, tuple(one for one in thinned if one.left_out), spool.beyond)


def finest_zoom(georef: Georef) -> tuple[int, int]:
    """Return the zoom level at which steps of tiles are finer than half the narrowest pixel, and the steps of its tiles."""
    narrowest = min(narrowest_pixel(georef, _within_the_map), _HALF_WORLD)
    wanted = math.ceil(math.log2(4 * _HALF_WORLD / (_UNITS * narrowest)))
    finer = max(wanted - _DEEPEST_ZOOM, 0)
    return min(max(wanted, 0), _DEEPEST_ZOOM), min(_UNITS << finer, _MOST_UNITS)


def to_mercator(lonlat: np.ndarray) -> np.ndarray:
    """Metres of EPSG:3857 of longitudes and latitudes, which may end a hair beyond the map; both of shape ``(n, 2)``."""
    lon, lat = np.radians(lonlat).T
    with np.errstate(divide="ignore"):
        north = np.arctanh(np.sin(lat))
    return _RADIUS * np.stack([lon, np.clip(north, -4.0, 4.0)], axis=1)


def _within_the_map(lonlat: np.ndarray) -> np.ndarray:
    """As `to_mercator`, with NaN beyond the map."""
    inside = np.abs(lonlat[:, 1:]) <= HIGHEST_LATITUDE
    return np.where(inside, to_mercator(lonlat), np.nan)


class Spool:
    """Features on their way into tiles, on disk, with what is known of their sizes.

    Args:
        path: The file.
        table: What is said of all features.
        finest: The zoom level that holds all of them.
    """

    def __init__(self, path: Path, table: Table, finest: int) -> None:
        self._path = path
        self.table = table
        self._finest = finest
        self._schema = table.attributes.append(WKB).append(pyarrow.field(_AREA, pyarrow.float64()))
        self._sizes: dict[tuple[int, int], np.ndarray] = {}
        self._extent = CollectionBounds()
        self._largest = (0.0, (0.0, 0.0))
        self.beyond = 0

    def fill(self, features: Iterable[Feature]) -> None:
        """Take all features in."""
        with ipc.new_file(self._path, self._schema) as writer:
            for some in batches(features, BATCH):
                shapes = _on_the_map(some)
                on_map = ~shapely.is_empty(shapes)
                self.beyond += int((~on_map).sum())
                kept = [feature for feature, inside in zip(some, on_map, strict=True) if inside]
                if kept:
                    writer.write_batch(self._batch(kept, shapes[on_map]))

    def _batch(self, some: list[Feature], lonlat: np.ndarray) -> pyarrow.RecordBatch:
        self._extent.add(shapely.bounds(shapely.get_parts(lonlat)))
        shapes = shapely.transform(lonlat, to_mercator)
        areas = shapely.area(shapes)
        self._count(areas, shapes)
        most = int(areas.argmax())
        if areas[most] > self._largest[0]:
            point = shapely.point_on_surface(lonlat[most])
            self._largest = float(areas[most]), (point.x, point.y)
        columns = [*attribute_columns(some, self.table), pyarrow.array(shapely.to_wkb(shapes)), areas]
        return pyarrow.record_batch([pyarrow.array(column) for column in columns], schema=self._schema)

    def _count(self, areas: np.ndarray, shapes: np.ndarray) -> None:
        """Count the features by their size and by the tile of the finest zoom that their middle lies in."""
        low, high = _EXPONENTS
        step = self._step(self._finest)
        with np.errstate(divide="ignore"):
            sizes = np.clip(np.floor(np.log2(areas / step**2)), low, high).astype(np.int64) - low
        west, south, east, north = shapely.bounds(shapes).T
        middles = np.stack([west + east, -south - north], axis=1) / (4 * _HALF_WORLD) + 0.5
        tiles = np.clip(middles * 2**self._finest, 0, 2**self._finest - 1).astype(np.int64)
        for place, size in zip(map(tuple, tiles.tolist()), sizes.tolist(), strict=True):
            if place not in self._sizes:
                self._sizes[place] = np.zeros(high - low + 1, np.int64)
            self._sizes[place][size] += 1

    @staticmethod
    def _step(zoom: int) -> float:
        """Metres of the map of a step of a tile's grid."""
        return 2 * _HALF_WORLD / (_UNITS << zoom)

    def _exponent(self, zoom: int) -> int:
        """The exponent of 2 of the squares of a step below which features are left out at a zoom level."""
        up = self._finest - zoom
        crowds: dict[tuple[int, int], np.ndarray] = {}
        for (column, row), sizes in self._sizes.items():
            place = column >> up, row >> up
            crowds[place] = crowds[place] + sizes if place in crowds else sizes
        least = 2 * up - _EXPONENTS[0]
        for exponent in (_UNSEEN, *range(_PIXEL)):
            most = max((int(sizes[least + exponent :].sum()) for sizes in crowds.values()), default=0)
            if most <= MOST_POLYGONS:
                return exponent
        return _PIXEL

    def thinned(self, zoom: int) -> Thinned:
        """Tell what is left out at a zoom level below the finest."""
        exponent = self._exponent(zoom)
        least = 2 * (self._finest - zoom) - _EXPONENTS[0] + exponent
        left_out = sum(int(sizes[:least].sum()) for sizes in self._sizes.values())
        return Thinned(zoom, left_out, 2.0**exponent / (_UNITS // _PIXELS) ** 2)

    def features_at(self, zoom: int, grid: int) -> Iterator[pyarrow.RecordBatch]:
        """Read the features of a zoom level, without the column of their areas.

        Those that are invalid on the grid of its tiles are mended before: GDAL fills holes that come to touch their shell
        along a line.
        """
        least = self._step(zoom) ** 2 * 2.0 ** self._exponent(zoom) if zoom < self._finest else -1.0
        step = 2 * _HALF_WORLD / (grid << zoom)
        with pyarrow.memory_map(str(self._path)) as file:
            reader = ipc.open_file(file)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch = batch.filter(pyarrow.compute.greater_equal(batch[_AREA], least)).drop_columns([_AREA])
                shapes = shapely.from_wkb(np.array(batch["geometry"].to_pylist(), dtype=object))
                wrong = ~shapely.is_valid(shapely.transform(shapes, lambda xy: np.round(xy / step)))
                if wrong.any():
                    shapes[wrong] = shapely.set_precision(shapes[wrong], step)
                    batch = batch.set_column(
                        batch.num_columns - 1, WKB, pyarrow.array(shapely.to_wkb(shapes))
                    )
                    batch = batch.filter(pyarrow.array(~shapely.is_empty(shapes)))
                if batch.num_rows:
                    yield batch

    def view(self, shown: set[Tile], zooms: list[int]) -> MapView:
        """Choose what the map shows first: all of it, unless there is nothing in its middle."""
        west, south, east, north = self._extent.bounds() or (0.0, 0.0, 0.0, 0.0)
        width = east - west + (360 if west > east else 0)
        low, high = to_mercator(np.array([[0.0, south], [0.0, north]]))[:, 1]
        share = max(width / 360, (high - low) / (2 * _HALF_WORLD), 2.0**-_DEEPEST_ZOOM)
        zoom = min(max(math.floor(-math.log2(share)), zooms[0]), zooms[-1])
        middle = (west + width / 2 + 180) % 360 - 180, (south + north) / 2
        bounds = (-180.0, south, 180.0, north) if west > east else (west, south, east, north)
        for nearer in range(zoom, zooms[-1] + 1):
            for centre in (middle, self._largest[1]):
                if _tile_of(centre, nearer) in shown:
                    return MapView(bounds, centre, nearer)
        tile = min(shown, key=lambda tile: tile.number)
        return MapView(bounds, _middle_of(tile), tile.zoom)


def _on_the_map(some: list[Feature]) -> np.ndarray:
    """Shapes in longitudes and latitudes, without what lies beyond the map."""
    texts = [
        feature.text[feature.text.rindex(b',"geometry":') + len(b',"geometry":') : -1] for feature in some
    ]
    shapes = shapely.from_geojson(texts)
    bounds = shapely.bounds(shapes)
    beyond = (bounds[:, 1] < -HIGHEST_LATITUDE) | (bounds[:, 3] > HIGHEST_LATITUDE)
    if beyond.any():
        map_of_the_earth = shapely.box(-180, -HIGHEST_LATITUDE, 180, HIGHEST_LATITUDE)
        clipped = shapely.intersection(shapes[beyond], map_of_the_earth)
        shapes[beyond] = [_areas(shape) for shape in clipped]
    return shapes


def _areas(shape: shapely.Geometry) -> shapely.Geometry:
    """What has an area of a shape."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.multipolygons(parts) if parts else shapely.Polygon()


def _tiles(scratch: Path, spool: Spool, zoom: int, grid: int) -> Iterator[tuple[Tile, bytes]]:
    """The tiles of a zoom level in their order, with what is in them."""
    some = spool.features_at(zoom, grid)
    first = next(some, None)
    if first is None:
        return
    path = scratch / f"{zoom}.mbtiles"
    options = {
        "MINZOOM": zoom,
        "MAXZOOM": zoom,
        "EXTENT": grid,
        "BUFFER": round(grid * _BUFFER),
        "NAME": LAYER,
    }
    limits = {"MAX_SIZE": _NO_LIMIT, "MAX_FEATURES": _NO_LIMIT}

    def rest() -> Iterator[pyarrow.RecordBatch]:
        yield first
        yield from some

    reader = pyarrow.RecordBatchReader.from_batches(first.schema, rest())
    write_with_gdal(path, reader, "MBTiles", spool.table.geometry_type, "EPSG:3857", options | limits)
    with closing(sqlite3.connect(path)) as database:
        places = database.execute("SELECT tile_column, tile_row FROM tiles").fetchall()
        found = [(Tile(zoom, column, 2**zoom - 1 - row), (column, row)) for column, row in places]
        for tile, place in sorted(found, key=lambda one: one[0].number):
            where = "SELECT tile_data FROM tiles WHERE tile_column = ? AND tile_row = ?"
            yield tile, database.execute(where, place).fetchone()[0]
    path.unlink()


def _tile_of(lonlat: tuple[float, float], zoom: int) -> Tile:
    """The tile in which a place lies."""
    x, y = to_mercator(np.array([lonlat]))[0] / (2 * _HALF_WORLD)
    column, row = (int(np.clip(place * 2**zoom, 0, 2**zoom - 1)) for place in (x + 0.5, 0.5 - y))
    return Tile(zoom, column, row)


def _middle_of(tile: Tile) -> tuple[float, float]:
    """Longitude and latitude of the middle of a tile."""
    x, y = ((place + 0.5) / 2**tile.zoom - 0.5 for place in (tile.column, tile.row))
    return 360 * x, math.degrees(math.atan(math.sinh(-2 * math.pi * y)))


def _metadata(table: Table, zooms: list[int]) -> dict[str, Any]:
    """What the archive says of its layer."""
    fields = {field.name: _FIELDS[str(field.type)] for field in table.attributes}
    layer = {"id": LAYER, "description": "", "minzoom": zooms[0], "maxzoom": zooms[-1], "fields": fields}
    kinds = {"layer": LAYER, "geometry": "Polygon", "attributeCount": len(fields)}
    stats = {"layerCount": 1, "layers": [kinds]}
    said = {"name": LAYER, "type": "overlay", "format": "pbf"}
    return {**said, "vector_layers": [layer], "tilestats": stats}
