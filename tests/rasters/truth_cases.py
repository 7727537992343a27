"""Polygons on rasters of all kinds, and files of them in every format."""

import json
from dataclasses import replace

import numpy as np
import pyarrow
import pyogrio
import pyproj
import shapely
from georefs import GEOREFS, HALF_WORLD
from pyarrow import parquet

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.read import PolygonFile

SMALL = {
    name: replace(georef, height=min(georef.height, 301), width=min(georef.width, 433))
    for name, georef in GEOREFS.items()
} | {
    "dateline_degrees": Georef("EPSG:4326", (0.01, 0.0, 178.5, 0.0, -0.01, 5.0), 211, 303),
    "from_greenwich": Georef("EPSG:4326", (1.0, 0.0, 0.0, 0.0, -1.0, 90.0), 180, 360),
    "dateline_mercator": Georef("EPSG:3857", (500.0, 0.0, HALF_WORLD - 6e4, 0.0, -500.0, 9e5), 201, 301),
    "dateline_utm": Georef("EPSG:32601", (100.0, 0.0, 335_000.0, 0.0, -100.0, 7_000_000.0), 301, 402),
}  # fmt: skip
"""Rasters of odd sizes; the last four cross the antimeridian or span the globe."""


def blobs(georef, count=30, seed=0, corners=7):
    """Return star-shaped polygons in pixels all over a raster and beyond its edges, some with a hole."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        angles = np.sort(rng.random(corners)) * 2 * np.pi
        radius = rng.uniform(4, 40) * rng.uniform(0.6, 1, corners)
        star = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
        centre = rng.random(2) * [georef.width, georef.height]
        hole = [star[::-1] * 0.3 + centre] if number % 3 == 0 else []
        polygon = shapely.Polygon(star + centre, hole)
        found.append(polygon if polygon.is_valid else shapely.Polygon(star + centre).convex_hull)
    return np.array(found, object)


def in_crs(polygons, georef, crs):
    """Return polygons in pixels, with their corners in another CRS; longitudes continue beyond the antimeridian."""
    transformer = pyproj.Transformer.from_crs(georef.crs, crs, always_xy=True)
    degrees = pyproj.CRS(crs).is_geographic

    def move(xy):
        x, y = transformer.transform(*georef.to_map(xy).T)
        return np.stack([x - 360 * np.rint((x - x[0]) / 360) if degrees else x, y], axis=1)

    return np.array([shapely.transform(polygon, move) for polygon in polygons], object)


def as_file(polygons, crs):
    """Return a file of polygons that was never written."""
    return PolygonFile("somewhere.gpkg", crs, np.asarray(polygons, object), (None,) * len(polygons))


def write_vector(path, shapes, crs, fields=None, kind="Unknown", **options):
    """Write geometries with pyogrio, or as GeoParquet."""
    fields = {"what": np.array(["roof"] * len(shapes), object)} if fields is None else fields
    wkb = shapely.to_wkb(np.asarray(shapes, object))
    if path.suffix == ".parquet":
        write_geoparquet(path, wkb, fields, pyproj.CRS(crs).to_json_dict() if crs else None, **options)
        return path
    names, columns = list(fields), [np.asarray(column) for column in fields.values()]
    pyogrio.raw.write(path, wkb, columns, names, geometry_type=kind, crs=crs, **options)
    return path


def write_geoparquet(path, wkb, fields, crs, **column):
    table = pyarrow.table({"geometry": pyarrow.array(list(wkb), pyarrow.binary())} | {
        name: pyarrow.array(list(values)) for name, values in fields.items()
    })  # fmt: skip
    said = {"encoding": "WKB", "geometry_types": []} | ({} if crs == "absent" else {"crs": crs}) | column
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": said}}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
