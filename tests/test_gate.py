"""GDAL follows redirections to where a server may send it, and to no other part of the network."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import servers

from tiles import web as tiles_web
from tiles.gate import PROXIES, admit
from tiles.gdal_library import forget_answers
from tiles.inspect import RasterError, inspect_raster
from tiles.network_kinds import kind_of_address
from tiles.source import RasterReadError, RasterSource
from tiles.sources import allow_sources
from tiles.window import Window

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
    with pytest.raises(RasterReadError, match=r"redirects to 127\.0\.0\.1|masked\.tif\.msk lies beside it"):
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
from tiles.inspect import inspect_raster
from tiles.gate import _gate
inspect_raster(sys.argv[1])
print(_gate._process is not None)
"""


def test_the_gate_ends_with_the_process_that_started_it(here):
    program = (
        "import os\nfrom tiles.gate import _gate, admit\nadmit([%r])\nprint(_gate._process.pid, flush=True)\n"
    )
    program += "os._exit(0)"
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


def test_names_of_this_machine_and_buckets_need_no_gate():
    admit(["scene.tif", "/vsis3/bucket/scene.tif", "gs://bucket/scene.tif"])
