"""Labels find their images: by name, or by where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import shapely
from truth_cases import SMALL, in_crs, write_vector

from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.truth.pairs import pair


def test_names_decide_where_any_is_the_same():
    images = ["in/b.tif", "in/a.tif", "in/c.tif"]
    labels = ["out/a.geojson", "out/b.gpkg", "out/a.tif", "out/d.shp"]
    found = pair(images, labels)
    assert found.pairs == (("in/b.tif", ("out/b.gpkg",)), ("in/a.tif", ("out/a.geojson", "out/a.tif")))
    assert (found.images, found.labels) == (("in/c.tif",), ("out/d.shp",))
    assert found.by_name and not found.broken


def test_of_images_of_one_name_that_in_a_folder_of_the_same_name_is_meant():
    images = ["images/kampala/1.tif", "images/nepal/1.tif"]
    found = pair(images, ["labels/nepal/1.geojson", "labels/kampala/1.geojson"])
    assert found.pairs == (
        ("images/kampala/1.tif", ("labels/kampala/1.geojson",)),
        ("images/nepal/1.tif", ("labels/nepal/1.geojson",)),
    )
    assert pair(images, ["labels/1.geojson"]).pairs == (
        ("images/kampala/1.tif", ("labels/1.geojson",)),
        ("images/nepal/1.tif", ("labels/1.geojson",)),
    )


def scenes(make_raster, names=("one", "two", "three")):
    """Rasters beside each other with gaps, from west to east."""
    transforms = [
        rasterio.Affine(1, 0, 500_000 + 200 * place, 0, -1, 5_600_000) for place in range(len(names))
    ]
    return [
        str(make_raster(40, 100, bands=1, name=f"{name}.tif", transform=transform))
        for name, transform in zip(names, transforms, strict=True)
    ]


def polygons_on(path, number, boxes, crs="EPSG:4326"):
    """A file of boxes in pixels of a raster."""
    georef = inspect_raster(number).georef
    return str(write_vector(path, in_crs([shapely.box(*box) for box in boxes], georef, crs), crs))


@pytest.mark.parametrize("ending", ["geojson", "gpkg", "parquet"])
def test_one_file_of_polygons_over_a_folder_of_images(make_raster, tmp_path, ending):
    images = scenes(make_raster)
    path = polygons_on(tmp_path / f"all.{ending}", images[0], [(5, 5, 9, 9), (250, 5, 260, 12)])
    found = pair(images, [path])
    assert found.pairs == ((images[0], (path,)), (images[1], (path,)))
    assert (found.images, found.labels, found.broken) == ((images[2],), (), ())
    assert not found.by_name


def test_many_files_over_one_image_and_one_elsewhere(make_raster, tmp_path):
    images = scenes(make_raster)[:1]
    inside = polygons_on(tmp_path / "x.geojson", images[0], [(5, 5, 9, 9)])
    across = polygons_on(tmp_path / "y.gpkg", images[0], [(90, -20, 170, 20)], "EPSG:3857")
    beside = polygons_on(tmp_path / "z.fgb", images[0], [(101, 0, 130, 20)])
    labels = make_raster(
        10, 10, bands=1, name="labels.tif", transform=rasterio.Affine(1, 0, 500_050, 0, -1, 5_599_990)
    )
    found = pair(images, [inside, beside, across, str(labels)])
    assert found.pairs == ((images[0], (inside, across, str(labels))),)
    assert found.labels == (beside,)


def test_broken_and_empty_files_are_named_and_do_not_stop_the_others(make_raster, tmp_path):
    images = scenes(make_raster)
    broken_image, broken_labels = tmp_path / "broken.tif", tmp_path / "bad.geojson"
    broken_image.write_bytes(b"II*\0nothing")
    broken_labels.write_text("{")
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    good = polygons_on(tmp_path / "good.geojson", images[0], [(5, 5, 9, 9)])
    found = pair([str(broken_image), *images], [str(broken_labels), str(empty), good])
    assert found.pairs == ((images[0], (good,)),)
    assert found.labels == (str(empty),) and found.images == tuple(images[1:])
    assert [path for path, _ in found.broken] == [str(broken_image), str(broken_labels)]
    assert all(why.startswith(path) for path, why in found.broken)


@pytest.mark.parametrize("name", SMALL)
def test_labels_are_found_on_rasters_of_all_kinds(make_raster, tmp_path, name):
    georef = SMALL[name]
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform)}
    image = str(make_raster(georef.height, georef.width, bands=1, **place))
    size = np.array([georef.width, georef.height])
    box = shapely.box(*(0.42 * size), *(0.55 * size))
    far = shapely.box(*(1.9 * size), *(2.0 * size))
    on, off = (in_crs([one], georef, "EPSG:4326") for one in (box, far))
    labels = [str(write_vector(tmp_path / "on.gpkg", on, "EPSG:4326"))]
    if name != "from_greenwich":  # it is everywhere
        labels.append(str(write_vector(tmp_path / "off.gpkg", off, "EPSG:4326")))
    found = pair([image], labels)
    assert found.pairs == ((image, (labels[0],)),) and list(found.labels) == labels[1:]


def test_the_real_buildings_find_their_images_by_both_rules(data_folder, tmp_path):
    images = sorted(str(path) for path in (data_folder / "buildings").glob("*/*.tif"))
    labels = sorted(str(path) for path in (data_folder / "buildings").glob("*/*.geojson"))
    by_name = pair(images, labels)
    assert by_name.by_name and len(by_name.pairs) == 6 and not by_name.images and not by_name.labels
    renamed = []
    for number, label in enumerate(labels):
        (tmp_path / f"{number}.geojson").symlink_to(label)
        renamed.append(str(tmp_path / f"{number}.geojson"))
    by_place = pair(images, renamed)
    assert not by_place.by_name
    original = dict(zip(renamed, labels, strict=True))
    assert [(image, tuple(original[file] for file in files)) for image, files in by_place.pairs] == list(
        by_name.pairs
    )
