"""GDAL follows redirections to where a server may send it, and to no other part of the network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import rasterio
import servers

from terraseam.tiles.access import web as tiles_web
from terraseam.tiles.access.gate import PROXIES, admit
from terraseam.tiles.access.gdal_library import forget_answers
from terraseam.tiles.access.network_kinds import kind_of_address
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource
from terraseam.tiles.vectors.read import VectorError, read_bounds, read_polygons

WHOLE = Window(0, 0, 60, 70)
LINK = "http://169.254.169.254/latest/meta-data.tif"


def own_address():
    """An address of this machine that is none of its loopback; None where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.connect(("192.0.2.254", 9))
        except OSError:
            return None
        address = found.getsockname()[0]
    return None if kind_of_address(address) == "loopback" else address


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)}
    profile = {"driver": "GTiff", "height": 60, "width": 70, "count": 3, "dtype": "uint8", **place}
    with rasterio.open(folder / "scene.tif", "w", **profile) as dataset:
        dataset.write(np.random.default_rng(5).integers(1, 255, (3, 60, 70)).astype(np.uint8))
    source = "<SourceFilename relativeToVRT='1'>scene.tif</SourceFilename><SourceBand>1</SourceBand>"
    (folder / "scene.vrt").write_text(
        "<VRTDataset rasterXSize='70' rasterYSize='60'><SRS>EPSG:32632</SRS><GeoTransform>500000,0.5,0,5600000,0,-0.5"
        f"</GeoTransform><VRTRasterBand dataType='Byte' band='1'><SimpleSource>{source}</SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    png = {"driver": "PNG", "height": 256, "width": 256, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / "tile.png", "w", **png) as dataset:
        dataset.write(np.full((3, 256, 256), 7, np.uint8))
    area = {"type": "Polygon", "coordinates": [[[9, 50], [9.1, 50], [9.1, 50.1], [9, 50]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": area}
    (folder / "area.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return folder


@pytest.fixture(scope="module")
def here(folder):
    """What is on the loopback of this machine."""
    with servers.server(str(folder)) as door:
        yield door


@pytest.fixture(scope="module")
def there(folder):
    """A server with another address of this machine."""
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but those of its loopback")
    with servers.server(str(folder), address) as door:
        yield door


@pytest.fixture(autouse=True)
def quick(monkeypatch, here, request):
    monkeypatch.setattr(tiles_web, "WAITS_S", (0.0, 0.0))
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    forget_answers()
    yield
    allow_sources(())
    here.rule()
    if "there" in request.fixturenames:
        request.getfixturevalue("there").rule()


@pytest.mark.parametrize(
    ("name", "method"), [("scene.tif", "HEAD"), ("scene.tif", "GET"), ("scene.vrt", "HEAD")]
)
def test_gdal_is_sent_to_no_part_of_the_network_that_was_not_named(here, there, name, method):
    """Our own looks are answered, what GDAL asks for is redirected to this machine; nothing of it is asked."""
    info = inspect_raster(f"{there.url}/{name}")
    source = RasterSource(info.path, (1,), (0,), files=info.files)
    there.rule(pattern=rf"^{method} /scene\.tif$", actions=[f"{here.url}/scene.tif"])
    here.seen()
    forget_answers()
    for _ in range(2):
        with pytest.raises(
            RasterReadError, match=r"redirects to 127\.0\.0\.1, a loopback address, which is not followed"
        ):
            source.read(WHOLE)
    assert not here.seen()
    there.rule()
    assert source.read(WHOLE).valid.all()


def test_a_mask_that_only_gdal_is_redirected_for_is_missed(folder, here, there):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(folder / "scene.tif") as dataset:
        profile, pixels = dataset.profile, dataset.read()
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(folder / "masked.tif", "w", **profile) as dataset,
    ):
        dataset.write(pixels)
        dataset.write_mask(np.eye(60, 70, dtype=np.uint8) * 255)
    info = inspect_raster(f"{there.url}/masked.tif")
    there.rule(pattern=r"HEAD .*msk$", actions=[f"{here.url}/masked.tif.msk"])
    forget_answers()
    here.seen()
    with pytest.raises(
        RasterReadError, match=r"redirects to 127\.0\.0\.1|masked\.tif\.msk (lies|exists) beside it"
    ):
        RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE)
    assert not here.seen()
    there.rule()


def test_a_server_of_the_loopback_sends_elsewhere_but_not_to_the_clouds_own_address(here, there):
    here.rule(pattern=" /moved", actions=[f"{there.url}/scene.tif"])
    info = inspect_raster(f"{here.url}/moved.tif")
    assert RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE).valid.all()
    here.rule(pattern="^HEAD /moved", actions=[LINK])
    forget_answers()
    with pytest.raises(RasterReadError, match=r"redirects to 169\.254\.169\.254, a link-local address"):
        RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE)
    here.rule()


def test_gdal_asks_a_redirected_raster_of_its_plan_for_nothing_more(here, there):
    there.rule(pattern="^HEAD /scene", actions=[f"{here.url}/scene.tif"])
    with pytest.raises(RasterError, match="redirects to 127"):
        inspect_raster(f"{there.url}/scene.tif")
    there.rule()


PROGRAM = """
import sys
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.access.gate import _gate
inspect_raster(sys.argv[1])
print(_gate._process is not None)
"""


def test_the_gate_ends_with_the_process_that_started_it(here):
    program = "import os\nfrom terraseam.tiles.access.gate import _gate, admit\nadmit([%r])\n"
    program += "print(_gate._process.pid, flush=True)\nos._exit(0)"
    done = subprocess.run(
        [sys.executable, "-c", program % f"{here.url}/scene.tif"], capture_output=True, text=True, check=True
    )
    for _ in range(100):
        try:
            os.kill(int(done.stdout), 0)
        except ProcessLookupError:
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the gate's process is still there")


@pytest.mark.parametrize(("proxy", "gate"), [({}, "True"), ({"all_proxy": "{}"}, "False")])
def test_a_proxy_of_the_user_decides_what_is_reached(here, proxy, gate):
    """GDAL is left with it; names that need none are asked for without it, as before."""
    env = {
        **os.environ,
        **{name: value.format(here.url) for name, value in proxy.items()},
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{here.url}/scene.tif"],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert done.stdout.strip() == gate


REDIRECTED = """
import os, sys
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
try:
    inspect_raster(sys.argv[1])
except RasterError as error:
    print(error)
print("stays", os.environ["no_proxy"], os.environ["NO_PROXY"])
"""


def test_hosts_that_need_no_proxy_go_through_the_gate_and_the_environment_stays(here, there):
    there.rule(pattern="^HEAD /scene", actions=[f"{here.url}/scene.tif"])
    here.seen()
    done = subprocess.run(
        [sys.executable, "-c", REDIRECTED, f"{there.url}/scene.tif"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "no_proxy": "*", "NO_PROXY": "127.0.0.1"},
    )
    assert "redirects to 127.0.0.1, a loopback address" in done.stdout
    assert done.stdout.endswith("stays * 127.0.0.1\n") and not here.seen()


def test_names_of_this_machine_and_buckets_need_no_gate():
    admit(["scene.tif", "/vsis3/bucket/scene.tif", "gs://bucket/scene.tif"])


def plain(folder, url, more=""):
    """A virtual raster that names a file of a server without GDAL's name for it."""
    text = (folder / "scene.vrt").read_text().replace("relativeToVRT='1'", "relativeToVRT='0'")
    return text.replace(">scene.tif<", f">{url}/scene.tif<").replace(
        "</VRTRasterBand>", f"{more}</VRTRasterBand>"
    )


def tiles(url):
    """The description of a service of tiles."""
    return (
        f"<GDAL_WMS><Service name='TMS'><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>"
        "<UpperLeftX>500000</UpperLeftX><UpperLeftY>5600000</UpperLeftY><LowerRightX>500256</LowerRightX><LowerRightY>5599744"
        "</LowerRightY><TileLevel>0</TileLevel><SizeX>256</SizeX><SizeY>256</SizeY></DataWindow><Projection>EPSG:32632</Projection>"
        "<BandsCount>3</BandsCount></GDAL_WMS>"
    )


STOPPED = r"a server that it names redirects to 127\.0\.0\.1, a loopback address, which is not followed; pass --allow-"


def test_files_that_are_named_without_gdals_name_are_sent_nowhere_else(folder, here, there, tmp_path):
    """Our own looks ask for ranges, and GDAL for the whole file."""
    path = tmp_path / "plain.vrt"
    path.write_text(plain(folder, there.url))
    allow_sources([f"{there.url}/*"])
    info = inspect_raster(str(path))
    source = RasterSource(info.path, (1,), (0,), files=info.files)
    there.rule(pattern=r"^GET /scene\.tif$", ranged=False, actions=[f"{here.url}/scene.tif"])
    here.seen()
    for _ in range(2):
        with pytest.raises(RasterReadError, match=STOPPED):
            source.read(WHOLE)
    assert not here.seen()
    there.rule()
    assert source.read(WHOLE).valid.all()


def test_archives_on_servers_are_sent_nowhere_else(folder, here, there, tmp_path):
    with zipfile.ZipFile(folder / "scene.zip", "w") as archive:
        archive.write(folder / "scene.tif", "scene.tif")
    names = [f"/vsizip//vsicurl/{there.url}/{number}.zip" for number in range(2)]
    for number, name in enumerate(names):
        (folder / f"{number}.zip").write_bytes((folder / "scene.zip").read_bytes())
        (tmp_path / f"{number}.vrt").write_text(plain(folder, name))
    allow_sources([f"{there.url}/*"])
    info = inspect_raster(str(tmp_path / "0.vrt"))
    assert RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE).valid.all()
    there.rule(pattern=r"zip$", actions=[f"{here.url}/scene.zip"])
    here.seen()
    with pytest.raises(RasterError, match=r"its server redirects to 127\.0\.0\.1, a loopback address"):
        inspect_raster(str(tmp_path / "1.vrt"))
    assert not here.seen()


def test_parts_of_files_on_servers_are_sent_nowhere_else(folder, here, there, tmp_path):
    path = tmp_path / "part.vrt"
    path.write_text(plain(folder, "").replace("/scene.tif", f'HDF5:"/vsicurl/{there.url}/part.h5"://band'))
    allow_sources([f"{there.url}/*"])
    info = inspect_raster(str(path))
    there.rule(pattern=r"part\.h5$", actions=[f"{here.url}/part.h5"])
    here.seen()
    with pytest.raises(RasterReadError, match=STOPPED):
        RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE)
    assert there.seen() and not here.seen()


