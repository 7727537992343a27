"""Predictions and ground truth on disk, for the tests of ``terraseam evaluate``."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio import features

from terraseam.tiles.raster.georef import Georef

HEIGHT, WIDTH = 211, 307
CLASSES = ("background", "roof", "road")


def georef(height=HEIGHT, width=WIDTH, *, north=5_600_000.0):
    return Georef("EPSG:32632", (0.5, 0.0, 500_000.0, 0.0, -0.5, north), height, width)


def boxes(seed, count=24, height=HEIGHT, width=WIDTH):
    """Return rectangles in pixels ``(col, row)`` that may overlap and extend beyond the raster."""
    rng = np.random.default_rng(seed)
    corner, size = rng.random((count, 2)) * [width, height], rng.uniform(5, 45, (count, 2))
    return shapely.box(*corner.T, *(corner + size).T)


def moved(shapes, seed, by=2.5, lost=4):
    """Return some polygons, moved a little, and a few that are unrelated."""
    rng = np.random.default_rng(seed)
    kept = shapes[lost:]
    shifts = rng.normal(0, by, (len(kept), 2))
    some = [shapely.affinity.translate(one, *shift) for one, shift in zip(kept, shifts, strict=True)]
    return np.array([*some, *boxes(seed + 50, 3)], object)


def to_map(shapes, place):
    return shapely.transform(np.array(shapes, object), place.to_map)


def lonlat(shapes, place):
    """Return polygons in longitude and latitude, with vertices dense enough to follow the raster's lines."""
    dense = shapely.segmentize(np.array(shapes, object), 10.0)
    return shapely.transform(dense, place.to_lonlat)


def write_geojson(path: Path, shapes, place, **properties):
    """Write polygons in pixels as GeoJSON; each property is a sequence with a value for each, or one for all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    described = [
        {
            "type": "Feature",
            "properties": {
                name: values[number] if isinstance(values, (list, tuple, np.ndarray)) else values
                for name, values in properties.items()
            },
            "geometry": shapely.geometry.mapping(shape),
        }
        for number, shape in enumerate(lonlat(shapes, place))
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": described}))
    return path


def write_gpkg(path: Path, shapes, place, crs="EPSG:32632", **fields):
    """Write polygons in pixels as a GeoPackage in the CRS of the raster."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyogrio.raw.write(
            path,
            shapely.to_wkb(to_map(shapes, place)),
            [np.asarray(values) for values in fields.values()],
            list(fields),
            geometry_type="Unknown",
            crs=crs,
        )
    return path


def drawn(shapes, labels=1, height=HEIGHT, width=WIDTH):
    """Rasterize polygons in pixels by pixel centres with GDAL, the later ones on top."""
    labels = np.broadcast_to(labels, len(shapes)).tolist()
    return features.rasterize(
        zip(shapes, labels, strict=True), out_shape=(height, width), fill=0, dtype="uint8"
    )


def write_labels(path: Path, labels, place, names=CLASSES, nodata=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = labels.shape
    profile = {"height": height, "width": width, "count": 1, "dtype": labels.dtype, "nodata": nodata}
    with rasterio.open(
        path, "w", driver="GTiff", crs=place.crs, transform=rasterio.Affine(*place.transform), **profile
    ) as dataset:
        dataset.write(labels, 1)
        dataset.update_tags(1, **{f"class_{label}": name for label, name in enumerate(names or ())})
    return path


def write_run(folder: Path, rasters):
    """Write the output of a run: for each raster, labels and polygons with classes and scores.

    Args:
        folder: The output of the run.
        rasters: For each name, its georeference, labels, polygons in pixels, their classes and scores.
    """
    for name, (place, labels, shapes, classes, scores) in rasters.items():
        write_labels(folder / name / "labels.tif", labels, place)
        write_geojson(
            folder / name / "polygons.geojson", shapes, place, **{"class": classes, "score": scores}
        )
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"rasters": [{"id": name} for name in rasters]}))
    return folder
