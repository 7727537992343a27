"""Write features as vector tiles: all of them at the finest zoom level, and below it those that are visible."""

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
"""Number of polygons in a tile below the finest zoom level above which small ones are left out."""

HIGHEST_LATITUDE = math.degrees(math.atan(math.sinh(math.pi)))
"""Latitude at which the square Web Mercator map ends, in degrees."""

_DEEPEST_ZOOM = 22
"""The finest zoom level that GDAL writes: for smaller pixels, its tiles get a finer grid."""
_UNITS = 4096
"""Number of grid steps along a side of a tile."""
_MOST_UNITS = 1 << 16
_BUFFER = 80 / _UNITS
"""Buffer around a tile, as a share of its side."""
_PIXELS = 256
"""Pixels along a side of a tile, for sizes reported in pixels."""
_UNSEEN, _PIXEL = -2, 8
"""Exponents of 2 of areas in squared grid steps: below which nothing is visible, and of a pixel."""
_EXPONENTS = (-24, 60)
_RADIUS = 6378137.0
_HALF_WORLD = math.pi * _RADIUS
_NO_LIMIT = 2**31 - 1
_AREA = "area of the map"
_FIELDS = {"string": "String", "double": "Number", "bool": "Boolean"}


@dataclass(frozen=True, slots=True)
class Thinned:
    """The small polygons that are left out at a zoom level.

    Attributes:
        zoom: The zoom level.
        left_out: Number of polygons left out.
        smaller_than_px: Share of a pixel that they are smaller than, in tiles of 256 x 256 pixels.
    """

    zoom: int
    left_out: int
    smaller_than_px: float


@dataclass(frozen=True, slots=True)
class TilesSummary:
    """The content of a file of vector tiles.

    Attributes:
        least_zoom: The lowest zoom level that has tiles.
        finest_zoom: The zoom level at which every polygon is shown.
        thinned: Polygons left out at the levels between them.
        beyond_the_map: Number of polygons nearer to a pole than the map extends.
    """

    least_zoom: int
    finest_zoom: int
    thinned: tuple[Thinned, ...]
    beyond_the_map: int


def write_pmtiles(path: Path, features: Iterable[Feature], table: Table) -> TilesSummary | None:
    """Write vector tiles of all zoom levels up to the one that resolves single pixels of the raster.

    The geometry is that of GeoJSON, which is cut at the antimeridian. The finest zoom level holds every feature.
    Below it, polygons smaller than a quarter of a squared grid step are left out, and where a tile would hold more
    than `MOST_POLYGONS`, those smaller than 1, 2, 4, ... squared steps, up to a pixel of a 256 px tile. Empty tiles
    are not written: without features there is no file.

    Args:
        path: The file.
        features: The features, with their text.
        table: Properties common to all of them.

    Returns:
        The content of the file; None if there is none.

    Raises:
        ValueError: If the raster is not georeferenced.
    """
    if isinstance(table.georef, PixelPlane):
        raise ValueError("vector tiles need map coordinates, but the features are in pixels")
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
        return TilesSummary(
            zooms[0], finest, tuple(level for level in thinned if level.left_out), spool.beyond
        )


def finest_zoom(georef: Georef) -> tuple[int, int]:
    """Return the finest zoom level and the grid steps of its tiles.

    At that level, grid steps are finer than half the narrowest pixel.
    """
    narrowest = min(narrowest_pixel(georef, _within_the_map), _HALF_WORLD)
    zoom = math.ceil(math.log2(4 * _HALF_WORLD / (_UNITS * narrowest)))
    finer = max(zoom - _DEEPEST_ZOOM, 0)
    return min(max(zoom, 0), _DEEPEST_ZOOM), min(_UNITS << finer, _MOST_UNITS)


def to_mercator(lonlat: np.ndarray) -> np.ndarray:
    """Project longitudes and latitudes to EPSG:3857 in metres, both of shape ``(n, 2)``.

    Latitudes beyond the map are clipped a little outside it.
    """
    lon, lat = np.radians(lonlat).T
    with np.errstate(divide="ignore"):
        north = np.arctanh(np.sin(lat))
    return _RADIUS * np.stack([lon, np.clip(north, -4.0, 4.0)], axis=1)


def _within_the_map(lonlat: np.ndarray) -> np.ndarray:
    """Project as `to_mercator`, with NaN beyond the map."""
    inside = np.abs(lonlat[:, 1:]) <= HIGHEST_LATITUDE
    return np.where(inside, to_mercator(lonlat), np.nan)


