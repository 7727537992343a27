"""Texts in files that are not UTF-8 are never lost without a word."""

from __future__ import annotations

import pytest
import rasterio
from evaluate_scenes import boxes, drawn, georef
from evaluate_scenes import write_labels as write_truth
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.cli import main
from terraseam.tiles.access.sources import SourcesError
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.opening import open_raster

NAMES = ("ground", "water-body", "trees", "roofs")


def in_latin_1(path, text):
    """Write a text of a file in another encoding, of as many bytes."""
    data = path.read_bytes()
    assert data.count(text.encode()) == 1
    path.write_bytes(data.replace(text.encode(), "Gewässer".encode("latin-1").ljust(len(text))))


@pytest.mark.parametrize("beside", [False, True])
def test_names_of_classes_that_are_not_utf_8_are_told(beside, tmp_path, capsys):
    suffix = "png" if beside else "tif"
    path = write_labels(tmp_path / "map.tif", patches(), names=NAMES)
    if beside:
        with rasterio.open(path) as dataset:
            rasterio.shutil.copy(dataset, tmp_path / "map.png", driver="PNG")
    in_latin_1(tmp_path / ("map.png.aux.xml" if beside else "map.tif"), "water-body")
    path = tmp_path / f"map.{suffix}"
    assert vectorize(path, tmp_path / "out") == 0
    assert f"map.{suffix} names the labels 1 in an encoding that is not UTF-8" in capsys.readouterr().err
    found = {one["properties"]["class"] for one in collection(tmp_path / "out")["features"]}
    assert found == {"ground", "1", "trees", "roofs"}
    assert vectorize(path, tmp_path / "named", "--class-names", "1=water") == 0
    assert "UTF-8" not in capsys.readouterr().err


def test_evaluate_says_why_classes_have_no_names(tmp_path, capsys):
    write_truth(tmp_path / "truth.tif", drawn(boxes(1)), georef())
    path = write_truth(tmp_path / "map.tif", drawn(boxes(1)), georef(), names=("background", "roofs-here"))
    in_latin_1(path, "roofs-here")
    arguments = ["evaluate", "--predicted", str(tmp_path / "map.tif"), "--truth", str(tmp_path / "truth.tif")]
    assert main(arguments) == 2
    assert "names classes in an encoding that is not UTF-8; name its labels" in capsys.readouterr().err
    assert main([*arguments, "--classes", "background,roof"]) == 0


def test_descriptions_of_bands_that_are_not_utf_8_are_refused_for_what_they_are(make_raster):
    path = make_raster()
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "water-body")
    in_latin_1(path, "water-body")
    with pytest.raises(RasterError, match="describes a band in an encoding that is not UTF-8"):
        inspect_raster(str(path))
    mended = path.with_name("mended.vrt")
    rasterio.shutil.copy(path, mended, driver="VRT")
    mended.write_text(mended.read_text("latin-1").replace("Gewässer  ", "water"))
    assert inspect_raster(str(mended)).band_descriptions[0].description == "water"


def test_overviews_of_a_name_that_is_not_utf_8_are_not_opened(make_raster, tmp_path):
    path = tmp_path / "scene.png"
    with rasterio.open(make_raster()) as dataset:
        rasterio.shutil.copy(dataset, path, driver="PNG")
    item = '<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{}</MDI></Metadata>'
    path.with_name("scene.png.aux.xml").write_bytes(
        f"<PAMDataset>{item.format('ä.ovr')}</PAMDataset>".encode("latin-1")
    )
    with pytest.raises(SourcesError):
        open_raster(str(path))
