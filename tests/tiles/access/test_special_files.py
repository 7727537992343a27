"""Named pipes and devices are refused in a sentence wherever a file is named, and nobody waits for them."""

from __future__ import annotations

import os
import re
import signal

import nets
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from evaluate_scenes import boxes, drawn, georef, write_geojson, write_labels
from rasterio.vrt import WarpedVRT

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.evaluate_arguments import evaluate_parser
from terraseam.pipeline.options.segment_arguments import parsers
from terraseam.pipeline.options.train_arguments import train_parser
from terraseam.pipeline.options.vectorize_arguments import vectorize_parser

WAITS_S = 20
SEGMENT = "segment scene.tif --model bundle --output out"
VECTORIZE = "vectorize map.tif --output out"
TRAIN = "train --images scene.tif --labels truth.geojson --classes roof --architecture unet --encoder none --output out"
EVALUATE = "evaluate --predicted map.tif --truth truth.geojson --classes roof"
IMPORT = "--bands red,green,blue --classes a,b --gsd 1 --scale 1 --output out"
NEW = (
    "models new --architecture unet --encoder vgg16 --bands red,green,blue --classes a,b --gsd 1 --output out"
)

CASES = {
    "segment rasters": "segment pipe.tif --model bundle --output out",
    "segment --model": "segment scene.tif --model pipe --output out",
    "segment --output": "segment scene.tif --model bundle --output pipe",
    "segment --work": f"{SEGMENT} --work pipe",
    "segment --aoi": f"{SEGMENT} --aoi pipe.geojson",
    "segment --config": "segment --config pipe.toml",
    "plan rasters": "plan pipe.tif --model bundle --output out",
    "plan --model": "plan scene.tif --model pipe --output out",
    "plan --output": "plan scene.tif --model bundle --output pipe",
    "plan --work": "plan scene.tif --model bundle --output out --work pipe",
    "plan --aoi": "plan scene.tif --model bundle --output out --aoi pipe.gpkg",
    "plan --config": "plan --config pipe.toml",
    "vectorize rasters": "vectorize pipe.tif --output out",
    "vectorize --output": "vectorize map.tif --output pipe",
    "vectorize --work": f"{VECTORIZE} --work pipe",
    "vectorize --aoi": f"{VECTORIZE} --aoi pipe.parquet",
    "vectorize --config": "vectorize --config pipe.toml",
    "train --images": TRAIN.replace("scene.tif", "pipe.tif"),
    "train --labels": TRAIN.replace("truth.geojson", "pipe.geojson"),
    "train --val-images": f"{TRAIN} --val-images pipe.tif --val-labels truth.geojson",
    "train --val-labels": f"{TRAIN} --val-images scene.tif --val-labels pipe.shp",
    "train --aoi": f"{TRAIN} --aoi pipe.geojson",
    "train --val-aoi": f"{TRAIN} --val-images scene.tif --val-labels truth.geojson --val-aoi pipe.geojson",
    "train --encoder-weights": f"{TRAIN} --encoder-weights pipe.h5",
    "train --initial-bundle": f"{TRAIN} --initial-bundle pipe",
    "train --output": TRAIN.replace("--output out", "--output pipe"),
    "train --work": f"{TRAIN} --work pipe",
    "train --config": "train --config pipe.toml",
    "evaluate --predicted": EVALUATE.replace("map.tif", "pipe.tif"),
    "evaluate --truth": EVALUATE.replace("truth.geojson", "pipe.geojson"),
    "evaluate --images": f"{EVALUATE} --images pipe.tif --on-error fail",
    "evaluate --aoi": f"{EVALUATE} --aoi pipe.geojson",
    "evaluate --picture": f"{EVALUATE} --picture pipe.png",
    "models import": f"models import pipe.keras {IMPORT}",
    "models import --output": f"models import pipe.onnx {IMPORT.replace('out', 'pipe')}",
    "models new --weights": f"{NEW} --weights pipe.h5",
    "models new --output": NEW.replace("--output out", "--output pipe"),
    "models show": "models show pipe",
    "store list": "store list pipe",
    "store verify": "store verify pipe",
    "store prune": "store prune pipe --older-than 1d",
}
"""Each option that names a file or a folder, with a pipe there."""