@pytest.mark.parametrize(
    "name", ['NETCDF:"{}/a.nc":band', "NETCDF:{}/a.nc#mode=bytes", 'NETCDF:"{}//vsi/a.nc":b']
)
def test_the_netcdf_library_asks_nobody_itself(name, folder, there, tmp_path):
    """It makes its own requests, which GDAL's proxy knows nothing of."""
    (tmp_path / "a.vrt").write_text(plain(folder, "").replace("/scene.tif", name.format(there.url)))
    allow_sources([f"{there.url}/*"])
    there.seen()
    with pytest.raises(RasterError, match=r"requested by the netCDF library itself.*; download it"):
        inspect_raster(str(tmp_path / "a.vrt"))
    assert not there.seen()


def test_buckets_are_reached_beside_files_that_are_named_so(folder, there, tmp_path, monkeypatch):
    """That of a test is on the loopback, where the server may not send to."""
    with servers.bucket("s3", monkeypatch) as bucket:
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "scene.tif").write_bytes((folder / "scene.tif").read_bytes())
        root = bucket.put_folder(tmp_path / "own", "own")
        for name, value in {
            "AWS_S3_ENDPOINT": bucket.door.url.removeprefix("http://"),
            "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE",
        }.items():
            monkeypatch.setenv(name, value)
        text = plain(folder, there.url)
        band = text[text.index("<VRTRasterBand") : text.index("</VRTDataset>")]
        other = band.replace("band='1'", "band='2'").replace(f"{there.url}/", f"/vsis3/{root[5:]}/")
        path = tmp_path / "both.vrt"
        path.write_text(text.replace("</VRTDataset>", f"{other}</VRTDataset>"))
        allow_sources([f"{there.url}/*", "s3://scenes/*"])
        info = inspect_raster(str(path))
        pixels = RasterSource(info.path, (1, 2), (0, 0), files=info.files).read(WHOLE).pixels
        assert bucket.door.seen() and np.array_equal(pixels[..., 0], pixels[..., 1])


