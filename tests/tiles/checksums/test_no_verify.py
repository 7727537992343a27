"""Damaged blocks are told by every command that reads rasters, unless --no-verify is passed."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import rasterio
from damages import break_checksum, plain_pixels
from evaluate_scenes import boxes, drawn, georef
from evaluate_scenes import write_labels as write_truth
from train_town import make_town
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize
from terraseam.pipeline.plan.vectorize import plan_vectorize
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, RasterSheet
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.source import RasterReadError

DAMAGE = "is corrupt: its checksum is wrong"
PACKED = {"compress": "deflate", "zlevel": 1}


@pytest.fixture(autouse=True)
def verifying():
    yield
    verify_blocks(True)


def rewritten(path):
    """A raster packed so badly that there is room for a damage, and damaged in its first block."""
    with rasterio.open(path) as dataset:
        pixels, profile, tags = dataset.read(), dataset.profile, dataset.tags(1)
    with rasterio.open(path, "w", **{**profile, **PACKED}) as dataset:
        dataset.write(pixels)
        dataset.update_tags(1, **tags)
    return break_checksum(path)


def test_vectorize_and_its_workers(tmp_path, capsys):
    path = rewritten(write_labels(tmp_path / "map.tif", patches()))
    assert vectorize(path, tmp_path / "out") in (1, 2, 3)
    words = "".join(capsys.readouterr())
    assert DAMAGE in words or "quarantine" in words, words
    assert vectorize(path, tmp_path / "out", "--no-verify") == 0
    assert vectorize(write_labels(tmp_path / "map.tif", patches()), tmp_path / "whole") == 0
    assert collection(tmp_path / "out") == collection(tmp_path / "whole")

    rewritten(path)
    job = tmp_path / "job.toml"
    job.write_text("no_verify = true\n")
    options = parse_vectorize([str(path), "--output", str(tmp_path / "out"), "--config", str(job)])
    plan = plan_vectorize(options)
    sheet = RasterSheet((0, 0, 0), Window(0, 0, 100, 100))
    kept = pickle.dumps(RasterLabels(plan.polygons.rasters, (), options.verify))
    verify_blocks(True)
    assert pickle.loads(kept).read(sheet, 0).codes.shape == (100, 100)
    with pytest.raises(RasterReadError, match=DAMAGE):
        RasterLabels(plan.polygons.rasters, ()).read(sheet, 0)


@pytest.mark.parametrize("which", ["map.tif", "truth.tif"])
@pytest.mark.parametrize("scale", [1, 2])
def test_evaluate(tmp_path, capsys, which, scale):
    place = georef()
    write_truth(tmp_path / "map.tif", drawn(boxes(1)), place)
    write_truth(tmp_path / "truth.tif", drawn(boxes(1)), place)
    if scale == 2:  # What is true lies on another grid, and is warped.
        a, b, c, d, e, f = place.transform
        with rasterio.open(tmp_path / "truth.tif", "r+") as dataset:
            dataset.transform = rasterio.Affine(a, b, c + 0.3, d, e, f)
    rewritten(tmp_path / which)
    arguments = ["evaluate", "--predicted", str(tmp_path / "map.tif"), "--truth", str(tmp_path / "truth.tif")]
    assert main([*arguments, "--json"]) == 2
    said = capsys.readouterr()
    assert DAMAGE in said.err and set(json.loads(said.out)) == {"reasons"}
    main([*arguments, "--json", "--no-verify"])
    said = capsys.readouterr()
    assert "holds the label" in said.err or json.loads(
        said.out
    )  # Of the damaged block there are some pixels.


@pytest.mark.parametrize("which", ["image", "labels"])
def test_train(make_raster, tmp_path, capsys, which):
    site = make_town(tmp_path, make_raster)
    labels = write_labels(tmp_path / "labels.tif", plain_pixels(192, 192, 1)[..., 0] % 3, nodata=None)
    with rasterio.open(site / "town.tif") as town, rasterio.open(labels, "r+") as dataset:
        dataset.transform, dataset.crs = town.transform, town.crs
    with rasterio.open(site / "town.tif", "r+") as dataset:
        dataset.write(np.moveaxis(plain_pixels(192, 192), -1, 0))
    rewritten(site / "town.tif" if which == "image" else labels)
    arguments = [
        "train", "--images", str(site / "town.tif"), "--labels", str(labels), "--classes", "a,b,c",
        "--architecture", "unet", "--encoder", "none", "--chip-size", "32", "--block-size", "24",
        "--output", str(tmp_path / "bundle"), "--dry-run",
    ]  # fmt: skip
    assert main(arguments) == 2
    assert DAMAGE in capsys.readouterr().err
    assert main([*arguments, "--no-verify"]) == 0