class Spool:
    """A temporary file of features on their way into tiles, with statistics of their sizes.

    Args:
        path: The file.
        table: Properties common to all features.
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
        """Write all features to the file."""
        with ipc.new_file(self._path, self._schema) as writer:
            for batch in batches(features, BATCH):
                shapes = _on_the_map(batch)
                on_map = ~shapely.is_empty(shapes)
                self.beyond += int((~on_map).sum())
                mapped = [feature for feature, inside in zip(batch, on_map, strict=True) if inside]
                if mapped:
                    writer.write_batch(self._batch(mapped, shapes[on_map]))

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
        """Count features by their size and by the tile of the finest zoom level that contains their centre."""
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
        """Return the length of a grid step of a tile at a zoom level, in metres of the map."""
        return 2 * _HALF_WORLD / (_UNITS << zoom)

    def _exponent(self, zoom: int) -> int:
        """Return the exponent of 2 of the area, in squared steps, below which a zoom level leaves features out."""
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
        """Return what is left out at a zoom level below the finest."""
        exponent = self._exponent(zoom)
        least = 2 * (self._finest - zoom) - _EXPONENTS[0] + exponent
        left_out = sum(int(sizes[:least].sum()) for sizes in self._sizes.values())
        return Thinned(zoom, left_out, 2.0**exponent / (_UNITS // _PIXELS) ** 2)

    def features_at(self, zoom: int, grid: int) -> Iterator[pyarrow.RecordBatch]:
        """Read the features of a zoom level, without the column of their areas.

        Those that are invalid on the grid of its tiles are repaired: GDAL would fill holes that touch their shell
        along a line.
        """
        import pyarrow.compute as arrow_compute

        least = self._step(zoom) ** 2 * 2.0 ** self._exponent(zoom) if zoom < self._finest else -1.0
        step = 2 * _HALF_WORLD / (grid << zoom)
        with pyarrow.memory_map(str(self._path)) as file:
            reader = ipc.open_file(file)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch = batch.filter(arrow_compute.greater_equal(batch[_AREA], least)).drop_columns([_AREA])
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
        """Choose the initial view of the map: all of it, unless there is nothing in its middle."""
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
    """Return shapes in longitude and latitude, clipped to the map."""
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
    """Return the polygons of a shape."""
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.multipolygons(parts) if parts else shapely.Polygon()


def _tiles(scratch: Path, spool: Spool, zoom: int, grid: int) -> Iterator[tuple[Tile, bytes]]:
    """Yield the tiles of a zoom level in order, with their content."""
    record_batches = spool.features_at(zoom, grid)
    first = next(record_batches, None)
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
        yield from record_batches

    reader = pyarrow.RecordBatchReader.from_batches(first.schema, rest())
    write_with_gdal(path, reader, "MBTiles", spool.table.geometry_type, "EPSG:3857", options | limits)
    with closing(sqlite3.connect(path)) as database:
        places = database.execute("SELECT tile_column, tile_row FROM tiles").fetchall()
        tiles = [(Tile(zoom, column, 2**zoom - 1 - row), (column, row)) for column, row in places]
        for tile, place in sorted(tiles, key=lambda entry: entry[0].number):
            where = "SELECT tile_data FROM tiles WHERE tile_column = ? AND tile_row = ?"
            yield tile, database.execute(where, place).fetchone()[0]
    path.unlink()


def _tile_of(lonlat: tuple[float, float], zoom: int) -> Tile:
    """Return the tile that contains a position."""
    x, y = to_mercator(np.array([lonlat]))[0] / (2 * _HALF_WORLD)
    column, row = (int(np.clip(place * 2**zoom, 0, 2**zoom - 1)) for place in (x + 0.5, 0.5 - y))
    return Tile(zoom, column, row)


def _middle_of(tile: Tile) -> tuple[float, float]:
    """Return longitude and latitude of the centre of a tile."""
    x, y = ((place + 0.5) / 2**tile.zoom - 0.5 for place in (tile.column, tile.row))
    return 360 * x, math.degrees(math.atan(math.sinh(-2 * math.pi * y)))


def _metadata(table: Table, zooms: list[int]) -> dict[str, Any]:
    """Return the archive's metadata on its layer."""
    fields = {field.name: _FIELDS[str(field.type)] for field in table.attributes}
    layer = {"id": LAYER, "description": "", "minzoom": zooms[0], "maxzoom": zooms[-1], "fields": fields}
    kinds = {"layer": LAYER, "geometry": "Polygon", "attributeCount": len(fields)}
    stats = {"layerCount": 1, "layers": [kinds]}
    header = {"name": LAYER, "type": "overlay", "format": "pbf"}
    return {**header, "vector_layers": [layer], "tilestats": stats}
