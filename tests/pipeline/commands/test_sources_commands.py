"""--allow-sources lets files name servers, in every command that reads rasters or polygons, and in its workers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from evaluate_scenes import boxes, drawn, georef
from evaluate_scenes import write_labels as write_truth
from train_cases import said
from train_town import make_town
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize
from terraseam.pipeline.plan.vectorize import plan_vectorize
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, RasterSheet
from terraseam.tiles.access.sources import SourcesError, allow_sources
from terraseam.tiles.grid.window import Window
from terraseam.tiles.vectors.read import VectorError, read_polygons

STRANGER = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_allowed():
    yield
    allow_sources(())


def virtual(path, scene, url):
    """A virtual raster of a raster on a server, and the raster itself there."""
    folder, door = url
    (folder / scene.name).write_bytes(scene.read_bytes())
    rasterio.shutil.copy(scene, path, driver="VRT")
    text = path.read_text()
    name = text.partition("<SourceFilename")[2].partition(">")[2].partition("<")[0]
    there = f"/vsicurl/{door.url}/{scene.name}"
    path.write_text(text.replace(name, there).replace('relativeToVRT="1"', 'relativeToVRT="0"'))
    return path


def refused(capsys, door, status):
    """Whether a command was refused with the pattern to pass, and asked nothing of the server."""
    words = capsys.readouterr().err
    assert status == 2 and f"pass --allow-sources '{door.url}/*' if you trust it" in words
    assert not door.seen()


def test_plan_takes_patterns(web, make_raster, tmp_path, capsys):
    path, door = virtual(tmp_path / "scene.vrt", make_raster(200, 200), web), web[1]
    arguments = ["plan", str(path), "--model", "coast", "--any-gsd", "--output", str(tmp_path / "out")]
    door.seen()
    refused(capsys, door, main(arguments))
    assert main([*arguments, "--allow-sources", "gs://a/*", "--allow-sources", f"{door.url}/*"]) == 0
    job = tmp_path / "job.toml"
    job.write_text(f'allow_sources = ["gs://a/*", "{door.url}/*"]\n')
    assert main([*arguments, "--config", str(job)]) == 0


def test_vectorize_takes_patterns_and_so_do_its_workers(web, tmp_path, capsys):
    scene, door = write_labels(tmp_path / "map.tif", patches()), web[1]
    (tmp_path / "virtual").mkdir()
    path = virtual(tmp_path / "virtual" / "map.vrt", scene, web)
    door.seen()
    refused(capsys, door, vectorize(path, tmp_path / "out"))
    allowed = ("--allow-sources", f"{door.url}/*")
    assert vectorize(path, tmp_path / "out", *allowed) == 0
    assert vectorize(scene, tmp_path / "here") == 0
    assert collection(tmp_path / "out") == collection(tmp_path / "here")

    plan = plan_vectorize(parse_vectorize([str(path), "--output", str(tmp_path / "out"), *allowed]))
    sheet = RasterSheet((0, 0, 0), Window(0, 0, 100, 100))
    known = pickle.dumps(RasterLabels(plan.polygons.rasters, plan.options.allow_sources))
    unknown = pickle.dumps(RasterLabels(plan.polygons.rasters, ()))
    allow_sources(())
    assert pickle.loads(known).read(sheet, 0).codes.shape == (100, 100)
    with pytest.raises(SourcesError):
        pickle.loads(unknown).read(sheet, 0)


@pytest.mark.slow
def test_workers_of_segment_know_what_is_allowed(web, make_raster, tmp_path):
    path, door = virtual(tmp_path / "scene.vrt", make_raster(200, 200), web), web[1]
    words = ["segment", path, "--model", "coast", "--any-gsd", "--output", tmp_path / "out", "--workers", 2]
    subprocess.run(
        [sys.executable, "-m", "terraseam", *map(str, words), "--allow-sources", f"{door.url}/*"], check=True
    )


def test_evaluate_takes_patterns(web, tmp_path, capsys):
    place, door = georef(), web[1]
    write_truth(tmp_path / "map.tif", drawn(boxes(1)), place)
    path = virtual(tmp_path / "truth.vrt", tmp_path / "map.tif", web)
    arguments = ["evaluate", "--predicted", str(tmp_path / "map.tif"), "--truth", str(path)]
    door.seen()
    refused(capsys, door, main(arguments))
    assert main([*arguments, "--json", "--allow-sources", door.url]) == 0
    assert json.loads(capsys.readouterr().out)


def test_train_takes_patterns(web, make_raster, tmp_path, capsys):
    site, door = make_town(tmp_path, make_raster), web[1]
    path = virtual(site / "virtual.vrt", site / "town.tif", web)
    (site / "town.tif").unlink()
    arguments = ["train", *said(site, "--dry-run", without=["images"]), "--images", str(path)]
    door.seen()
    refused(capsys, door, main(arguments))
    assert main([*arguments, "--allow-sources", f"{door.url}/*"]) == 0


SOURCE = '<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>{}</SrcDataSource>{}</OGRVRTLayer></OGRVRTDataSource>'
STRANGE = {
    "area.vrt": SOURCE.format(f"/vsicurl/{STRANGER}/a.geojson", ""),
    "area.gml": SOURCE.format(f"{STRANGER}/a.geojson", ""),
    "attribute.vrt": '<OGRVRTDataSource><OGRVRTLayer name="a" SrcDataSource="/vsis3/strange/a.gpkg"/></OGRVRTDataSource>',
    "statement.vrt": SOURCE.format(
        "near.geojson", f"<SrcSQL dialect='SQLite'>SELECT * FROM '{STRANGER}/a.gpkg'.a</SrcSQL>"
    ),
    "database.vrt": SOURCE.format("PG:host=127.0.0.1 port=9", ""),
    "service.xml": f"<OGRWFSDataSource><URL>{STRANGER}/wfs</URL></OGRWFSDataSource>",
    "steps.json": json.dumps(
        {"type": "gdal_streamed_alg", "command_line": f"gdal vector pipeline ! read {STRANGER}/a.json"}
    ),
    "inner.vrt": SOURCE.format("area.vrt", "").replace("<SrcDataSource", '<SrcDataSource relativeToVRT="1"'),
}


@pytest.mark.parametrize("name", STRANGE)
def test_files_of_polygons_name_no_strangers(name, tmp_path):
    for other, text in STRANGE.items():
        (tmp_path / other).write_text(text)
    with pytest.raises(VectorError, match=r"pass --allow-sources '|JSON without features"):
        read_polygons(str(tmp_path / name))


def test_an_area_of_interest_may_be_a_virtual_file_of_polygons(web, make_raster, tmp_path, capsys):
    site, (folder, door) = make_town(tmp_path, make_raster), web
    (folder / "west.geojson").write_bytes((site / "west.geojson").read_bytes())
    near, far = site / "near.xml", site / "far.xml"
    near.write_text(
        SOURCE.format("west.geojson", "")
        .replace("<SrcDataSource>", '<SrcDataSource relativeToVRT="1">')
        .replace('name="a"', 'name="west"')
    )
    far.write_text(SOURCE.format(f"/vsicurl/{door.url}/west.geojson", "").replace('name="a"', 'name="west"'))
    want = read_polygons(str(site / "west.geojson")).polygons
    assert np.array_equal(read_polygons(str(near)).polygons, want)
    arguments = [
        "plan",
        str(site / "town.tif"),
        "--model",
        "coast",
        "--any-gsd",
        "--output",
        str(tmp_path / "out"),
        "--aoi",
    ]
    door.seen()
    refused(capsys, door, main([*arguments, str(far)]))
    assert main([*arguments, str(far), "--allow-sources", f"{door.url}/*"]) == 0
