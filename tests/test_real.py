"""The main job with the shipped model on real imagery."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio.warp import transform_geom

from pipeline.cli import main


def crop(source, path, window):
    """A window of a raster as a GeoTIFF of its own."""
    with rasterio.open(source) as raster:
        profile = {"driver": "GTiff", "crs": raster.crs, "transform": raster.window_transform(window)}
        shape = {"height": window.height, "width": window.width, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", **profile, **shape, compress="deflate", tiled=True) as target:
            target.write(raster.read((1, 2, 3), window=window))
    return path


@pytest.mark.slow
def test_polygons_of_a_real_run_burn_back_to_its_labels(data_folder, tmp_path):
    window = rasterio.windows.Window(8700, 5900, 1100, 700)
    scene = crop(data_folder / "bluemarble" / "bluemarble_16384.tif", tmp_path / "italy.tif", window)
    options = ["--model", "coast", "--output", str(tmp_path / "out"), "--tile", "512", "--sheet", "512"]
    assert main(["segment", str(scene), *options]) == 0
    with rasterio.open(tmp_path / "out" / "italy" / "labels.tif") as dataset:
        labels, grid = dataset.read(1), {"out_shape": dataset.shape, "transform": dataset.transform}
    collection = json.loads((tmp_path / "out" / "italy" / "polygons.geojson").read_text())
    assert 0.2 < (labels == 1).mean() < 0.6 and len(collection["features"]) > 20
    assert all(shapely.from_geojson(json.dumps(f["geometry"])).is_valid for f in collection["features"])
    placed = [transform_geom("EPSG:4326", "EPSG:3857", f["geometry"]) for f in collection["features"]]
    burnt = rasterio.features.rasterize([(shape, 1) for shape in placed], **grid)
    assert np.array_equal(burnt, labels)