@pytest.mark.parametrize("within", [False, True])
def test_services_send_to_no_part_of_the_network_that_was_not_named(within, here, there, tmp_path):
    path = tmp_path / "service.xml"
    text = tiles(there.url)
    if within:
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        text = (
            "<VRTDataset rasterXSize='256' rasterYSize='256'><SRS>EPSG:32632</SRS><GeoTransform>500000,1,0,5600000,0,-1"
            f"</GeoTransform><VRTRasterBand dataType='Byte' band='1'><SimpleSource><SourceFilename>{escaped}"
            "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    path.write_text(text)
    allow_sources([f"{there.url}/*"])
    there.rule(pattern=r"png$", actions=["/tile.png"])
    info = inspect_raster(str(path))
    source = RasterSource(info.path, (1,), (0,), files=info.files)
    assert (source.read(WHOLE).pixels == 7).all()
    for link, host in (
        (f"{here.url}/tile.png", "127.0.0.1, a loopback"),
        (LINK, "169.254.169.254, a link-local"),
    ):
        there.rule(pattern=r"png$", actions=[link])
        here.seen()
        source = RasterSource(info.path, (1,), (0,), files=info.files)
        with pytest.raises(RasterReadError, match=rf"a server that it names redirects to {host} address"):
            source.read(WHOLE)
        assert not here.seen()
    allow_sources([f"{there.url}/*", "127.0.0.1"])
    there.rule(pattern=r"png$", actions=[f"{here.url}/tile.png"])
    source = RasterSource(info.path, (1,), (0,), files=info.files)
    assert (source.read(WHOLE).pixels == 7).all() and here.seen()


@pytest.mark.parametrize(
    "text",
    [
        "<GDAL_WMTS><GetCapabilitiesUrl>{}/wmts</GetCapabilitiesUrl><Layer>a</Layer></GDAL_WMTS>",
        "<WCS_GDAL><ServiceURL>{}/wcs?</ServiceURL><CoverageName>a</CoverageName></WCS_GDAL>",
    ],
)
def test_descriptions_that_a_service_gives_of_itself_come_from_nowhere_else(text, here, there, tmp_path):
    path = tmp_path / "service.xml"
    path.write_text(text.format(there.url))
    allow_sources([f"{there.url}/*"])
    there.rule(pattern="GET /w", actions=[f"{here.url}/tile.png"])
    here.seen()
    with pytest.raises(RasterError, match=STOPPED):
        inspect_raster(str(path))
    assert there.seen() and not here.seen()


VIRTUAL = "<OGRVRTDataSource><OGRVRTLayer name='area'><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"


@pytest.mark.parametrize("read", [read_polygons, read_bounds])
@pytest.mark.parametrize("text", [None, VIRTUAL.format("/vsicurl/{}"), VIRTUAL.format("{}")])
def test_files_of_polygons_are_sent_nowhere_else(text, read, folder, here, there, tmp_path):
    """Our own looks get ranges; GDAL remembers what a server answered for a name."""
    allow_sources([f"{there.url}/*"])
    paths = []
    for number in range(2):
        name = f"{read.__name__}-{len(text or '')}-{number}/area.geojson"
        (folder / name).parent.mkdir()
        (folder / name).write_bytes((folder / "area.geojson").read_bytes())
        paths.append(f"{there.url}/{name}" if text is None else str(tmp_path / f"{number}.vrt"))
        if text:
            (tmp_path / f"{number}.vrt").write_text(text.format(f"{there.url}/{name}"))
    read(paths[0])
    there.rule(pattern=r"area\.geojson$", ranged=False, actions=[f"{here.url}/area.geojson"])
    here.seen()
    with pytest.raises(
        VectorError, match=r"redirects to 127\.0\.0\.1, a loopback address, which is not followed"
    ):
        read(paths[1])
    assert not here.seen()
