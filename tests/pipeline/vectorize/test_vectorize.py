"""Polygons of label rasters that somebody else made, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from georefs import GEOREFS
from label_maps import keeping, random_labels, whole_map
from places import ROOT
from tiers import some
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.cli import main
from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.raster.georef import Georef


@pytest.mark.parametrize("place", some(["utm", "polar", "south_up"], 1))
def test_polygons_equal_those_of_one_pass_whatever_the_sheets(place, tmp_path):
    labels = patches()
    path = write_labels(tmp_path / "map.tif", labels, place)
    found = {}
    for side in (64, 100, 2048):
        assert vectorize(path, tmp_path / str(side), "--sheet", str(side), "--format", "geojson,gpkg") == 0
        folder = tmp_path / str(side) / "map"
        found[side] = [(folder / f"polygons.{ending}").read_bytes() for ending in ("geojson", "gpkg")]
    assert found[64] == found[100] == found[2048]
    georef = Georef(GEOREFS[place].crs, GEOREFS[place].transform, *labels.shape)
    regions = whole_map(labels, np.zeros_like(labels), keeping())
    options = FeatureOptions("map", dict(enumerate(("0", "1", "2", "3"))), scored=False)
    expected = [json.loads(feature.text) for feature in features(regions, georef, options)]
    assert collection(tmp_path / "64")["features"] == expected


def test_averages_of_a_virtual_raster_do_not_depend_on_sheets(tmp_path):
    """GDAL averages labels otherwise in each window."""
    path, averaged = write_labels(tmp_path / "map.tif", patches(350, 450)), tmp_path / "averaged.vrt"
    averaged.write_text(
        '<VRTDataset rasterXSize="617" rasterYSize="479"><SRS>EPSG:32632</SRS><GeoTransform>500000, 0.5, 0, 5600000, 0, '
        '-0.5</GeoTransform><VRTRasterBand dataType="Byte" band="1"><ComplexSource resampling="average"><SourceFilename>'
        f'{path}</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="450" ySize="350"/>'
        '<DstRect xOff="0" yOff="0" xSize="617" ySize="479"/></ComplexSource></VRTRasterBand></VRTDataset>'
    )
    found = []
    for side in ("100", "167", "2048"):
        assert vectorize(averaged, tmp_path / side, "--sheet", side) == 0
        found.append((tmp_path / side / "averaged" / "polygons.geojson").read_bytes())
    assert found[0] == found[1] == found[2]


def test_polygons_rasterize_to_the_labels(tmp_path):
    labels = patches()
    path = write_labels(tmp_path / "map.tif", labels)
    assert vectorize(path, tmp_path / "out", "--sheet", "128", "--format", "fgb") == 0
    with rasterio.open(path) as raster:
        meta, table = pyogrio.read_arrow(tmp_path / "out" / "map" / "polygons.fgb")
        assert rasterio.CRS.from_user_input(meta["crs"]) == raster.crs
        shapes = shapely.from_wkb(table.column(table.num_columns - 1).to_pylist())
        values = map(int, table["class"].to_pylist())
        drawn = rasterio.features.rasterize(
            zip(shapes, values, strict=True),
            labels.shape,
            fill=255,
            transform=raster.transform,
            dtype="uint8",
        )
    assert np.array_equal(drawn, labels)


def test_options_change_the_result(tmp_path, capsys):
    path = write_labels(tmp_path / "map.tif", patches(150, 211), names=("sea", "land", "lake", "ice"))

    def run(name, *options):
        assert vectorize(path, tmp_path / name, *options) == 0
        found = collection(tmp_path / name)["features"]
        return [(f["id"], f["properties"]["class"], f["properties"]["area_m2"]) for f in found], found

    plain, found = run("plain")
    assert {kind for _, kind, _ in plain} == {"sea", "land", "lake", "ice"}
    assert not any("score" in f["properties"] for f in found)
    assert "land" in capsys.readouterr().out
    assert run("classes", "--classes", "lake,ice")[0] == [p for p in plain if p[1] in ("lake", "ice")]
    names = {"sea": "a", "land": "b", "lake": "c", "ice": "d"}
    named = [entry[1:] for entry in run("named", "--class-names", "a,b,c,d")[0]]
    assert named == [(names[kind], area) for _, kind, area in plain]
    middle = 1.01 * float(np.median([area for *_, area in plain]))
    large = run("large", "--min-area", str(middle))[0]
    assert large == [p for p in plain if p[2] >= middle] and 0 < len(large) < len(plain)
    assert sum(area for *_, area in run("filled", "--fill-holes", str(middle))[0]) > sum(
        area for *_, area in plain
    )
    assert len(json.dumps(run("simple", "--simplify", str(middle**0.5))[1])) < len(json.dumps(found))
    whole = sum(area for *_, area in plain)
    sieved = run("sieved", "--sieve", str(middle))[0]
    assert len(sieved) < len(plain) and min(area for *_, area in sieved) >= middle * 0.999
    assert sum(area for *_, area in sieved) == pytest.approx(whole, rel=1e-6)
    assert run("sieved by small sheets", "--sieve", str(middle), "--sheet", "64")[0] == sieved
    squared, found = run("squared", "--regularize")
    assert any(f["properties"]["regularized"] for f in found) and squared != plain
    assert run("squared by small sheets", "--regularize", "--sheet", "64")[1] == found
    both = "--regularize", "--simplify", str(middle**0.5)
    simple = run("squared and simple", *both)[1]
    assert run("both by small sheets", *both, "--sheet", "64")[1] == simple
    for one, other in zip(simple, found, strict=True):
        assert one["properties"]["regularized"] == other["properties"]["regularized"]
        assert not one["properties"]["regularized"] or one == other
    assert len(json.dumps(simple)) < len(json.dumps(found))
    cut = run("cut", "--max-region", "100")[0]
    assert len(cut) > len(plain)
    assert sum(area for *_, area in cut) == pytest.approx(sum(area for *_, area in plain))
    joined, found = run("joined", "--connectivity", "8")
    assert len(joined) < len(plain) and "MultiPolygon" in {f["geometry"]["type"] for f in found}
    assert run("joined by small sheets", "--connectivity", "8", "--sheet", "64")[1] == found
    assert run("work", "--work", str(tmp_path / "elsewhere"))[0] == plain
    assert (tmp_path / "elsewhere").exists() and not (tmp_path / "work" / ".work").exists()


def test_label_maps_of_terraseam_are_called_like_their_folders(tmp_path):
    labels = random_labels(6)
    paths = [str(write_labels(tmp_path / name / "labels.tif", labels)) for name in ("east", "west")]
    assert main(["vectorize", *paths, "--output", str(tmp_path / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".work", "east", "manifest.json", "west"]
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert record["counts"]["rasters"] == 2
    counts = np.bincount(labels.ravel(), minlength=256)
    for raster in record["rasters"]:
        assert {name: found["pixels"] for name, found in raster["classes"].items()} == {
            str(label): counts[label] for label in range(255) if counts[label]
        }


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32"])
def test_labels_of_any_integer_type_are_read(dtype, tmp_path):
    labels = random_labels(4)
    wide = np.where(labels == 255, 7, labels).astype(dtype)
    found = []
    for name, pixels, nodata in (("plain", labels, 255), ("wide", wide, 7)):
        path = write_labels(tmp_path / name / "map.tif", pixels, nodata=nodata)
        assert vectorize(path, tmp_path / name / "out") == 0
        found.append(collection(tmp_path / name / "out"))
    assert found[0] == found[1]


def test_wrong_rasters_are_refused_with_every_reason(tmp_path, capsys):
    labels = random_labels(4)
    (tmp_path / "text.tif").write_text("no raster")
    paths = [
        write_labels(tmp_path / "float.tif", labels.astype("float32")),
        write_labels(tmp_path / "nowhere.tif", labels, crs=None),
        tmp_path / "text.tif",
        write_labels(tmp_path / "a.tif", labels, names=("sea", "land")),
        write_labels(tmp_path / "b.tif", labels, names=("sea", "rock")),
    ]
    options = ["--output", str(tmp_path / "out"), "--classes", "trees", "--simplify", "1e6"]
    assert main(["vectorize", *map(str, paths), *options]) == 2
    said = capsys.readouterr().err
    assert "float.tif has samples of type float32, but labels are whole numbers" in said
    assert "nowhere.tif has no CRS; assign one" in said
    assert "text.tif is not a raster that GDAL can open" in said
    assert "b.tif calls the label 1 rock, and " in said and "name the labels with --class-names" in said
    assert "has no class trees; it has sea, land, the numbers of other labels" in said
    assert "a.tif, which is" in said and "on its shorter side: nothing would remain" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.tif"], "give --output, on"),
        (["a.tif", "--output", "o", "--simplify", "-3"], "'-3' is not a number above 0"),
        (["a.tif", "--output", "o", "--simplify", "0"], "'0' is not a number above 0"),
        (["a.tif", "--output", "o", "--format", "dxf"], "'dxf' is not one of geojson"),
        (["a.tif", "--output", "o", "--min-score", "0.5"], "--min-score is not an option of Terraseam"),
        (["a.tif", "--output", "o"], "a.tif does not exist"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words, capsys):
    assert main(["vectorize", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_sheets_too_small_to_see_neighbours_are_refused(tmp_path, capsys):
    path = write_labels(tmp_path / "map.tif", patches())
    assert vectorize(path, tmp_path / "out", "--regularize", "--sheet", "8") == 2
    said = capsys.readouterr().err
    assert "--regularize needs " in said and "more than a sheet of 8 px; pass a larger --sheet" in said
    assert not (tmp_path / "out").exists()


def test_a_truncated_raster_is_left_out_with_a_sentence(tmp_path, capsys):
    path = write_labels(
        tmp_path / "map.tif", np.random.default_rng(0).integers(0, 9, (400, 500)).astype(np.uint8)
    )
    path.write_bytes(path.read_bytes()[:100_000])
    assert vectorize(path, tmp_path / "out") == 3
    assert "map.tif cannot be read at rows" in capsys.readouterr().err


@pytest.mark.slow
def test_more_than_65535_regions_on_a_sheet(tmp_path):
    labels = (np.indices((257, 259)).sum(axis=0) % 2).astype(np.uint8)
    assert vectorize(write_labels(tmp_path / "map.tif", labels), tmp_path / "out", "--min-area", "1e9") == 0
    assert collection(tmp_path / "out")["features"] == []
    assert vectorize(tmp_path / "map.tif", tmp_path / "all", "--format", "parquet") == 0
    assert pyarrow.parquet.read_metadata(tmp_path / "all" / "map" / "polygons.parquet").num_rows == 257 * 259


def test_help_and_wrong_arguments_import_no_beam():
    code = (
        "import sys; from terraseam.pipeline.cli import main\n"
        "status = main(['vectorize', 'missing.tif', '--output', 'out'])\n"
        "assert status == 2, status\n"
        "assert not {'apache_beam', 'tensorflow', 'keras', 'numba'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_options_go_through_for_empty_and_tiny_rasters_among_others(tmp_path):
    rng = np.random.default_rng(0)
    corner = np.full((60, 110), 255, np.uint8)
    corner[:50, :50] = np.kron(rng.integers(0, 3, (13, 13)), np.ones((4, 4)))[:50, :50]
    maps = {
        "corner": corner,
        "empty": np.full((40, 50), 255, np.uint8),
        "pixel": np.ones((1, 1), np.uint8),
        "no_pixel": np.full((1, 1), 255, np.uint8),
        "one_class": np.ones((70, 45), np.uint8),
        "line": rng.integers(0, 3, (1, 90)).astype(np.uint8),
    }
    paths = [write_labels(tmp_path / f"{name}.tif", labels) for name, labels in maps.items()]
    for number, options in enumerate(
        [
            ["--sieve", "5"],
            [
                "--sieve",
                "1",
                "--connectivity",
                "8",
                "--max-region",
                "16",
                "--min-area",
                "3",
                "--fill-holes",
                "3",
                "--regularize",
                "--simplify",
                "1",
            ],
        ]
    ):
        output = tmp_path / str(number)
        argv = [*map(str, paths), "--output", str(output), "--sheet", "32", "--format", "geojson,fgb,parquet"]
        assert main(["vectorize", *argv, *options]) == 0, options
        for name, labels in maps.items():
            found = collection(output, name)["features"]
            if "--regularize" not in options and "--simplify" not in options:
                area = sum(feature["properties"]["area_m2"] for feature in found)
                assert area == pytest.approx(np.count_nonzero(labels != 255) * 0.25, rel=2e-3)
            left_out = name == "pixel" and "--min-area" in options
            assert bool(found) == bool((labels != 255).any() and not left_out), name
