"""Results as the programs read them that people have: the same features, ids and labels in each."""

import gzip
import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from georefs import GEOREFS
from vectorize_cases import patches, vectorize, write_labels

from terraseam.pipeline.options.segment import COMPRESSIONS, FORMATS
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.cog import write_label_cog
from terraseam.tiles.raster.georef import Georef

CLASSES = {"sea": (10, 20, 200), "land": (30, 200, 40), "lake": (90, 100, 255), "ice": (250, 250, 250)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder of polygons in all formats, regions that touch at corners being one feature."""
    folder = tmp_path_factory.mktemp("clients")
    labels = write_labels(folder / "map.tif", patches(120, 150), names=tuple(CLASSES))
    assert vectorize(labels, folder / "out", "--format", ",".join(FORMATS), "--connectivity", "8") == 0
    return folder / "out" / "map"


@pytest.fixture(scope="module")
def truth(written):
    """Class, area and shape of each feature by its id, read without any of the clients."""
    found = json.loads((written / "polygons.geojson").read_text())["features"]
    shapes = shapely.from_geojson([json.dumps(feature["geometry"]) for feature in found])
    assert shapely.is_valid(shapes).all() and len(found) > 50
    named = zip(found, shapes, strict=True)
    return {
        feature["id"]: (feature["properties"]["class"], feature["properties"]["area_m2"], shape)
        for feature, shape in named
    }


@pytest.fixture(scope="module", params=COMPRESSIONS)
def label_map(request, tmp_path_factory):
    """A label map of one of the compressions: file, labels and compression."""
    labels = patches(700, 900)
    georef = Georef(GEOREFS["utm"].crs, GEOREFS["utm"].transform, *labels.shape)
    path = tmp_path_factory.mktemp("labels") / "labels.tif"
    whole = Window(0, 0, *labels.shape)
    write_label_cog(path, [(whole, labels)], georef, CLASSES, {}, request.param)
    return path, labels, request.param


def assert_same(truth, ids, classes, areas, shapes, crs="lonlat"):
    """Hold what a client reads against the truth; shapes by their coordinates where they are in degrees."""
    assert sorted(ids) == sorted(truth)
    shapes = np.asarray(shapes, dtype=object)
    assert shapely.is_valid(shapes).all()
    for identity, name, area, shape in zip(ids, classes, areas, shapes, strict=True):
        assert (name, area) == truth[identity][:2]
        if crs == "lonlat":
            assert shapely.equals(shape, truth[identity][2])
        else:
            assert shape.area == pytest.approx(area, rel=2e-3)


@pytest.mark.parametrize("ending", ["geojson", "geojsonl", "fgb", "gpkg"])
def test_gdal_reads_the_same_features(ending, written, truth):
    meta, _, shapes, columns = pyogrio.raw.read(written / f"polygons.{ending}")
    found = dict(zip(meta["fields"], columns, strict=True))
    place = "lonlat" if ending.startswith("geojson") else "map"
    assert_same(truth, found["id"], found["class"], found["area_m2"], shapely.from_wkb(shapes), place)


@pytest.mark.parametrize("ending", ["geojson", "geojsonl", "fgb", "gpkg", "parquet"])
def test_geopandas_reads_the_same_features(ending, written, truth):
    geopandas = pytest.importorskip("geopandas")
    path = written / f"polygons.{ending}"
    frame = geopandas.read_parquet(path) if ending == "parquet" else geopandas.read_file(path)
    place = "lonlat" if ending.startswith("geojson") else "map"
    assert frame.crs.to_epsg() == (4326 if place == "lonlat" else 32633)
    assert_same(truth, frame["id"], frame["class"], frame["area_m2"], frame.geometry, place)
    assert "score" not in frame


def test_duckdb_reads_the_same_features(written, truth):
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(
        f"SELECT id, class, area_m2, geometry::BLOB AS shape FROM '{written / 'polygons.parquet'}'"
    ).fetchall()
    ids, classes, areas, shapes = zip(*rows, strict=True)
    assert_same(truth, ids, classes, areas, shapely.from_wkb(shapes), "map")


@pytest.fixture(scope="module")
def spatial():
    """DuckDB with its extension for geometries, which it fetches from its own server."""
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    try:
        connection.execute("INSTALL spatial; LOAD spatial")
    except duckdb.Error as error:
        pytest.skip(f"DuckDB's extension spatial cannot be installed here: {str(error).splitlines()[0][:80]}")
    return connection


@pytest.mark.parametrize("ending", ["geojson", "fgb", "gpkg"])
def test_duckdb_spatial_reads_the_same_features(ending, spatial, written, truth):
    columns = "id, class, area_m2, ST_AsWKB(geom)::BLOB, ST_IsValid(geom)"
    rows = spatial.sql(f"SELECT {columns} FROM ST_Read('{written / f'polygons.{ending}'}')").fetchall()
    ids, classes, areas, shapes, valid = zip(*rows, strict=True)
    assert all(valid)
    assert_same(
        truth, ids, classes, areas, shapely.from_wkb(shapes), "lonlat" if ending == "geojson" else "map"
    )


def test_sedonadb_reads_the_same_features(written, truth):
    sedona = pytest.importorskip("sedonadb").connect()
    sedona.read_parquet(str(written / "polygons.parquet")).to_view("polygons")
    columns = "id, class, area_m2, ST_AsBinary(geometry) AS shape, ST_IsValid(geometry) AS valid"
    table = sedona.sql(f"SELECT {columns} FROM polygons").to_arrow_table().to_pydict()
    assert all(table["valid"])
    assert_same(truth, table["id"], table["class"], table["area_m2"], shapely.from_wkb(table["shape"]), "map")


def test_geoarrow_reads_the_same_features(written, truth):
    geoarrow = pytest.importorskip("geoarrow.pyarrow")
    from geoarrow.pyarrow import io

    table = io.read_geoparquet_table(written / "polygons.parquet")
    shapes = shapely.from_wkb(geoarrow.as_wkb(table["geometry"]).to_pylist())
    said = table.select(["id", "class", "area_m2"]).to_pydict()
    assert_same(truth, said["id"], said["class"], said["area_m2"], shapes, "map")


def test_the_package_flatgeobuf_reads_the_same_shapes(written, truth):
    """Without attributes: it cannot read columns of truth values, of nobody's files."""
    pytest.importorskip("flatgeobuf")
    from flatgeobuf.generic.featurecollection import deserialize
    from flatgeobuf.geojson.geometry import from_geometry

    def shape_of(feature, header):
        return shapely.geometry.shape(from_geometry(feature.Geometry(), header.geometry_type))

    with (written / "polygons.fgb").open("rb") as file:
        shapes = list(deserialize(file, None, shape_of))
    assert len(shapes) == len(truth) and shapely.is_valid(shapes).all()
    expected = sorted(area for _, area, _ in truth.values())
    assert np.allclose(sorted(shapely.area(shapes)), expected, rtol=2e-3)


def test_a_validator_of_geojson_finds_nothing(written, truth):
    validator = pytest.importorskip("geojson_validator")
    collection = json.loads((written / "polygons.geojson").read_text())
    assert validator.validate_structure(collection) == {}
    found = validator.validate_geometries(collection)
    assert not found["invalid"], found["invalid"]
    assert found["count_geometry_types"]["Polygon"] > 0 and found["count_geometry_types"]["MultiPolygon"] > 0
    assert len(collection["features"]) == len(truth)


def test_the_package_pmtiles_reads_every_feature_at_the_finest_zoom(written, truth):
    reader = pytest.importorskip("pmtiles.reader")
    with (written / "polygons.pmtiles").open("rb") as file:
        source = reader.MmapSource(file)
        header = reader.Reader(source).header()
        tiles = [
            gzip.decompress(content)
            for (z, _, _), content in reader.all_tiles(source)
            if z == header["max_zoom"]
        ]
        (layer,) = reader.Reader(source).metadata()["vector_layers"]
    assert all(any(identity.encode() in tile for tile in tiles) for identity in truth)
    assert (
        layer["id"] == "polygons"
        and layer["fields"]["area_m2"] == "Number"
        and "score" not in layer["fields"]
    )


def test_geopackages_say_a_version_that_gdal_3_6_reads_without_a_warning(written):
    head = (written / "polygons.gpkg").read_bytes()[:100]
    assert (head[68:72], int.from_bytes(head[60:64])) == (b"GPKG", 10300)


def test_rasterio_with_a_gdal_of_its_own_reads_the_same_labels(label_map):
    path, labels, compression = label_map
    with rasterio.open(path) as dataset:
        assert (dataset.read(1) == labels).all() and dataset.compression.value.lower() == compression


def test_rio_cogeo_takes_label_maps_for_cogs(label_map):
    cogeo = pytest.importorskip("rio_cogeo")
    path, _, compression = label_map
    valid, errors, warnings = cogeo.cog_validate(path, strict=True)
    assert valid and not errors and not warnings
    assert cogeo.cog_info(path).Compression.lower() == compression


def test_rio_tiler_reads_the_same_labels(label_map):
    io = pytest.importorskip("rio_tiler.io")
    path, labels, _ = label_map
    with io.Reader(str(path)) as reader:
        found = reader.read()
        assert {label: colour[:3] for label, colour in reader.colormap.items() if label < 4} == dict(
            enumerate(CLASSES.values())
        )
    assert (found.array.filled(255)[0] == labels).all()


def test_tifffile_reads_the_same_labels(label_map):
    tifffile, _ = pytest.importorskip("tifffile"), pytest.importorskip("imagecodecs")
    path, labels, _ = label_map
    with tifffile.TiffFile(path) as file:
        assert (file.pages[0].asarray() == labels).all()
        assert [page.shape for page in file.pages[1:]] == [(350, 450)]


def test_opencv_reads_the_same_labels(label_map):
    cv2 = pytest.importorskip("cv2")
    path, labels, compression = label_map
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if compression == "zstd":
        assert found is None  # That is why it is not the default.
        return
    colours = np.zeros((256, 3), np.uint8)
    colours[:4] = list(CLASSES.values())
    known = labels != 255
    assert (found[..., ::-1][known] == colours[labels[known]]).all()
