"""Sources of virtual rasters that lie on servers: their masks are read with them, or their failures are told."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import servers
from tiers import some
from vectorize_cases import patches, write_labels

from terraseam.pipeline.cli import main
from terraseam.tiles.access import web as tiles_web
from terraseam.tiles.access.gdal_library import forget_answers
from terraseam.tiles.access.remote_sources import MOST_NAMES, allowed_names
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_raster import LabelRaster, inspect_label_raster
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource

SHAPE = HEIGHT, WIDTH = 60, 70
WHOLE = Window(0, 0, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with a masked raster, a virtual raster of it, and one of that."""
    folder = tmp_path_factory.mktemp("web")
    mask = np.full(SHAPE, 255, np.uint8)
    mask[:, :30] = 0
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)}
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8", **place}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(folder / "scene.tif", "w", **profile) as dataset,
    ):
        dataset.write(np.random.default_rng(5).integers(1, 255, (3, *SHAPE)).astype(np.uint8))
        dataset.write_mask(mask)
    rasterio.shutil.copy(folder / "scene.tif", folder / "scene.vrt", driver="VRT")
    rasterio.shutil.copy(folder / "scene.vrt", folder / "outer.vrt", driver="VRT")
    with servers.server(str(folder)) as door:
        yield folder, door, mask > 0


@pytest.fixture(autouse=True)
def quick(monkeypatch, site):
    monkeypatch.setattr(tiles_web, "WAITS_S", (0.0, 0.0))
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    allow_sources([f"{site[1].url}/*"])
    forget_answers()
    yield
    allow_sources(())
    site[1].rule()


@pytest.fixture
def local(site, tmp_path):
    """A virtual raster of this machine whose source lies on the server."""
    folder, door, _ = site
    text = (folder / "scene.vrt").read_text()
    path = tmp_path / "local.vrt"
    path.write_text(
        text.replace(">scene.tif<", f">/vsicurl/{door.url}/scene.tif<").replace('relativeToVRT="1"', "")
    )
    return str(path)


def paths(site, local):
    return {"local": local, "scene": f"{site[1].url}/scene.vrt", "outer": f"{site[1].url}/outer.vrt"}


@pytest.mark.parametrize("which", ["local", "scene", "outer"])
def test_masks_of_sources_are_read_and_are_among_the_files(site, local, which):
    _, door, measured = site
    info = inspect_raster(paths(site, local)[which])
    assert f"/vsicurl/{door.url}/scene.tif.msk" in info.files
    assert np.array_equal(
        RasterSource(info.path, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE).valid, measured
    )


@pytest.mark.parametrize("which", ["local", "scene", "outer"])
@pytest.mark.parametrize("status", [500, 400, 403])
def test_a_server_that_does_not_say_what_lies_beside_a_source_is_told(site, local, which, status):
    _, door, _ = site
    door.rule(pattern=r"/scene\.tif\.msk$", actions=[status])
    path = paths(site, local)[which]
    if status == 403:
        assert inspect_raster(path).hidden == (f"{door.url}/scene.tif.msk",)
        return
    with pytest.raises(
        RasterError, match=rf"it is not known whether \S*/scene\.tif\.msk exists beside it.* {status} "
    ):
        inspect_raster(path)


@pytest.mark.parametrize("which", ["local", "outer"])
@pytest.mark.parametrize(
    ("pattern", "action"),
    some(
        [
            ("msk$", 404),
            ("GET .*msk$", 500),
            ("msk$", 500),
            ("GET .*msk$", 403),
            ("GET .*msk$", "cut"),
            ("HEAD .*msk$", 404),
        ],
        2,
    ),
)
def test_a_mask_of_a_source_that_fails_after_planning_fails_the_window(site, local, which, pattern, action):
    """And once the server answers again, so does the mask: GDAL remembers what was not there."""
    _, door, measured = site
    info = inspect_raster(paths(site, local)[which])
    forget_answers()
    source = pickle.loads(pickle.dumps(RasterSource(info.path, (1, 2, 3), (0, 0, 0), files=info.files)))
    door.rule(pattern=pattern, actions=[action])
    for _ in range(2):
        with pytest.raises(RasterReadError, match=r"scene\.tif\.msk"):
            source.read(WHOLE)
    door.rule()
    assert np.array_equal(source.read(WHOLE).valid, measured)


def test_what_fails_once_and_is_there_when_it_is_asked_for_again_is_read(site, local):
    _, door, measured = site
    info = inspect_raster(local)
    forget_answers()
    door.rule(pattern=r"GET .*msk$", actions=[None, 500])
    assert np.array_equal(
        RasterSource(local, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE).valid, measured
    )


def test_masks_of_sources_of_label_rasters_are_read_or_missed(site):
    folder, door, _ = site
    write_labels(folder / "map.tif", patches(*SHAPE), nodata=None)
    mask = np.full(SHAPE, 255, np.uint8)
    mask[:20] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "map.tif", "r+") as dataset:
        dataset.write_mask(mask)
    rasterio.shutil.copy(folder / "map.tif", folder / "map.vrt", driver="VRT")
    info = inspect_label_raster(f"{door.url}/map.vrt")
    read = LabelRaster(info.path, info.files).read(WHOLE).codes
    assert (read[:20] == 255).all() and (read[20:] != 255).all()
    forget_answers()
    door.rule(pattern="msk$", actions=[503])
    with pytest.raises(RasterReadError, match=r"map\.tif\.msk"):
        LabelRaster(info.path, info.files).read(WHOLE)


@pytest.mark.parametrize("which", ["local", "scene", "outer"])
def test_a_server_that_has_a_file_of_any_name_is_asked_for_few_of_each_source(site, local, which, capfd):
    _, door, measured = site
    door.rule(pattern=r" /(?!(scene\.tif(\.msk)?|scene\.vrt|outer\.vrt)$)", actions=["/scene.tif"])
    info = inspect_raster(paths(site, local)[which])
    with open_raster(info.path) as dataset:
        dataset.read(out_shape=(3, 6, 7))
    assert np.array_equal(
        RasterSource(info.path, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE).valid, measured
    )
    assert len(door.seen()) < 90 and "VSICURL" not in "".join(capfd.readouterr())


def test_a_virtual_raster_says_which_masks_of_its_sources_may_not_be_read(site, local, tmp_path, capsys):
    _, door, _ = site
    door.rule(pattern=r"scene\.tif\.msk$", actions=[401])
    words = ["plan", local, "--model", "coast", "--any-gsd", "--output", str(tmp_path / "out")]
    assert main([*words, "--allow-sources", f"{door.url}/*"]) == 0
    said = capsys.readouterr()
    assert "does not reveal whether" in said.out + said.err and "scene.tif.msk exists" in said.out + said.err


def test_of_many_sources_gdal_is_told_the_endings():
    names = [f"/vsicurl/http://h.example/{number}.tif" for number in range(MOST_NAMES + 1)]
    mask = f"{names[0]}.msk"
    found = allowed_names(names, [mask])
    assert found == {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif 0.tif.msk"}
    assert allowed_names(names[:2], [mask]) == {"CPL_VSIL_CURL_ALLOWED_EXTENSIONS": "0.tif 1.tif 0.tif.msk"}
    assert allowed_names(["/vsicurl/http://h.example/a.tif?b"], []) is None
