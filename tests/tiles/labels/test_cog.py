import numpy as np
import pytest
import rasterio

from terraseam.pipeline.options.segment import COMPRESSIONS
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels import cog
from terraseam.tiles.labels.cog import parse_colour, write_label_cog
from terraseam.tiles.raster.georef import Georef

CLASSES = {"land": (200, 180, 90), "water": (30, 90, 200), "lake": (0, 255, 255)}


def write(path, labels, sheet_cores=1, transform=(0.5, 0, 5e5, 0, -0.5, 5.6e6), *, reverse=False, **options):
    height, width = labels.shape
    lattice = Lattice(height, width, 512, Halo(0, 0, 0, 0), sheet_cores)
    windows = [lattice.sheet_window(*sheet) for sheet in lattice.sheets()]
    sheets = [(window, labels[window.within(lattice.raster)]) for window in windows]
    georef = Georef("EPSG:32632", transform, height, width)
    write_label_cog(
        path, sheets[::-1] if reverse else sheets, georef, CLASSES, {"model": "coast 1"}, **options
    )
    return path


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (30, 40)).astype("uint8")
    grown = np.kron(coarse, np.ones((45, 50), np.uint8))[:1301, :1999]
    grown[100:400, 50:90] = 255
    return grown


def test_labels_read_back_equal_with_everything_a_gis_wants(tmp_path, labels):
    with rasterio.open(write(tmp_path / "labels.tif", labels)) as dataset:
        assert (dataset.read(1) == labels).all()
        assert dataset.nodata == 255
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.value.lower() == "deflate"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2, 4]
        assert {i: dataset.colormap(1)[i][:3] for i in range(3)} == dict(enumerate(CLASSES.values()))
        assert [dataset.tags(1)[f"class_{i}"] for i in range(3)] == list(CLASSES)
        assert dataset.tags()["model"] == "coast 1"
        assert dataset.crs == "EPSG:32632" and dataset.transform.c == 5e5


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_labels_are_compressed_as_is_asked(compression, tmp_path, labels):
    with rasterio.open(write(tmp_path / "labels.tif", labels, compression=compression)) as dataset:
        assert dataset.compression.value.lower() == compression
        assert (dataset.read(1) == labels).all()


def test_overviews_take_the_commonest_label(tmp_path):
    labels = np.zeros((1024, 1024), np.uint8)
    labels[::2, ::2] = 1
    labels[:512, :512] = 2
    labels[0:512:2, 0:512:2] = 1
    with rasterio.open(write(tmp_path / "labels.tif", labels), overview_level=0) as dataset:
        half = dataset.read(1)
    assert (half[:256, :256] == 2).all() and (half[256:, 256:] == 0).all()


def test_sheets_and_their_order_change_no_byte(tmp_path, labels):
    written = [
        write(tmp_path / f"{n}_{reverse}.tif", labels, n, reverse=reverse).read_bytes()
        for n in (1, 2, 4)
        for reverse in (False, True)
    ]
    assert len(set(written)) == 1


SHAPES = [(1024, 1024), (1301, 1999), (777, 513), (1537, 2048), (2047, 2047), (2048, 3), (1, 600), (100, 100)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("classes", [2, 5])
def test_labels_written_at_once_are_the_same_file_as_in_parts(tmp_path, monkeypatch, shape, classes):
    """Overviews are GDAL's there: noise has ties, class 4 is nodata, and odd sides have pixels that cover three."""
    rng = np.random.default_rng(classes)
    labels = np.kron(rng.integers(0, classes, (300, 300)), np.ones((7, 7)))[: shape[0], : shape[1]].astype(
        "uint8"
    )
    noise = rng.random(shape) < 0.3
    labels[noise] = rng.integers(0, classes, noise.sum())
    labels[labels == 4] = 255
    at_once = write(tmp_path / "labels.tif", labels).read_bytes()
    monkeypatch.setattr(cog, "AT_ONCE", 0)
    assert write(tmp_path / "labels.tif", labels).read_bytes() == at_once


def test_small_label_maps_open_no_draft_on_the_disk(tmp_path, monkeypatch, labels):
    opened = []
    rasterio_open = rasterio.open
    monkeypatch.setattr(
        rasterio,
        "open",
        lambda path, *more, **options: opened.append(path) or rasterio_open(path, *more, **options),
    )
    write(tmp_path / "labels.tif", labels)
    assert not opened


@pytest.mark.parametrize("at_once", [0, cog.AT_ONCE])
def test_no_draft_is_left_behind(tmp_path, monkeypatch, labels, at_once):
    monkeypatch.setattr(cog, "AT_ONCE", at_once)
    write(tmp_path / "labels.tif", labels)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.tif"]


def test_colours_are_parsed():
    assert parse_colour("#1e5ac8") == (30, 90, 200)
