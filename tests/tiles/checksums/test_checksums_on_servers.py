"""Blocks of rasters on servers are what was written, as far as their checksums tell, and are asked for once."""

from __future__ import annotations

import os

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import servers
from damages import break_checksum, break_streams, flip, plain_pixels
from tiers import some

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS
from terraseam.pipeline.storage.servers import share_settings
from terraseam.tiles.access import web as tiles_web
from terraseam.tiles.access.gdal_library import forget_answers
from terraseam.tiles.access.open_files import close
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource

TILES = {"compress": "deflate", "zlevel": 1, "tiled": True, "blockxsize": 64, "blockysize": 64}
LAYOUTS = {
    "tiles": TILES,
    "strips": {"compress": "deflate", "zlevel": 1},
    "one strip": {"compress": "deflate", "zlevel": 1, "blockysize": 600},
    "tiles by band": {**TILES, "interleave": "band"},
    "without checksums": {"compress": "lzw"},
}
SHAPE = 600, 500
WHOLE = Window(0, 0, *SHAPE)
WINDOWS = [Window(row, col, 230, 270) for row in (-20, 180, 380) for col in (-10, 240)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with servers.server(str(folder)) as door:
        yield folder, door


@pytest.fixture(autouse=True)
def quick(monkeypatch, site):
    monkeypatch.setattr(tiles_web, "WAITS_S", (0.0, 0.0))
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    allow_sources([f"{site[1].url}/*"])
    forget_answers()
    yield
    allow_sources(())
    verify_blocks(True)
    site[1].rule()


@pytest.fixture
def scene(make_raster, site):
    """Writes a raster into the folder of the server."""

    def make(name="scene.tif", **options):
        pixels = plain_pixels(*SHAPE) if "pixels" not in options else options.pop("pixels")
        return make_raster(pixels=pixels, name=str(site[0] / name), **options)

    return make


def read(path, window=WHOLE):
    return RasterSource(str(path), (1, 2, 3), (0.0,) * 3).read(window)


def url(site, name="scene.tif"):
    return f"{site[1].url}/{name}"


def spent(site, path, windows, *, verified):
    """Pixels, requests for the raster, and bytes that were asked for."""
    verify_blocks(verified)
    forget_answers()
    site[1].seen()
    source = RasterSource(path, (1, 2, 3), (0.0,) * 3)
    pixels = [source.read(window).pixels for window in windows]
    seen = [one for one in site[1].seen() if one[1].endswith(".tif")]
    return pixels, len(seen), asked_for(seen)


def asked_for(seen):
    """Bytes of ranges that were asked for."""
    ends = [where.removeprefix("bytes=").split("-") for _, _, where in seen if where]
    return sum(int(last) + 1 - int(first) for first, last in ends)


@pytest.mark.parametrize("name", LAYOUTS)
def test_blocks_that_are_verified_are_asked_for_once(site, scene, name):
    scene(**LAYOUTS[name])
    before, requests, size = spent(site, url(site), WINDOWS, verified=False)
    pixels, more_requests, more_bytes = spent(site, url(site), WINDOWS, verified=True)
    assert all(map(np.array_equal, before, pixels))
    assert more_requests <= requests + 2, (more_requests, requests)
    assert more_bytes <= 1.1 * size + (32 << 10), (more_bytes, size)


def test_windows_of_more_bytes_than_are_held_are_read_in_parts(site, scene, monkeypatch):
    path = scene(**TILES)
    monkeypatch.setattr("terraseam.tiles.checksums.dataset.MOST_HELD", 64 * 512 * 3)
    for window in (WHOLE, Window(-30, 100, 500, 300)):
        assert np.array_equal(read(url(site), window).pixels, read(path, window).pixels)
    break_checksum(path, 7, 3)
    with pytest.raises(RasterReadError, match="row 448, column 192"):
        read(url(site))


@pytest.mark.parametrize("name", ["tiles", "strips", "tiles by band"])
def test_a_wrong_checksum_is_told_where_its_block_is_read(site, scene, name):
    path = scene(**LAYOUTS[name])
    with rasterio.open(path) as dataset:
        height, width = dataset.block_shapes[0]
    break_checksum(path, 3, 0)
    block = Window(3 * height, 0, height, width)
    told = (
        rf"{url(site)} cannot be read at .* \(the block at row {3 * height}, column 0.* is corrupt: its "
        rf"checksum is wrong \({url(site)}\)\); the file is truncated or damaged: copy it again, or pass --no-verify"
    )
    for window in (block, WHOLE):
        with pytest.raises(RasterReadError, match=told):
            read(url(site), window)
    read(url(site), Window(5 * height, 0, height, width))
    verify_blocks(False)
    read(url(site))


@pytest.mark.parametrize("where", ["local", "server"])
def test_sources_of_virtual_rasters_are_verified(site, scene, tmp_path, where):
    path = scene(**TILES)
    rasterio.shutil.copy(path, site[0] / "scene.vrt", driver="VRT")
    text = (site[0] / "scene.vrt").read_text()
    local = tmp_path / "local.vrt"
    local.write_text(text.replace(">scene.tif<", f">/vsicurl/{url(site)}<").replace('relativeToVRT="1"', ""))
    virtual = {"local": str(local), "server": url(site, "scene.vrt")}[where]
    before, requests, _ = spent(site, virtual, WINDOWS[:2], verified=False)
    pixels, more_requests, _ = spent(site, virtual, WINDOWS[:2], verified=True)
    assert all(map(np.array_equal, before, pixels))
    assert more_requests <= requests + 2, (more_requests, requests)
    break_checksum(path, 2, 2)
    with pytest.raises(RasterReadError, match="row 128, column 128 is corrupt"):
        read(virtual)


def test_sources_of_mosaics_are_asked_for_once(site, scene):
    bands = ["", "", ""]
    for number in range(4):
        scene(f"part{number}.tif", **TILES)
        for band in range(3):
            bands[band] += (
                f'<SimpleSource><SourceFilename relativeToVRT="1">part{number}.tif</SourceFilename>'
                f"<SourceBand>{band + 1}</SourceBand>"
                '<SrcRect xOff="0" yOff="0" xSize="500" ySize="600"/>'
                f'<DstRect xOff="{500 * number}" yOff="0" xSize="500" ySize="600"/></SimpleSource>'
            )
    drawn = "".join(f'<VRTRasterBand dataType="Byte">{sources}</VRTRasterBand>' for sources in bands)
    text = f'<VRTDataset rasterXSize="2000" rasterYSize="600">{drawn}</VRTDataset>'
    (site[0] / "mosaic.vrt").write_text(text)
    windows = [Window(100, 500 * number + 100, 200, 200) for number in range(4)]
    before, requests, size = spent(site, url(site, "mosaic.vrt"), windows, verified=False)
    pixels, more_requests, more_bytes = spent(site, url(site, "mosaic.vrt"), windows, verified=True)
    assert all(map(np.array_equal, before, pixels))
    assert more_requests <= requests + 2, (more_requests, requests)
    assert more_bytes <= 1.1 * size, (more_bytes, size)


@pytest.mark.parametrize("name", ["scene.tif", "scene.vrt"])
def test_nothing_of_a_file_is_kept_when_its_raster_is_closed(site, scene, name):
    pixels = plain_pixels(*SHAPE)
    for turned in (False, True):
        path = scene(pixels=pixels[::-1] if turned else pixels, **TILES)
        rasterio.shutil.copy(path, site[0] / "scene.vrt", driver="VRT")
        source = RasterSource(url(site, name), (1, 2, 3), (0.0,) * 3)
        assert np.array_equal(source.read(WHOLE).pixels, pixels[::-1] if turned else pixels)
        close(source)


@pytest.mark.parametrize("inside", [True, False])
def test_masks_are_verified(site, scene, inside):
    mask = np.full((64, 64), 255, np.uint8)
    mask[5:50, 7:30] = 0
    path = scene("masked.tif", pixels=plain_pixels(64, 64), **TILES)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    assert np.array_equal(read(url(site, "masked.tif"), Window(0, 0, 64, 64)).valid, mask > 0)
    break_streams(path if inside else path.with_name("masked.tif.msk"), 64, 64)
    with pytest.raises(RasterReadError, match="its checksum is wrong"):
        read(url(site, "masked.tif"), Window(0, 0, 64, 64))


def test_pngs_are_verified(site):
    path = site[0] / "scene.png"
    pixels = np.random.default_rng(1).integers(0, 255, (3, 50, 60)).astype(np.uint8)
    with rasterio.open(path, "w", driver="PNG", height=50, width=60, count=3, dtype="uint8") as dataset:
        dataset.write(pixels)
    whole = Window(0, 0, 50, 60)
    assert np.array_equal(read(url(site, "scene.png"), whole).pixels, np.moveaxis(pixels, 0, -1))
    flip(path, path.read_bytes().index(b"IEND") + 4)
    with pytest.raises(RasterReadError, match="is corrupt: its checksum is wrong"):
        read(url(site, "scene.png"), whole)


def test_a_server_that_does_not_answer_is_no_damage(site, scene):
    scene(**TILES)
    source = RasterSource(url(site), (1, 2, 3), (0.0,) * 3)
    source.read(Window(0, 0, 1, 1))
    site[1].rule(pattern="GET .*scene.tif", every=1, actions=[500] * 1000)
    with pytest.raises(RasterReadError, match="its server does not respond as it should"):
        source.read(Window(300, 0, 200, 200))
    site[1].rule()
    forget_answers()
    source.read(Window(300, 0, 200, 200))


def test_pictures_drawn_smaller_are_not_asked_for_whole(site, scene, tmp_path):
    path = scene(**TILES)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8])
    rasterio.shutil.copy(path, tmp_path / "local.vrt", driver="VRT")
    text = (tmp_path / "local.vrt").read_text()
    (tmp_path / "local.vrt").write_text(text.replace(f">{path}<", f">/vsicurl/{url(site)}<"))
    for name in (url(site), str(tmp_path / "local.vrt")):
        with open_raster(name) as dataset:
            site[1].seen()
            dataset.verify_all()
            dataset.read(1, out_shape=(60, 50))
            assert asked_for(site[1].seen()) < path.stat().st_size / 4


@pytest.mark.parametrize("bucket", some(["gs", "s3"], 1), indirect=True)
def test_buckets_are_verified(bucket, make_raster, tmp_path):
    path = make_raster(pixels=plain_pixels(*SHAPE), name="scenes/scene.tif", **TILES)
    whole = read(path)
    address = f"{bucket.put_folder(tmp_path / 'scenes', 'whole')}/scene.tif"
    share_settings(NO_BEAM_ARGUMENTS, os.environ)
    assert np.array_equal(read(address).pixels, whole.pixels)
    break_checksum(path, 2, 2)
    damaged = f"{bucket.put_folder(tmp_path / 'scenes', 'damaged')}/scene.tif"
    told = rf"row 128, column 128 is corrupt: its checksum is wrong \({damaged}\)\).*--no-verify"
    with pytest.raises(RasterReadError, match=told):
        read(damaged)

    requests = {}
    for verified in (False, True):
        verify_blocks(verified)
        forget_answers()
        bucket.door.seen()
        read(address if verified else damaged)
        requests[verified] = servers.count(bucket.door.seen(), r"scene\.tif$")
    assert requests[True] <= requests[False] + 2, requests
