"""What lies beside a raster of a bucket is read with it, and where nothing lies there, nothing is looked for."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.inputs.remote_rasters import existing_files
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.servers import prepare
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.source import RasterSource

WHOLE = Window(0, 0, 60, 70)


def stands_alone(path):
    there = existing_files(path)
    return there is not None and there.files == (path,)


def known(path):
    there = existing_files(path)
    return there and there.files


@pytest.fixture
def scene(make_raster):
    return make_raster(60, 70)


def put(bucket, name, data):
    files.write_bytes(f"{bucket.root}/{name}", data)
    return f"{bucket.root}/{name}"


@pytest.mark.parametrize(
    ("beside", "alone"),
    [
        ([], True),
        (["ab.tif", "a_b.tif", "b.tif.msk", "a/b.tif"], True),
        (["a.tif.msk"], False),
        (["a.TIF.AUX.XML"], False),
        (["a.tfw"], False),
        (["a.vrt"], False),
    ],
)
def test_files_of_the_same_stem_may_belong_to_a_raster(bucket, scene, beside, alone):
    folder = f"stems{abs(hash((*beside, alone)))}"
    path = put(bucket, f"{folder}/a.tif", scene.read_bytes())
    for name in beside:
        put(bucket, f"{folder}/{name}", b"something")
    assert stands_alone(path) == alone
    assert not stands_alone(f"{bucket.root}/{folder}/a.vrt")


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
def test_of_paths_and_servers_without_listings_it_is_not_known(scene):
    assert not stands_alone(str(scene))
    with pytest.raises(
        RasterError, match=r"it is not known whether http://127\.0\.0\.1:9/a\.tif\.msk exists beside it"
    ):
        stands_alone("http://127.0.0.1:9/a.tif")
    assert not stands_alone("s3://there-is-no-such-bucket/a[1].tif")


def test_a_raster_alone_takes_few_requests_and_has_the_same_pixels(bucket, scene):
    path = put(bucket, "alone/a.tif", scene.read_bytes())
    prepare([path])
    here = RasterSource(str(scene), (1, 2, 3), (0, 0, 0)).read(WHOLE)
    looking, requests = {}, {}
    for alone in (False, True):
        bucket.door.seen()
        looking[alone] = inspect_raster(path, known=known(path) if alone else None)
        seen = looking[alone].files if alone else None
        chip = RasterSource(path, (1, 2, 3), (0, 0, 0), files=seen).read(WHOLE)
        requests[alone] = len(bucket.door.seen())
        assert np.array_equal(chip.pixels, here.pixels) and np.array_equal(chip.valid, here.valid)
    assert looking[True].georef == looking[False].georef and looking[True].files == looking[False].files
    assert requests[True] <= 8
    assert requests[False] > 60


def test_what_lies_beside_a_raster_is_read_with_it(bucket, scene):
    mask = np.full((60, 70), 255, np.uint8)
    mask[10:20, 30:50] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(scene, "r+") as dataset:
        dataset.write_mask(mask)
    path = put(bucket, "masked/scene.tif", scene.read_bytes())
    put(bucket, "masked/scene.tif.msk", scene.with_name("scene.tif.msk").read_bytes())
    prepare([path])
    info = inspect_raster(path, known=known(path))
    assert not stands_alone(path) and len(info.files) == 2
    chip = RasterSource(path, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE)
    assert np.array_equal(chip.valid, mask > 0)


def test_a_world_file_places_a_raster(bucket, tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=5, width=6, count=3, dtype="uint8", crs="EPSG:32632"
    ) as dataset:
        dataset.write(np.ones((3, 5, 6), np.uint8))
    path = put(bucket, "world/a.tif", (tmp_path / "a.tif").read_bytes())
    prepare([path])
    with pytest.raises(RasterError, match="has no geotransform"):
        inspect_raster(path, known=known(path))
    put(bucket, "world/a.tfw", b"2\n0\n0\n-2\n500001\n5600000\n")
    assert inspect_raster(path, known=known(path)).georef.transform[:3] == (2, 0, 500_000)


@pytest.mark.slow
def test_label_rasters_alone_take_few_requests_and_give_the_same_polygons(bucket, tmp_path):
    here = write_labels(tmp_path / "map.tif", patches(150, 211))
    there = put(bucket, "maps/map.tif", here.read_bytes())
    assert vectorize(here, tmp_path / "here") == 0
    bucket.door.seen()
    assert vectorize(there, tmp_path / "there") == 0
    assert len(bucket.door.seen()) <= 16
    assert collection(tmp_path / "there") == collection(tmp_path / "here")
