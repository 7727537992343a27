"""Engine, precision, augmentation and members from the command line: each changes results, keys and the record."""

from __future__ import annotations

import json

import engine_bundles
import nets
import numpy as np
import pytest
import rasterio
from segment_cases import blocky, manifest, segment

from terraseam.pipeline.cli import main
from terraseam.tiles.labels.stitch import NODATA

UNSURE = "no other engine is known to give the same labels"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two U-Nets and a network of one file each that say which band is brightest."""
    folder = tmp_path_factory.mktemp("bundles")
    bright = engine_bundles.brightest_onnx()
    return {
        "a": nets.make_bundle(folder / "a", nets.small_unet(), name="a"),
        "b": nets.make_bundle(folder / "b", nets.small_unet(seed=4), name="b"),
        "onnx": engine_bundles.onnx_bundle(
            folder / "o", bright, "logits", "channels_first", name="onnx-bright"
        ),
        "saved": engine_bundles.saved_model_bundle(folder / "s", nets.brightest_band(), name="saved-bright"),
    }


@pytest.fixture
def scene(make_raster):
    return make_raster(pixels=blocky(300, 420, size=9), name="scene.tif", tiled=True)


def labels_of(out):
    with rasterio.open(out / "scene" / "labels.tif") as dataset:
        return dataset.read(1)


@pytest.mark.slow
def test_each_option_changes_results_and_keys(scene, bundles, tmp_path):
    """Scores differ in their last bits at least; sheets are computed again, and not a third time."""
    made, work = {}, str(tmp_path / "work")
    options = {
        "plain": (),
        "openvino": ("--engine", "openvino"),
        "onnx": ("--engine", "onnx"),
        "bfloat16": ("--precision", "bfloat16"),
        "float16": ("--precision", "float16"),
        "augment": ("--augment",),
        "ensemble": ("--model", str(bundles["b"])),
        "both": ("--model", str(bundles["b"]), "--augment"),
    }
    for name, chosen in options.items():
        out = tmp_path / name
        assert segment(scene, bundles["a"], out, "--work", work, *chosen) == 0
        assert manifest(out)["counts"]["sheets_inferred"] == 1, name
        made[name] = labels_of(out)
        assert segment(scene, bundles["a"], out, "--work", work, *chosen) == 0
        assert manifest(out)["counts"]["sheets_inferred"] == 0, name
    record = manifest(tmp_path / "openvino")
    assert record["inference"]["engine"] == record["profiles"][0]["engine"] == "openvino"
    assert "openvino" in record["versions"]
    for name in ("openvino", "onnx", "bfloat16", "float16"):
        assert (made[name] == made["plain"]).mean() > 0.97, name
    for name in ("bfloat16", "augment", "ensemble", "both"):
        assert (made[name] != made["plain"]).any(), name
    assert (made["both"] != made["ensemble"]).any() and (made["both"] != made["augment"]).any()
    converted = [path for path in (tmp_path / "work" / "converted").iterdir() if path.is_dir()]
    assert len(converted) == 2


def test_the_order_of_members_and_what_a_member_is_belong_to_the_key(scene, bundles, tmp_path):
    work = str(tmp_path / "work")

    def inferred(first, *others):
        chosen = [word for other in others for word in ("--model", str(bundles[other]))]
        assert segment(scene, bundles[first], tmp_path / "out", "--work", work, *chosen) == 0
        return manifest(tmp_path / "out")["counts"]["sheets_inferred"]

    assert [inferred("a", "b"), inferred("a"), inferred("b", "a"), inferred("a", "b")] == [1, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--augment",), ("--model", "B"), ("--model", "B", "--augment")])
def test_sheets_and_replays_change_no_byte(make_raster, bundles, tmp_path, options):
    options = tuple(str(bundles["b"]) if word == "B" else word for word in options)
    pixels = blocky(530, 600, size=9)
    pixels[300:420, 480:540] = 0
    scene = make_raster(pixels=pixels, nodata=0, name="scene.tif", tiled=True)
    runs = {
        "one": ("--sheet", "512"),
        "again": ("--sheet", "1024", "--direct_runner_bundle_repeat=1"),
    }
    for name, more in runs.items():
        assert segment(scene, bundles["a"], tmp_path / name, *options, *more) == 0
    want = [(tmp_path / "one" / "scene" / name).read_bytes() for name in ("labels.tif", "polygons.geojson")]
    for name in runs:
        got = [(tmp_path / name / "scene" / file).read_bytes() for file in ("labels.tif", "polygons.geojson")]
        assert got == want, name
    assert (labels_of(tmp_path / "one") == NODATA).sum() == 120 * 60


@pytest.mark.parametrize(("bundle", "engine"), [("onnx", "onnx"), ("saved", "tensorflow")])
def test_networks_of_other_files_run_on_the_engine_that_takes_them(scene, bundles, tmp_path, bundle, engine):
    assert segment(scene, bundles[bundle], tmp_path / "out") == 0
    record = manifest(tmp_path / "out")
    why = {"onnx": "the bundle holds a model.onnx", "tensorflow": UNSURE}[engine]
    wanted = {"precision": "float32", "augment": False, "batch_size": None}
    assert record["inference"] == {"engine": engine, "engine_why": why, **wanted}
    assert record["profiles"][0]["engine"] == engine
    with rasterio.open(scene) as raster:
        assert (labels_of(tmp_path / "out") == raster.read().argmax(0)).all()
    assert "the network's reach is right: it was measured" in record["tiling"]["exactness"]


def test_the_manifest_names_engine_members_and_how_scores_were_averaged(scene, bundles, tmp_path):
    out = tmp_path / "out"
    assert (
        segment(scene, bundles["a"], out, "--model", str(bundles["b"]), "--augment", "--batch-size", "3") == 0
    )
    record = manifest(out)
    wanted = {"precision": "float32", "augment": True, "batch_size": 3}
    assert record["inference"] == {"engine": "tensorflow", "engine_why": UNSURE, **wanted}
    assert record["model"]["name"] == "a + b"
    assert [(one["name"], one["bundle"]) for one in record["model"]["members"]] == [
        ("a", str(bundles["a"])),
        ("b", str(bundles["b"])),
    ]
    digests = {one["weights_sha256"] for one in record["model"]["members"]}
    assert len(digests | {record["model"]["weights_sha256"]}) == 3
    assert record["profiles"][0]["engine"] == "tensorflow" and "openvino" not in record["versions"]
    assert (record["tiling"]["reach_source"], record["tiling"]["exact"]) == ("graph", True)
    assert len(set(record["tiling"]["halo_px"])) == 1


def test_a_network_that_is_not_its_cards_ends_the_run_in_a_sentence(scene, tmp_path, capsys):
    many = engine_bundles.onnx_bundle(
        tmp_path / "many", engine_bundles.brightest_onnx(outputs=2), "logits", "channels_first"
    )
    assert segment(scene, many, tmp_path / "out") == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith(
        "terraseam: the network of tiny outputs 2 arrays; it must output one map of logits"
    )
    assert "\n" not in error and "run the same command again" not in error


def test_plans_say_what_runs_and_what_is_averaged(scene, bundles, tmp_path, capsys):
    arguments = ["plan", str(scene), "--model", str(bundles["a"]), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert f"engine    tensorflow ({UNSURE}), float32\n" in capsys.readouterr().out
    assert main([*arguments, "--model", str(bundles["b"]), "--augment", "--engine", "onnx"]) == 0
    text = capsys.readouterr().out
    assert (
        "engine    onnx, float32; scores averaged over 2 networks and the 8 symmetries of each tile\n" in text
    )
    assert "network   a + b 1.0.0" in text
    assert main([*arguments, "--augment", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["engine"], plan["precision"], plan["augment"]) == ("tensorflow", "float32", True)
    assert len(set(plan["halo_px"].values())) == 1 and plan["reach_source"] == "graph"
    assert np.isclose(plan["computed_share"], (384 + 32) * (512 + 32) / (300 * 420), rtol=0.2)
