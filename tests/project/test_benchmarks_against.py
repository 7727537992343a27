"""Comparing with scripts: what counts as the same polygon, what is computed, and what the tables say."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from places import ROOT

from terraseam.models.bundle.card import find_bundle

sys.path.append(str(ROOT / "benchmarks"))

import against
import comparing
import naive
import outcomes
import overlapping

SQUARE = [(2, 1), (6, 1), (6, 4), (2, 4), (2, 1)]
"""Corners in pixels, as (col, row)."""
HOLE = [(3, 2), (3, 3), (4, 3), (4, 2), (3, 2)]


def files(folder: Path, name: str, polygons: list[list[list[tuple[float, float]]]], crs: str | None = None):
    """Write a label map of 8 x 10 px in EPSG:3857, and polygons with rings in pixels."""
    transform = rasterio.Affine(100, 0, 5000, 0, -50, 9000)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 8, "width": 10, "crs": "EPSG:3857"}
    with rasterio.open(folder / f"{name}.tif", "w", **profile, transform=transform) as dataset:
        dataset.write(np.zeros((8, 10), np.uint8), 1)
    target = crs and pyproj.Transformer.from_crs("EPSG:3857", crs, always_xy=True)

    def placed(col: float, row: float) -> list[float]:
        x, y = transform @ (col, row)
        return list(target.transform(x, y) if target else (x, y))

    features = [
        {"type": "Feature", "properties": {"class": "water"},
         "geometry": {"type": "Polygon", "coordinates": [[placed(*point) for point in ring] for ring in rings]}}
        for rings in polygons
    ]  # fmt: skip
    path = folder / f"{name}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return outcomes.Files(folder / f"{name}.tif", path, crs)


def test_an_outline_is_the_same_from_any_corner_either_way_round_and_in_any_coordinates(tmp_path: Path):
    turned = [(6, 4), (6, 3), (6, 1), (2, 1), (2, 4), (5, 4), (6, 4)]
    one = outcomes.outlines(files(tmp_path, "one", [[SQUARE, HOLE]]))
    other = outcomes.outlines(files(tmp_path, "other", [[turned, HOLE[::-1]]], "OGC:CRS84"))
    assert one == other
    assert one.total() == 1


@pytest.mark.parametrize("rings", [[SQUARE], [[(2, 1), (7, 1), (7, 4), (2, 4), (2, 1)], HOLE]])
def test_an_outline_that_differs_by_a_pixel_is_another_one(
    tmp_path: Path, rings: list[list[tuple[float, float]]]
):
    wanted, found = files(tmp_path, "wanted", [[SQUARE, HOLE]]), files(tmp_path, "found", [rings])
    told = outcomes.compared(found, wanted)
    assert (told["polygons"], told["right"], told["reference"]) == (1, 0, 1)


def test_a_polygon_that_was_written_twice_is_right_once(tmp_path: Path):
    wanted, found = files(tmp_path, "wanted", [[SQUARE]]), files(tmp_path, "found", [[SQUARE], [SQUARE]])
    told = outcomes.compared(found, wanted)
    assert (told["polygons"], told["right"], told["reference"]) == (2, 1, 1)


def test_no_polygon_is_none(tmp_path: Path):
    told = outcomes.compared(files(tmp_path, "none", []), files(tmp_path, "wanted", [[SQUARE]]))
    assert (told["polygons"], told["right"], told["reference"]) == (0, 0, 1)


@pytest.mark.parametrize(("edge", "count"), [(1, 1), (2, 0)])
def test_polygons_are_away_from_the_edges_by_all_of_their_corners(tmp_path: Path, edge: int, count: int):
    found = outcomes.outlines(files(tmp_path, "found", [[SQUARE, HOLE]]))
    assert outcomes.inner(found, (8, 10), edge).total() == count


def test_no_polygon_is_away_from_the_edges_if_there_is_none():
    assert outcomes.inner(Counter(), (8, 10)) == Counter()


def test_all_labels_that_differ_are_counted(make_raster: Callable[..., Path]):
    labels = np.random.default_rng(3).integers(0, 3, (70, 50)).astype(np.uint8)
    others = labels.copy()
    others[[0, 31, 69], [0, 20, 49]] += 1
    paths = [make_raster(pixels=one[:, :, None], name=f"{one.sum()}.tif") for one in (labels, others)]
    assert outcomes.differing_pixels(*paths, rows=32) == 3


def test_only_label_maps_of_the_same_shape_are_compared(make_raster: Callable[..., Path]):
    paths = [make_raster(pixels=np.zeros((rows, 5, 1), np.uint8), name=f"{rows}.tif") for rows in (4, 5)]
    with pytest.raises(ValueError, match=r"shape \(4, 5\)"):
        outcomes.differing_pixels(*paths)


def test_operations_are_two_for_each_product():
    import keras
    from flops import flops_per_pixel

    layers = keras.layers
    image = keras.Input((None, None, 3))
    halved = layers.Conv2D(8, 3, strides=2, padding="same")(image)
    grouped = layers.Conv2D(4, 1, groups=2)(halved)
    deep = layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2)(grouped)
    split = layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(layers.ReLU()(deep))
    doubled = layers.Conv2DTranspose(5, 4, strides=2, padding="same")(split)
    model = keras.Model(image, layers.Dense(2)(layers.BatchNormalization()(doubled)))
    at_half = 9 * 3 * 8 + 4 * 4 + 25 * 8 + (9 * 16 + 16 * 6) + 6 * 16 * 5
    assert flops_per_pixel(model, 32) == 2 * (at_half / 4 + 5 * 2)


@pytest.mark.parametrize("size", [32, 30])
def test_threads_read_the_pixels_that_are_asked_for(make_raster: Callable[..., Path], size: int):
    pixels = np.random.default_rng(4).integers(0, 255, (90, 70, 3)).astype(np.uint8)
    lazy = overlapping.Pixels(make_raster(pixels=pixels))
    assert (lazy.shape, lazy.dtype, lazy.ndim) == ((90, 70, 3), np.uint8, 3)
    part = slice(60, 60 + size), slice(30, 30 + size), slice(0, 3)
    assert np.array_equal(lazy[part], pixels[part])


@pytest.mark.parametrize(("chunk", "depth"), [(32, 8), (100, 0)])
def test_chunks_that_overlap_enough_have_the_labels_of_the_whole(chunk: int, depth: int):
    pytest.importorskip("dask.array", reason="dask is not installed")
    pixels = np.random.default_rng(5).integers(0, 255, (90, 70, 3)).astype(np.uint8)

    def brighter(chip: np.ndarray) -> np.ndarray:
        """Look three pixels to each side: is a pixel brighter than what surrounds it?"""
        gray = chip.mean(-1)
        around = sum(np.roll(gray, shift, (0, 1)) for shift in ((3, 0), (-3, 0), (0, 3), (0, -3))) / 4
        return np.stack([around, gray], -1)

    inside = slice(3, -3)
    found = overlapping.label(pixels, brighter, chunk, depth)
    assert found.dtype == np.uint8
    assert np.array_equal(found[inside, inside], brighter(pixels).argmax(-1)[inside, inside])


@pytest.mark.slow
def test_a_network_gives_the_same_labels_on_both_engines(tmp_path: Path):
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    bundle = find_bundle("coast")
    card = naive.read_card(bundle)
    assert against.network_facts(bundle, tmp_path)["flops_per_pixel"] == pytest.approx(30_700, rel=0.01)
    path = against.converted(bundle, tmp_path)
    with rasterio.open(ROOT / "examples" / "coast" / "sample.tif") as dataset:
        chip = np.moveaxis(dataset.read()[:, :256, :320], 0, -1)
    expected = naive.keras_network(bundle, card)(chip)
    for network in (
        naive.openvino_network(path, (256, 320), card),
        overlapping.openvino_network(path, card),
        overlapping.keras_network(bundle, card),
    ):
        assert np.abs(network(chip) - expected).max() < 1e-3
    assert sys.modules["openvino_telemetry"] is None


def test_a_bundles_own_network_is_used(tmp_path: Path):
    bundle, other = tmp_path / "bundle", tmp_path / "other"
    bundle.mkdir()
    assert against.converted(bundle, other) == other / "openvino.xml"
    (bundle / "openvino.xml").touch()
    assert against.converted(bundle, other) == bundle / "openvino.xml"


def test_every_round_runs_all_and_begins_with_another():
    arguments = argparse.Namespace(
        sizes="64,128", rounds=2, contestants=["ours-openvino", "naive-openvino", "dask64-openvino"]
    )
    names = against.run_names(arguments)
    assert names[:3] == ["network", "reference-openvino-64", "reference-openvino-128"]
    first, second = names[3:10], names[10:]
    assert first[:3] == ["matrix-0", "ours-openvino-64-0", "naive-openvino-64-0"]
    assert second[:3] == ["matrix-1", "naive-openvino-64-1", "dask64-openvino-64-1"]
    assert {name.rpartition("-")[0] for name in first} == {name.rpartition("-")[0] for name in second}
    assert len(set(names)) == len(names) == 17


def test_what_is_not_installed_is_named_with_what_would_run_without_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        against.importlib.util, "find_spec", lambda name: None if name == "dask" else object()
    )
    against.check_installed(["ours-openvino", "naive-openvino"])
    with pytest.raises(SystemExit, match=r"pip install 'dask\[array\]', or .* --contestants ours-openvino$"):
        against.check_installed(["ours-openvino", "dask64-openvino"])


@pytest.mark.parametrize(
    ("flags", "name"), [({"avx", "avx2", "avx512f"}, "AVX-512"), ({"avx", "avx2"}, "AVX2"), ({"neon"}, "")]
)
def test_a_kind_of_processor_is_its_widest_instructions(flags: set[str], name: str):
    assert comparing.instructions(flags) == name


def result(contestant: str, size: int, number: int, wall: float, cpu: float) -> dict[str, object]:
    kind, engine = contestant.split("-")
    return {
        "kind": kind, "engine": engine, "contestant": contestant, "size": size, "round": number,
        "seconds": wall, "cpu_seconds": cpu, "user_seconds": cpu - 1, "system_seconds": 1, "peak_bytes": 2e9,
        "polygons": 1100, "right": 1000, "reference": 1104, "inner_right": 900, "inner_reference": 901,
        "differing_pixels": 12345, "load": [[1.0, 0, 0], [3.0, 0, 0]],
    }  # fmt: skip


def test_tables_tell_ratios_within_rounds_shares_and_goals():
    machine = {"processor": ["A"], "instructions": "AVX2", "cores": 2}
    results = [{"kind": "network", "flops_per_pixel": 50_000.0}]
    results += [{"kind": "matrix", "one": one, "all": 2 * one, "machine": machine} for one in (9, 10, 11)]
    for number, slower in enumerate((1, 2, 4)):
        for size, more in ((2048, 1), (16384, 100)):
            results.append(result("ours-openvino", size, number, 10 * slower * more, 15 * more))
            results.append(result("naive-openvino", size, number, 18 * slower * more, 16.5 * more))
            results.append(result("naive-tensorflow", size, number, 30 * slower * more, 40 * more))
    told = against.told(results)
    assert "AVX2, A, 2 cores; float32 matrix products: 10 GFLOP/s with one thread, 20 with all" in told
    assert "the network: 50.0 GFLOP per Mpx" in told
    assert (
        "| ours | openvino | 3 | 20.0 | 15.0 | 14.0 | 1.0 | 2.00 GB |  |  | 1,100 | 1,000 of 1,104 | 900 of 901 | "
        in told
    )
    assert "| 12,345 | 52.4% | 139.8% |" in told
    assert "| naive | openvino | 3 | 36.0 | 16.5 | 15.5 | 1.0 | 2.00 GB | 1.80 x | 1.10 x |" in told
    assert "| each Mpx from 4.2 to 268.4 |" in told
    assert "| ours | openvino | 7.493 | 5.620 |  |  |" in told
    assert "| naive | openvino | 13.488 | 6.182 | 1.80 x | 1.10 x |" in told
    assert "| 268.4 Mpx | naive-openvino / ours-openvino, wall | 1.6 x | 1.80 x | reached |" in told
    assert "| 268.4 Mpx | naive-openvino / ours-openvino, CPU | 1.2 x | 1.10 x | missed |" in told
    assert "| 268.4 Mpx | naive-tensorflow / ours-openvino, wall | 2.0 x | 3.00 x | reached |" in told
    assert "1.0 to 3.0" in told


def test_ratios_are_of_the_same_round():
    walls = {"ours-openvino": (10, 40), "naive-openvino": (20, 20, 90)}
    results = [
        result(name, 64, number, wall, 1) for name, row in walls.items() for number, wall in enumerate(row)
    ]
    ratio = against.Found(results).ratio("naive-openvino", "ours-openvino", 64, "seconds")
    assert ratio == pytest.approx((2 + 0.5) / 2)


def test_differences_that_are_noise_have_no_ratio():
    results = [result("ours-openvino", 64, 0, 2, 1), result("ours-openvino", 128, 0, 3, 3)]
    results += [result("naive-openvino", 64, 0, 2, 1), result("naive-openvino", 128, 0, 1, 2)]
    assert "| naive | openvino | -81.380 | 81.380 |  | 0.50 x |" in against.told(results)


def test_tables_tell_what_is_there():
    assert "| ours | openvino | 1 |" in against.told([result("ours-openvino", 64, 0, 2, 1)])
    assert against.told([{"kind": "network", "flops_per_pixel": 1.0}]) == ""