MORE = {
    "a second kind of raster": "segment pipe.vrt --model bundle --output out",
    "a true label raster": EVALUATE.replace("truth.geojson", "pipe.tif"),
    "a label raster to train on": TRAIN.replace("truth.geojson", "pipe.tif").replace("roof", "ground,roof"),
    "predicted polygons": EVALUATE.replace("map.tif", "pipe.geojson"),
    "a label file beside one that has a partner": TRAIN.replace(
        "truth.geojson", "scene.geojson pipe.geojson"
    ),
    "a layer of a file": f"{VECTORIZE} --aoi pipe.gpkg:roofs",
    "the source of a virtual raster": "segment virtual.vrt --model bundle --output out",
    "a mask beside a raster": "vectorize masked.tif --output out",
    "a world file beside a raster": "vectorize world.tif --output out",
    "metadata beside a truth": EVALUATE.replace("truth.geojson", "described.tif"),
    "a table beside polygons": f"{VECTORIZE} --aoi shape.shp",
}
BESIDE = ("masked.tif.msk", "world.tfw", "described.tif.aux.xml", "shape.dbf")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("special")
    place = georef(64, 80)
    nets.make_bundle(folder / "bundle", nets.brightest_band(), gsd=0.5)
    labels = drawn(boxes(1, 5, 64, 80), 1, 64, 80)
    for name in ("map", "masked", "world", "described"):
        write_labels(folder / f"{name}.tif", labels, place, ("ground", "roof"))
    for name in ("truth", "scene"):
        write_geojson(folder / f"{name}.geojson", boxes(1, 5, 64, 80), place, kind="roof")
    profile = {"height": 64, "width": 80, "count": 3, "dtype": "uint8", "crs": place.crs}
    with rasterio.open(
        folder / "scene.tif", "w", transform=rasterio.Affine(*place.transform), **profile
    ) as made:
        made.write(np.stack([labels * 50] * 3))
    with rasterio.open(folder / "scene.tif") as source, WarpedVRT(source) as virtual:
        rasterio.shutil.copy(virtual, folder / "virtual.vrt", driver="VRT")
    text = (folder / "virtual.vrt").read_text()
    (folder / "virtual.vrt").write_text(re.sub(r">[^<>]*scene\.tif<", ">pipe.tif<", text))
    (folder / "shape.shp").write_bytes(b"\0\0\x27\x0a" + bytes(96))
    endings = (
        "",
        ".tif",
        ".vrt",
        ".geojson",
        ".gpkg",
        ".parquet",
        ".shp",
        ".toml",
        ".h5",
        ".png",
        ".keras",
        ".onnx",
    )
    names = [f"pipe{ending}" for ending in endings]
    for name in (*names, *BESIDE):
        os.mkfifo(folder / name)
    return folder


@pytest.fixture
def nobody_waits():
    """End what waits for a pipe."""

    def fail(*_):
        raise AssertionError(f"waited for {WAITS_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(WAITS_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("nobody_waits")
@pytest.mark.parametrize("case", [*CASES, *MORE])
def test_a_pipe_is_refused_in_a_sentence_and_not_waited_for(files, monkeypatch, capsys, case):
    monkeypatch.chdir(files)
    before = sorted(files.iterdir())
    assert main(({**CASES, **MORE})[case].split()) == 2
    said = capsys.readouterr()
    assert not said.out and "Traceback" not in said.err
    piped = [name for name in ("pipe", *BESIDE) if name in said.err]
    assert piped, said.err
    assert sorted(files.iterdir()) == before


@pytest.mark.usefixtures("nobody_waits")
@pytest.mark.parametrize("command", [SEGMENT, VECTORIZE, EVALUATE, TRAIN])
def test_so_is_a_device(files, monkeypatch, capsys, command):
    monkeypatch.chdir(files)
    for link in ("device.geojson", "device.toml"):
        if not (files / link).is_symlink():
            (files / link).symlink_to("/dev/zero")
    assert main([*command.split(), "--aoi", "device.geojson"]) == 2
    assert "device.geojson is a device, not a regular file" in capsys.readouterr().err
    if command != EVALUATE:
        assert main([command.split()[0], "--config", "device.toml"]) == 2
        assert "--config device.toml is a device, not a regular file" in capsys.readouterr().err


def test_every_option_that_names_a_file_is_tried():
    found = dict(parsers("1")[1])
    found |= {"vectorize": vectorize_parser(), "train": train_parser(), "evaluate": evaluate_parser()}
    names = re.compile(r"FILE|DIR|GLOB|RASTER|LABELS|BUNDLE|MODEL")
    tried = {
        f"{command} {action.option_strings[-1] if action.option_strings else action.dest}"
        for command, parser in found.items()
        for action in parser._actions
        if names.search(str(action.metavar))
    }
    assert tried <= set(CASES), tried - set(CASES)
    assert len(tried) > 25
