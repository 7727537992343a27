"""The main job with the shipped model on real imagery."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from rasterio.warp import transform_geom

from terraseam.pipeline.cli import main


def crop(source, path, window):
    """A window of a raster as a GeoTIFF of its own."""
    with rasterio.open(source) as raster:
        profile = {"driver": "GTiff", "crs": raster.crs, "transform": raster.window_transform(window)}
        shape = {"height": window.height, "width": window.width, "count": 3, "dtype": "uint8"}
        with rasterio.open(path, "w", **profile, **shape, compress="deflate", tiled=True) as target:
            target.write(raster.read((1, 2, 3), window=window))
    return path


def corners_of(ring):
    """The vertices of a ring at which it turns."""
    ring = np.array(ring)[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-3
    return np.round(ring[turns], 3)


def normal(shells_and_holes):
    return shapely.normalize(shapely.Polygon(*shells_and_holes)).wkb


@pytest.mark.slow
def test_polygons_of_a_real_run_equal_one_pass_and_cover_the_raster_when_simplified(data_folder, tmp_path):
    window = rasterio.windows.Window(8700, 5900, 1100, 700)
    scene = crop(data_folder / "bluemarble" / "bluemarble_16384.tif", tmp_path / "italy.tif", window)
    options = [
        "--model",
        "coast",
        "--tile",
        "512",
        "--sheet",
        "512",
        "--format",
        "parquet",
        "--classes",
        "land,water",
    ]

    def polygons(name, *more):
        output = ["--output", str(tmp_path / name), "--work", str(tmp_path / "work")]
        assert main(["segment", str(scene), *options, *output, *more]) == 0
        table = pyarrow.parquet.read_table(tmp_path / name / "italy" / "polygons.parquet")
        return np.array(shapely.from_wkb(table["geometry"].to_pylist())), table["class"].to_pylist()

    found, classes = polygons("plain")
    ours = {
        (normal([corners_of(one.exterior.coords), [corners_of(hole.coords) for hole in one.interiors]]), name)
        for one, name in zip(found, classes, strict=True)
    }
    with rasterio.open(tmp_path / "plain" / "italy" / "labels.tif") as dataset:
        labels, transform = dataset.read(1), dataset.transform
    names = {0: "land", 1: "water"}
    theirs = set()
    for shape, label in rasterio.features.shapes(labels, mask=labels != 255, transform=transform):
        shell, *holes = (corners_of(ring) for ring in shape["coordinates"])
        theirs.add((normal([shell, holes]), names[int(label)]))
    assert ours == theirs
    area = shapely.area(found).sum()
    for more in (["--simplify", "4000"], ["--sieve", "1e8"], ["--sieve", "1e8", "--simplify", "6000"]):
        changed, _ = polygons("changed", *more)
        assert shapely.is_valid(changed).all() and shapely.coverage_is_valid(changed)
        assert shapely.area(changed).sum() == pytest.approx(area, rel=1e-12)
        assert shapely.get_num_coordinates(changed).sum() < shapely.get_num_coordinates(found).sum()


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


@pytest.mark.slow
def test_simplified_buildings_and_ground_go_on_covering_the_raster(data_folder, tmp_path):
    scene = data_folder / "buildings" / "val" / "zanzibar_b.tif"
    shared = [
        "--model",
        "buildings",
        "--resample",
        "--classes",
        "background,building",
        "--work",
        str(tmp_path / "work"),
    ]
    found = {}
    for name, more in (
        ("plain", []),
        ("simple", ["--simplify", "0.5"]),
        ("small", ["--simplify", "0.5", "--sheet", "1024"]),
    ):
        out = tmp_path / name
        assert main(["segment", str(scene), "--output", str(out), "--format", "gpkg", *shared, *more]) == 0
        found[name] = shapely.from_wkb(pyogrio.raw.read(out / "zanzibar_b" / "polygons.gpkg")[2])
    with rasterio.open(tmp_path / "plain" / "zanzibar_b" / "labels.tif") as dataset:
        covered = (dataset.read(1) != 255).sum() * abs(dataset.transform.determinant)
    for polygons in found.values():
        assert len(polygons) == len(found["plain"]) > 100
        assert shapely.is_valid(polygons).all() and shapely.coverage_is_valid(polygons)
        assert shapely.area(polygons).sum() == pytest.approx(covered, rel=1e-9)
        assert shapely.union_all(polygons).area == pytest.approx(covered, rel=1e-9)
    assert (
        shapely.get_num_coordinates(found["simple"]).sum()
        < shapely.get_num_coordinates(found["plain"]).sum() / 5
    )
    assert all(shapely.equals_exact(a, b) for a, b in zip(found["simple"], found["small"], strict=True))
