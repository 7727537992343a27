"""What files name beside themselves is found before GDAL asks for it, and nothing is asked of strangers."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from terraseam.tiles.access.places import Place, addresses_in, is_allowed, place_of
from terraseam.tiles.access.references import TextError, kind_of, references_in
from terraseam.tiles.access.sources import allow_sources, sources_of, start_of
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.opening import open_raster

HEAD = (
    '<VRTDataset rasterXSize="53" rasterYSize="37"><SRS>EPSG:32632</SRS>'
    "<GeoTransform>500000,0.5,0,5600000,0,-0.5</GeoTransform>"
)
RECT = '<{}Rect xOff="0" yOff="0" xSize="53" ySize="37"/>'
SERVICE = (
    "<GDAL_WMS><Service name='TMS'><ServerUrl>{}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow><UpperLeftX>"
    "-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY><LowerRightX>20037508</LowerRightX><LowerRightY>-20037508</LowerRightY>"
    "<TileLevel>1</TileLevel></DataWindow><Projection>EPSG:3857</Projection><BandsCount>3</BandsCount></GDAL_WMS>"
)


def vrt(source, relative=0, kind="SimpleSource", more=""):
    sizes = RECT.format("Src") + RECT.format("Dst")
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><{kind}><SourceFilename relativeToVRT="{relative}">{source}'
        f"</SourceFilename><SourceBand>{band}</SourceBand>{sizes}</{kind}>{more}</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    return f"{HEAD}{bands}</VRTDataset>"


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def warped(source):
    return (
        f"{HEAD.replace('<VRTDataset', '<VRTDataset subClass=' + chr(34) + 'VRTWarpedDataset' + chr(34))}<GDALWarpOptions>"
        f'<SourceDataset relativeToVRT="0">{source}</SourceDataset></GDALWarpOptions></VRTDataset>'
    )


RAW = (
    f'{HEAD}<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">{{}}'
    "</SourceFilename><ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>53</LineOffset></VRTRasterBand></VRTDataset>"
)
ELSEWHERE = {
    "a source": lambda url: vrt(f"/vsicurl/{url}/a.tif"),
    "a source without GDAL's name": lambda url: vrt(f"{url}/a.tif"),
    "a source by an attribute": lambda url: vrt("x").replace(
        '<SourceFilename relativeToVRT="0">x</SourceFilename>',
        f"<sourcefilename>/VSICURL/{url}</sourcefilename>",
    ),
    "a source in an archive": lambda url: vrt(f"/vsizip//vsicurl/{url}/a.zip/a.tif"),
    "a source with settings": lambda url: vrt(
        f"/vsicurl?max_retry=0&amp;url={url.replace(':', '%3A').replace('/', '%2F')}"
    ),
    "a virtual raster in a name": lambda url: vrt(f"vrt:///vsicurl/{url}/a.tif?bands=1"),
    "a subdataset": lambda url: vrt(f'NETCDF:"/vsicurl/{url}/a.nc":band'),
    "a service in a name": lambda url: vrt(escaped(SERVICE.format(url))),
    "a service of a driver": lambda url: vrt(f"WMS:{url}/wms?layers=a"),
    "a mask": lambda url: vrt("scene.tif", 1).replace(
        "</VRTDataset>",
        f'<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename>/vsicurl/{url}/a.msk</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand></VRTDataset>",
    ),
    "an overview": lambda url: vrt(
        "scene.tif",
        1,
        more=f"<Overview><SourceFilename>/vsicurl/{url}/a.ovr</SourceFilename><SourceBand>1</SourceBand></Overview>",
    ),
    "overviews of metadata": lambda url: vrt("scene.tif", 1).replace(
        "</VRTDataset>",
        f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}/a.ovr</MDI></Metadata></VRTDataset>',
    ),
    "a warped source": lambda url: warped(f"/vsicurl/{url}/a.tif"),
    "raw bytes": lambda url: RAW.format(f"/vsicurl/{url}/a.raw"),
    "a bucket": lambda _: vrt("/vsis3/strange/a.tif"),
    "a service": SERVICE.format,
    "a catalogue": lambda url: f'{{"stac_version": "1.0.0", "assets": {{"a": {{"href": "{url}/a.tif"}}}}}}',
}


@pytest.fixture(autouse=True)
def nothing_allowed():
    allow_sources(())
    yield
    allow_sources(())


@pytest.fixture
def scene(make_raster):
    return make_raster()


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_local_files_ask_no_server_that_the_user_has_not_named(kind, web, make_raster, tmp_path):
    make_raster()
    _, door = web
    door.seen()
    text = ELSEWHERE[kind](door.url)
    inner, outer = tmp_path / "inner.TIF", tmp_path / "outer.png"
    inner.write_text(text)
    outer.write_text(vrt("inner.TIF", 1))
    for path in (inner, outer):
        with pytest.raises(RasterError, match=r"(inner\.TIF|the text of a raster).*pass --allow-sources '"):
            inspect_raster(str(path))
    assert not door.seen()


@pytest.mark.parametrize("beside", [False, True])
def test_overviews_that_metadata_name_are_not_asked_for(beside, web, scene, tmp_path):
    _, door = web
    item = f"/vsicurl/{door.url}/a.ovr"
    if beside:
        scene.with_name("scene.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{item}</MDI></Metadata></PAMDataset>'
        )
    else:
        with rasterio.open(scene, "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=item)
    (tmp_path / "outer.vrt").write_text(vrt("scene.tif", 1))
    door.seen()
    for path in (scene, tmp_path / "outer.vrt"):
        with pytest.raises(RasterError, match=rf"scene\.tif(\.aux\.xml)? names {item}, which lies elsewhere"):
            inspect_raster(str(path))
    assert not door.seen()


def test_the_user_may_allow_servers(web, scene, tmp_path):
    folder, door = web
    (folder / "a.tif").write_bytes(scene.read_bytes())
    path = tmp_path / "scene.vrt"
    path.write_text(vrt(f"/vsicurl/{door.url}/a.tif"))
    with pytest.raises(RasterError, match=rf"pass --allow-sources '{door.url}/\*' if you trust it"):
        inspect_raster(str(path))
    allow_sources([f"{door.url}/*"])
    assert f"/vsicurl/{door.url}/a.tif" in inspect_raster(str(path)).files
    with open_raster(str(path)) as there, open_raster(str(scene)) as here:
        assert np.array_equal(there.read(), here.read())
    (tmp_path / "tiles.tif").write_text(SERVICE.format(door.url))
    with open_raster(str(tmp_path / "tiles.tif")) as dataset:
        assert dataset.driver == "WMS"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("a.tif", None),
        ("{url}/a.tif", None),
        ("/vsicurl/{url}/a.tif", None),
        ("inner.XML", None),
        ("/etc/hostname", "a file of this machine"),
        ("/vsizip//tmp/a.zip/a.tif", "a file of this machine"),
        ("/vsicurl/http://127.0.0.1:9/a.tif", "pass --allow-sources 'http://127.0.0.1:9/"),
        ("/vsis3/bucket/a.tif", "pass --allow-sources 's3://bucket/"),
        ("outside.XML", "outside.XML names /etc/hostname, a file of this machine"),
    ],
)
def test_files_of_a_server_name_files_of_that_server_alone(source, words, web, scene):
    folder, door = web
    (folder / "a.tif").write_bytes(scene.read_bytes())
    (folder / "inner.XML").write_text(vrt("a.tif", 1))
    (folder / "outside.XML").write_text(vrt("/etc/hostname"))
    relative = int(source in ("a.tif", "inner.XML", "outside.XML"))
    name = f"{len(list(folder.iterdir()))}.vrt"
    (folder / name).write_text(vrt(source.format(url=door.url), relative))
    if words is None:
        assert len(inspect_raster(f"{door.url}/{name}").files) >= 2
        return
    with pytest.raises(RasterError, match=words):
        inspect_raster(f"{door.url}/{name}")


def test_local_files_may_name_others_anywhere(make_raster, tmp_path):
    far = make_raster(name="far/away/scene.tif")
    for number, (name, relative) in enumerate(
        [(far, 0), ("../vrts/../far/away/scene.tif", 1), (f"GTIFF_DIR:1:{far}", 0)]
    ):
        path = tmp_path / "vrts" / f"{number}.vrt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(vrt(name, relative))
        with open_raster(str(path)) as dataset, open_raster(str(far)) as own:
            assert np.array_equal(dataset.read(), own.read())


def test_sources_are_found_however_deep_and_however_named(make_raster, tmp_path):
    scene = make_raster(mask=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(scene, "r+") as dataset:
        dataset.write_mask(np.full((37, 53), 255, np.uint8))
    names = ["scene.tif", "a.VRT", "b", "c.tif", "d.vrt"]
    for inner, outer in pairwise(names):
        (tmp_path / outer).write_text(vrt(inner, 1))
    files = inspect_raster(str(tmp_path / "d.vrt")).files
    assert set(files) == {str(tmp_path / name) for name in [*names, "scene.tif.msk"]}


def write_index(path, names, driver="GPKG", metadata=None):
    """Write an index of tiles that all lie where `make_raster` puts them."""
    pyogrio.raw.write(
        str(path),
        np.array([shapely.to_wkb(shapely.box(500_000, 5_599_981.5, 500_026.5, 5_600_000))] * len(names)),
        [np.array(names, object)],
        ["location"],
        geometry_type="Polygon",
        crs="EPSG:32632",
        driver=driver,
        layer_metadata=metadata,
    )
    return path


def test_the_tiles_of_an_index_are_among_its_sources(make_raster, tmp_path, web):
    scene, index = make_raster(), tmp_path / "index.fgb"
    path = tmp_path / "mosaic.gti"
    path.write_text(
        "<GDALTileIndexDataset><IndexDataset>index.fgb</IndexDataset><LocationField>location</LocationField></GDALTileIndexDataset>"
    )
    write_index(index, [str(scene)], "FlatGeobuf")
    assert {str(scene), str(index)} <= set(sources_of(str(path)))
    write_index(index, [str(scene), f"/vsicurl/{web[1].url}/a.tif"], "FlatGeobuf")
    web[1].seen()
    for name in ("mosaic.gti", "index.fgb"):
        with pytest.raises(RasterError):
            inspect_raster(str(tmp_path / name))
    assert not web[1].seen()


READ = """
import sys
import numpy as np
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.raster.opening import open_raster
path, own = sys.argv[1:]
print(*inspect_raster(path).files)
with open_raster(path) as dataset, open_raster(own) as other:
    assert np.array_equal(dataset.read(), other.read())
