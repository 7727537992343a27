"""Check what ``make run`` wrote: it must be what the README says."""

import hashlib
import json
import sys
from pathlib import Path

import rasterio
import shapely

out = Path(sys.argv[1])
manifest = json.loads((out / "manifest.json").read_text())
(raster,) = manifest["rasters"]
folder = out / raster["id"]
for name, described in raster["files"].items():
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == described["sha256"], name

with rasterio.open(folder / "labels.tif") as labels, rasterio.open(raster["path"]) as scene:
    assert labels.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (labels.shape, labels.crs, labels.transform) == (scene.shape, scene.crs, scene.transform)
    water = float((labels.read(1) == 1).mean())
    bounds = shapely.box(*scene.bounds)

collection = json.loads((folder / "polygons.geojson").read_text())
polygons = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in collection["features"]]
assert len(polygons) == raster["classes"]["water"]["polygons"] > 10
assert all(polygon.is_valid for polygon in polygons)
assert all(bounds.buffer(1e-6).contains(polygon) for polygon in polygons)
assert {feature["properties"]["class"] for feature in collection["features"]} == {"water"}
assert abs(sum(polygon.area for polygon in polygons) / bounds.area - water) < 1e-3
assert manifest["tiling"]["exact"] and manifest["counts"]["sheets"] > 0
print(f"make run: {len(polygons)} polygons, {water:.1%} water, files as the manifest says")