"""


@pytest.mark.parametrize("name", ["mosaic.gti.gpkg", "outer.vrt"])
def test_an_index_without_a_text_is_read_with_its_tiles(name, make_raster, tmp_path):
    """In a process of its own, as GDAL keeps files of an index open when it has been closed."""
    scene = make_raster()
    path = write_index(tmp_path / "mosaic.gti.gpkg", ["scene.tif"])
    (tmp_path / "outer.vrt").write_text(vrt("mosaic.gti.gpkg", 1))
    words = [sys.executable, "-c", READ, str(tmp_path / name), str(scene)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert {str(scene), str(path)} <= set(done.stdout.split())


@pytest.mark.parametrize("kind", ["a tile", "an overview"])
@pytest.mark.parametrize("through", ["mosaic.gti.gpkg", "mosaic.gti", "outer.vrt"])
def test_an_index_without_a_text_names_no_strangers(kind, through, make_raster, tmp_path, web):
    strange = f"/vsicurl/{web[1].url}/a.tif"
    scene = str(make_raster())
    names, metadata = (
        ([scene, strange], None) if kind == "a tile" else ([scene], {"OVERVIEW_0_DATASET": strange})
    )
    write_index(tmp_path / "mosaic.gti.gpkg", names, metadata=metadata)
    (tmp_path / "mosaic.gti").write_text(
        "<GDALTileIndexDataset><IndexDataset>mosaic.gti.gpkg</IndexDataset></GDALTileIndexDataset>"
    )
    (tmp_path / "outer.vrt").write_text(vrt("mosaic.gti.gpkg", 1))
    web[1].seen()
    with pytest.raises(RasterError, match=rf"names {strange}, which lies elsewhere; pass --allow-sources"):
        inspect_raster(str(tmp_path / through))
    assert not web[1].seen()


@pytest.mark.parametrize("through", ["mosaic.gti.gpkg", "mosaic.gti"])
def test_an_index_that_is_the_text_of_another_file_asks_nobody(through, tmp_path, web):
    address = f"{web[1].url}/index.geojson"
    text = "<OGRVRTDataSource><OGRVRTLayer name='a'><SrcDataSource>{}</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>"
    index = tmp_path / "mosaic.gti.gpkg"
    (tmp_path / "mosaic.gti").write_text(
        f"<GDALTileIndexDataset><IndexDataset>{index.name}</IndexDataset></GDALTileIndexDataset>"
    )
    web[1].seen()
    index.write_text(text.format(address))
    with pytest.raises(RasterError, match=rf"names {address}, which lies elsewhere; pass --allow-sources"):
        inspect_raster(str(tmp_path / through))
    assert not web[1].seen()
    index.write_text(text.format(write_index(tmp_path / "other.fgb", ["a.tif"], "FlatGeobuf")))
    with pytest.raises(
        RasterError, match=r"tiles that are in another file; write it as \.gti\.gpkg with ogr2ogr"
    ):
        inspect_raster(str(tmp_path / through))


def test_an_index_that_cannot_be_read_is_refused_with_a_way_out(make_raster, tmp_path, web):
    folder, door = web
    scene = make_raster()
    path = write_index(tmp_path / "mosaic.gti.gpkg", [str(scene)])
    (folder / "mosaic.gti.gpkg").write_bytes(path.read_bytes())
    with pytest.raises(
        RasterError, match=r"index of tiles on a server, which is not read; download it, or use a virtual"
    ):
        inspect_raster(f"{door.url}/mosaic.gti.gpkg")
    flat = write_index(tmp_path / "mosaic.gti.fgb", [str(scene)], "FlatGeobuf")
    try:
        assert str(scene) in inspect_raster(str(flat)).files
    except RasterError as error:
        assert "a format that this GDAL does not read; write it as .gti.gpkg" in str(error)
    write_index(tmp_path / "empty.gti.gpkg", [])
    with pytest.raises(RasterError, match="names no tiles in a field 'location'; make it with gdaltindex"):
        inspect_raster(str(tmp_path / "empty.gti.gpkg"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset>&b;</VRTDataset>', "document type declaration"),
        (
            "<VRTDataset>" + "<a>" * 99 + "</a>" * 99 + "</VRTDataset>",
            "more than 64 nested elements",
        ),
        ("<VRTDataset><SourceFilename>a</VRTDataset>", "not well-formed"),
        (
            "<VRTDataset><PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTDataset>",
            "no code from a file is run",
        ),
        ("<VRTDataset/><VRTDataset/>", "not well-formed"),
    ],
)
def test_texts_are_read_safely(text, words):
    with pytest.raises(TextError, match=words):
        references_in(text.encode())


def test_the_encoding_is_that_which_gdal_reads():
    named = "<VRTDataset><SourceFilename>a</SourceFilename></VRTDataset>"
    assert references_in(f'<?xml version="1.0" encoding="cp037"?>{named}'.encode())[0].name == "a"


def test_a_loop_of_virtual_rasters_ends(tmp_path):
    (tmp_path / "a.vrt").write_text(vrt("b.vrt", 1))
    (tmp_path / "b.vrt").write_text(vrt("a.vrt", 1))
    assert set(sources_of(str(tmp_path / "a.vrt"))) == {str(tmp_path / "a.vrt"), str(tmp_path / "b.vrt")}


def test_kinds_are_known_by_what_a_file_holds():
    assert kind_of(b"II*\0" + bytes(99)).name == "OTHER"
    assert kind_of(b"\xff\xd8\xff <VRTDataset>").name == "VRT"
    assert kind_of(b"<?xml version='1.0'?>\n<GDAL_WMTS>").name == "SERVICE"
    assert kind_of(b"<Dimap_Document>").name == "METADATA"


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("scene.tif", ()),
        ("/vsizip/a.zip/b.tif", ()),
        ('HDF5:"a.h5"://group', ()),
        ("/vsicurl/https://h.example/a.tif", ("https://h.example/a.tif",)),
        ("/vsizip//vsis3/bucket/a.zip/b", ("s3://bucket/a.zip/b",)),
        ("vrt://gs://bucket/a.tif?bands=1", ("gs://bucket/a.tif?bands=1",)),
    ],
)
def test_addresses_are_found_in_names(name, addresses):
    assert addresses_in(name) == addresses


def test_places_are_servers_and_buckets():
    assert place_of("HTTPS://user@H.example:443/a") == Place("https", "h.example")
    assert place_of("http://h.example:8000?a") == Place("http", "h.example:8000")
    assert place_of("s3://bucket/a") == Place("s3", "bucket")


@pytest.mark.parametrize(
    ("address", "pattern", "allowed"),
    [
        ("https://h.example/a/b.tif", "https://h.example/*", True),
        ("https://h.example/a/b.tif", "h.example", True),
        ("https://h.example/a/b.tif", "*.example", True),
        ("https://h.example/a/b.tif", "https://h.example/a/*", True),
        ("https://h.example/a/../b.tif", "https://h.example/a/*", False),
        ("https://h.example/a/%2e%2e/b.tif", "https://h.example/a/*", False),
        ("https://evil.net/h.example/b.tif", "https://*h.example/*", False),
        ("https://h.example@evil.net/b.tif", "https://h.example*", False),
        ("https://evil.net\\@h.example/b.tif", "https://h.example/*", False),
        ("http://h.example/b.tif", "https://h.example/*", False),
        ("http://h.example:81/b.tif", "http://h.example/*", False),
        ("gs://bucket/a", "gs://bucket/*", True),
        ("s3://bucket/a", "gs://bucket/*", False),
    ],
)
def test_a_pattern_allows_a_host_or_a_part_of_it(address, pattern, allowed):
    assert is_allowed(address, [pattern]) == allowed


def test_files_of_servers_are_read_from_their_beginning(web):
    folder, door = web
    (folder / "long.txt").write_bytes(bytes(range(1, 251)) * 100)
    assert start_of(f"{door.url}/long.txt", 10_000) == (bytes(range(1, 251)) * 100)[:10_000]
