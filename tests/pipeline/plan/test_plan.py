import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace

import nets
import numpy as np
import psutil
import pytest
import rasterio
from places import ROOT
from plan_cases import edited_card, planner, reasons
from saved_models import node, saved_model

from terraseam.models.bundle.card import network_sha256
from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.cli import main
from terraseam.pipeline.plan.describe import describe_plan, plan_json
from terraseam.pipeline.plan.make import cut_step
from terraseam.pipeline.plan.memory import full_sheets_at_once, process_memory, sheets_memory
from terraseam.tiles.grid.lattice import Halo


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet())


@pytest.fixture
def plan_of(make_raster, bundle, tmp_path):
    return planner(make_raster, bundle, tmp_path)


def test_a_plan_takes_halo_core_and_sheet_from_card_and_defaults(plan_of):
    plan = plan_of()
    reach = plan.card.reach
    assert plan.halo == Halo(reach.top, reach.bottom, reach.left, reach.right).rounded_up(4)
    assert (plan.core, plan.sheet_cores, plan.stitch, plan.exact, plan.notes) == (2048, 2, "crop", True, ())


def test_options_change_the_plan(plan_of):
    assert plan_of(tile=512, sheet=512).lattice(0).core == 512
    assert plan_of(tile=512, sheet=4096).sheet_cores == 8
    assert plan_of(halo=63).halo == Halo(64, 64, 64, 64)
    assert plan_of(stitch="blend").stitch == "blend"
    assert plan_of(bands=(3, 1, 2)).rasters[0].bands == (3, 1, 2)
    assert plan_of().polygon_labels() == (1, 2)
    assert plan_of(classes=("land", "lake")).polygon_labels() == (0, 2)


def test_roundings_are_said(plan_of):
    assert "--sheet 1000 is rounded to 1024 px" in plan_of(tile=512, sheet=1000).notes[0]
    assert "--halo 63 is rounded up to 64 px: whole strides of 4 px" in plan_of(halo=63).notes[0]


def test_a_halo_below_the_reach_is_a_warning_that_says_what_is_lost(plan_of):
    plan = plan_of(halo=4)
    assert not plan.exact
    assert "warning: this run is not exact, because the halo of 4 px is below the reach" in plan.notes[0]
    assert not plan_of(stitch="blend").exact


def test_networks_without_finite_reach_are_blended_and_said_to_depend_on_tiles(plan_of, bundle, tmp_path):
    plan = plan_of(model=str(edited_card(bundle, tmp_path / "whole", reach=None)))
    assert (plan.stitch, plan.exact, plan.halo) == ("blend", False, Halo(128, 128, 128, 128))
    assert "its reach is not finite" in plan.notes[0]
    assert "no finite reach" in describe_plan(plan)


def test_a_halo_that_the_card_wants_stands_in_for_a_reach(plan_of, bundle, tmp_path):
    model = str(edited_card(bundle, tmp_path / "whole", format=2, reach=None, halo=90))
    assert plan_of(model=model).halo == Halo(92, 92, 92, 92)
    assert plan_of(model=model, halo=64).halo == Halo(64, 64, 64, 64)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("measured", "it was measured, not derived from its graph"),
        ("declared", "it was declared, not derived from its graph"),
    ],
)
def test_an_exact_plan_says_where_a_reach_is_known_from(plan_of, bundle, tmp_path, source, words):
    plan = plan_of(model=str(edited_card(bundle, tmp_path / "other", format=2, reach_source=source)))
    assert plan.exact and words in describe_plan(plan)
    assert "reach is right" not in describe_plan(plan_of())


def test_an_augmented_plan_reads_the_same_halo_on_every_side(plan_of):
    plain, augmented = plan_of(model="coast"), plan_of(model="coast", augment=True)
    assert len(set(plain.halo.sides)) > 1
    assert augmented.halo == Halo(*[max(plain.halo.sides)] * 4) and augmented.exact
    assert augmented.call_memory() > plain.call_memory()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A bundle that may be averaged with `bundle`, of another stride, reach and fill value."""
    folder = tmp_path_factory.mktemp("bundles") / "other"
    return nets.make_bundle(folder, nets.brightest_band(), name="other", fill=(1.0, 2.0, 3.0))


def test_an_ensemble_has_the_halo_and_the_memory_of_all(plan_of, bundle, other):
    plan = plan_of(model=(other, bundle))
    alone = plan_of()
    assert (plan.halo, plan.card.stride, plan.exact) == (alone.halo, 4, True)
    assert plan.call_memory() > alone.call_memory()
    assert plan.card.name == "other + tiny" and [card.name for card in plan.cards] == ["other", "tiny"]
    assert plan.bundles == (str(other), str(bundle))
    assert "are fed to all networks with the fill values of other: 1, 2, 3" in plan.notes[0]
    assert "other + tiny 1.0.0" in describe_plan(plan)


def test_attention_is_planned_with_the_square_of_the_chip(plan_of, make_raster, bundle, other, tmp_path):
    model = edited_card(bundle, tmp_path / "attentive", memory_per_pixel_squared=1e-3)
    raster = make_raster(1100, 1030)
    for tile in (512, 1024):
        plan, plain = plan_of(raster, model=model, tile=tile), plan_of(raster, tile=tile)
        height, width = plan.lattice(0).chip_shape
        assert plan.call_memory() - plain.call_memory() == pytest.approx(1e-3 * (height * width) ** 2, abs=2)
    averaged, others = (plan_of(raster, model=(one, other)).call_memory() for one in (model, bundle))
    averaged -= others
    assert averaged > 1e-3 * 1024**4
    assert plan.card.memory_per_pixel_squared == 1e-3


def test_bundles_that_cannot_be_averaged_are_refused_with_every_reason(plan_of, bundle, tmp_path):
    two = nets.make_bundle(tmp_path / "two", nets.small_unet(classes=2, bands=4), name="two")
    found = reasons(plan_of, model=(bundle, two))
    assert "tiny 1.0.0 and two 1.0.0 cannot be averaged: one has the classes land, water, lake" in found[0]
    assert "tiny 1.0.0 and two 1.0.0 cannot be averaged: one expects 3 bands, the other 4" in found[1]
    assert len(found) == 2
    twice = reasons(plan_of, model=(bundle, bundle.parent / "." / bundle.name))
    assert "is given twice; give each bundle once" in twice[0]
    gone = reasons(plan_of, model=(tmp_path / "a", tmp_path / "b"))
    assert len(gone) == 2 and "no bundle" in gone[0] and "no bundle" in gone[1]


def test_every_member_must_fit_the_gsd(plan_of, bundle, other, tmp_path):
    coarse = edited_card(other, tmp_path / "coarse", gsd=2.0)
    (reason,) = reasons(plan_of, model=(bundle, coarse))
    assert "but other 1.0.0 was trained at 2 m/px" in reason
    assert plan_of(model=(bundle, coarse), any_gsd=True).exact


def detector(bundle, folder):
    """The card of a bundle that says it finds instances; a plan reads no more than cards."""
    network = {"name": "model.keras", "layout": "channels_last", "answer": "instances"}
    return edited_card(bundle, folder, format=2, name="finder", task="instances", network=network, reach=None)


def test_detectors_are_neither_augmented_nor_averaged(plan_of, bundle, tmp_path):
    finder = detector(bundle, tmp_path / "finder")
    words = "--augment averages pixel scores, but finder finds instances; leave it out"
    assert reasons(plan_of, model=finder, augment=True) == (words,)
    found = reasons(plan_of, model=(bundle, finder))
    assert found == ("finder 1.0.0 finds instances, but an ensemble averages pixel scores; run it alone",)


def with_file(bundle, folder, name, operation="AddV2"):
    """A bundle whose card says that its network is another file; a plan looks into SavedModels alone."""
    edited_card(bundle, folder)
    if name == "saved_model":
        (folder / "model.keras").unlink()
        saved_model(folder / name, node("one", operation))
    else:
        (folder / "model.keras").rename(folder / name)
    network = {"name": name, "layout": "channels_last", "answer": "logits"}
    changes = {"network": network, "format": 2, "weights_sha256": network_sha256(folder / name)}
    card = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_the_engine_is_that_of_the_networks_file_unless_one_is_named(plan_of, bundle, other, tmp_path):
    onnx = with_file(bundle, tmp_path / "onnx", "model.onnx")
    assert [plan_of().engine, plan_of(model=onnx).engine, plan_of(model=(onnx, other)).engine] == [
        "tensorflow", "onnx", "onnx",
    ]  # fmt: skip
    assert plan_of(model=onnx, engine="openvino").engine == plan_of(engine="openvino").engine == "openvino"
    assert reasons(plan_of, model=onnx, engine="tensorflow") == (
        "tiny is a model.onnx, which TensorFlow does not run; pass --engine onnx or --engine openvino",
    )
    assert plan_of(engine="openvino").memory(1) < plan_of(engine="onnx").memory(1) < plan_of().memory(1)


@pytest.mark.parametrize(
    ("engine", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime"), ("onnx", "tf2onnx")]
)
def test_an_engine_that_is_not_installed_is_refused(plan_of, monkeypatch, engine, package):
    monkeypatch.setitem(sys.modules, package, None)
    (reason,) = reasons(plan_of, engine=engine)
    assert reason == (
        f"the engine {engine} needs {package}, which is not installed here; "
        f"install with pip install 'terraseam[{engine}]'"
    )
    assert plan_of(engine=engine, beam=BeamArguments(("--runner", "FlinkRunner"))).engine == engine


def test_onnx_files_are_checked_before_openvino_reads_them(plan_of, bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert reasons(plan_of, model=with_file(bundle, tmp_path / "onnx", "model.onnx"), engine="openvino") == (
        "the engine openvino needs onnx, which is not installed here; install with pip install 'terraseam[openvino]'",
    )
    assert plan_of(engine="openvino").engine == "openvino"


def test_onnx_files_need_no_converter(plan_of, bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    assert plan_of(model=with_file(bundle, tmp_path / "onnx", "model.onnx")).engine == "onnx"


def test_half_precision_is_for_keras_networks_on_tensorflow_and_for_gpus(plan_of, bundle, tmp_path):
    (note,) = plan_of(precision="bfloat16").notes
    assert note.startswith("--precision bfloat16 is meant for GPUs: on a CPU it is slower than float32")
    assert (
        plan_of(
            precision="float16", beam=BeamArguments(("--runner=FlinkRunner", "--environment_type=LOOPBACK"))
        ).notes
        == ()
    )
    assert reasons(plan_of, precision="float16", engine="openvino") == (
        "--precision float16 is for the engine tensorflow, but openvino computes in float32; leave one of them out",
    )
    saved = with_file(bundle, tmp_path / "saved", "saved_model")
    assert (
        "tiny is a SavedModel, which has a fixed precision"
        in reasons(plan_of, model=saved, precision="float16")[0]
    )


def test_rasters_come_from_paths_directories_and_globs_each_once(plan_of, make_raster, tmp_path):
    a, b = make_raster(name="in/a.tif"), make_raster(name="in/b.TIF")
    make_raster(name="in/deeper/a.tif", seed=3)
    (tmp_path / "in" / "linked").mkdir()
    (tmp_path / "in" / "linked" / "a.tif").symlink_to(a)
    roundabout = tmp_path / "in" / "deeper" / ".." / "a.tif"
    assert [r.path for r in plan_of(a, roundabout).rasters] == [str(a)]
    assert len({r.id for r in plan_of(a, tmp_path / "in" / "linked" / "a.tif").rasters}) == 2
    (tmp_path / "in" / "linked" / "a.tif").unlink()
    (tmp_path / "in" / "notes.txt").write_text("no raster")
    assert [r.path for r in plan_of(tmp_path / "in").rasters] == [str(a), str(b)]
    assert [r.path for r in plan_of(str(tmp_path / "in" / "**" / "a.tif"), a).rasters] == [
        str(a),
        str(tmp_path / "in" / "deeper" / "a.tif"),
    ]


def test_rasters_that_share_a_stem_get_ids_that_stay(plan_of, make_raster):
    a, other, b = make_raster(name="1/a.tif"), make_raster(name="2/a.tif"), make_raster(name="b.tif")
    ids = [r.id for r in plan_of(a, other, b).rasters]
    assert ids[2] == "b" and ids[0].startswith("a-") and ids[1].startswith("a-") and ids[0] != ids[1]
    assert [r.id for r in plan_of(other, a).rasters] == [ids[1], ids[0]]
    assert plan_of(make_raster(name="manifest.json.tif")).rasters[0].id.startswith("manifest.json-")


def test_rasters_of_one_run_may_differ(plan_of, make_raster):
    utm = make_raster(name="utm.tif")
    lonlat = make_raster(
        20, 90, name="ll.tif", crs="EPSG:4326", transform=rasterio.Affine(1e-5, 0, 9, 0, -1e-5, 47)
    )
    plan = plan_of(utm, lonlat)
    assert [plan.lattice(i).sheet_shape for i in range(2)] == [(1, 1), (1, 1)]
    assert plan.sheet_count() == 2


def test_every_reason_is_collected(plan_of, make_raster, tmp_path):
    (tmp_path / "empty").mkdir()
    found = reasons(
        plan_of,
        tmp_path / "gone.tif",
        tmp_path / "empty",
        make_raster(crs=None),
        tile=500,
        classes=("trees",),
    )
    text = "\n".join(found)
    assert "gone.tif does not exist" in text
    assert "empty is a directory without rasters" in text
    assert "has no CRS" in text
    assert "--tile 500 is not a multiple of 512 px" in text and "pass --tile 512" in text
    assert "tiny has no class trees; it has land, water, lake" in text


def test_reasons_of_polygons_and_machine_are_told_with_all_others(
    plan_of, make_raster, tmp_path, monkeypatch
):
    machine = psutil.virtual_memory()._replace(total=10**8)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    (tmp_path / "bare").mkdir()
    options = {"simplify": 1e6, "tile": 500, "classes": ("trees",), "bands": (1, 2)}
    text = "\n".join(reasons(plan_of, tmp_path / "gone.tif", make_raster(), **options))
    for words in (
        "gone.tif does not exist",
        "scene.tif, which is 37 px on its shorter side: nothing would remain",
        "--tile 500 is not a multiple of 512 px",
        "tiny has no class trees",
        "--bands 1,2 names 2",
        "of memory, but this machine has 100.0 MB",
    ):
        assert words in text
    text = "\n".join(reasons(plan_of, make_raster(), model=str(tmp_path / "bare"), **options))
    assert "has no card.json" in text and "on its shorter side: nothing would remain" in text


def test_a_raster_off_the_earth_has_one_reason_though_lines_are_simplified(plan_of, make_raster):
    far = make_raster(name="far.tif", transform=rasterio.Affine(0.5, 0, 5e9, 0, -0.5, 5e9))
    (reason,) = reasons(plan_of, far, simplify=1e6)
    assert "far.tif cannot be placed on the Earth" in reason


def test_bands_must_exist_and_fit_the_card(plan_of, make_raster):
    assert "has no band 4: it has 3 bands, numbered from 1" in reasons(plan_of, bands=(1, 2, 4))[0]
    assert "expects 3 bands (red, green, blue); --bands 1,2 names 2" in reasons(plan_of, bands=(1, 2))[0]
    four = make_raster(bands=4, dtype="uint16")
    assert "scene.tif has 4; choose with --bands" in reasons(plan_of, four)[0]
    assert plan_of(make_raster(name="rgba.tif", alpha=np.full((37, 53), 255))).rasters[0].bands == (1, 2, 3)


def test_another_gsd_is_refused_unless_it_is_taken_as_it_is(plan_of, bundle, tmp_path):
    coarse = str(edited_card(bundle, tmp_path / "coarse", gsd=2.0))
    assert "has a GSD of 0.5 m/px, but tiny 1.0.0 was trained at 2 m/px" in reasons(plan_of, model=coarse)[0]
    assert "; pass --resample to read it at that GSD, or --any-gsd to" in reasons(plan_of, model=coarse)[0]
    assert plan_of(model=coarse, any_gsd=True).exact
    assert plan_of(model=str(edited_card(bundle, tmp_path / "near", gsd=0.45))).exact


def test_what_is_asked_for_with_every_sheet_is_made_once(plan_of):
    plan = plan_of()
    assert plan.polygons is plan.polygons
    assert pickle.loads(pickle.dumps(plan)).polygons == plan.polygons


def test_lines_simplified_by_more_than_raster_or_sheet_are_refused(plan_of, make_raster):
    assert plan_of(simplify=18).polygons.tolerance(0).pixels == 37 - 1
    (reason,) = reasons(plan_of, simplify=19)
    assert reason.startswith("--simplify 19 is 38 pixels of ")
    assert (
        "scene.tif, which is 37 px on its shorter side: nothing would remain; use a smaller --simplify"
        in reason
    )
    large = make_raster(2000, 3000, bands=3, name="large.tif")
    assert plan_of(large, simplify=120, sheet=512, tile=512).polygons.tolerance(0).reach <= 511
    assert "more than half a sheet of 512 px" in reasons(plan_of, large, simplify=130, sheet=512, tile=512)[0]
    assert plan_of(large, simplify=130, sheet=2048, tile=512).polygons.tolerance(0).reach > 512


def test_bundles_that_are_not_whole_are_refused(plan_of, bundle, tmp_path):
    (tmp_path / "bare").mkdir()
    assert "has no card.json" in reasons(plan_of, model=str(tmp_path / "bare"))[0]
    assert (
        "has no field 'stride'"
        in reasons(plan_of, model=str(edited_card(bundle, tmp_path / "b", drop=("stride",))))[0]
    )
    many = [{"name": f"c{i}", "color": "#000000", "background": False} for i in range(255)]
    found = reasons(plan_of, model=str(edited_card(bundle, tmp_path / "many", classes=many)))
    assert "254" in found[0] and "classes" in found[0]
    assert "no bundle 'roofs'" in reasons(plan_of, model="roofs")[0]


def test_an_output_that_cannot_be_a_folder_is_refused(plan_of, make_raster):
    file = make_raster(name="file.tif")
    assert f"--output {file} cannot be a folder: {file} is a file" in reasons(plan_of, output=str(file))[0]
    assert "is a file" in reasons(plan_of, output=str(file / "deeper"))[0]
    assert "--work" in reasons(plan_of, work=str(file))[0]


def huge_vrt(make_raster, tmp_path):
    """A raster of 20,000,000 x 2,000,000 px of 1 cm."""
    source = make_raster(name="small.tif")
    vrt = tmp_path / "huge.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="2000000" rasterYSize="20000000"><SRS>EPSG:32632</SRS>'
        "<GeoTransform>500000, 0.01, 0, 5600000, 0, -0.01</GeoTransform>"
        + "".join(
            f'<VRTRasterBand dataType="Byte" band="{b}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
            f"<SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
            for b in (1, 2, 3)
        )
        + "</VRTDataset>"
    )
    return vrt


def test_a_raster_larger_than_the_disk_is_refused_and_named(plan_of, make_raster, tmp_path):
    vrt, source = huge_vrt(make_raster, tmp_path), tmp_path / "small.tif"
    assert f"GB of disk ({vrt} 20,000,000 x 2,000,000 px), and" in reasons(plan_of, vrt)[0]
    among_others = reasons(plan_of, make_raster(name="other.tif"), vrt, source)[0]
    needs = re.search(r"about ([0-9,.]+ GB) of disk \(([^ ]+) takes ([0-9,.]+ GB) of it: ", among_others)
    assert needs is not None and needs[2] == str(vrt) and needs[1] == needs[3]


def test_a_raster_that_resampling_makes_larger_than_the_disk_is_named(plan_of, make_raster, tmp_path):
    fine = nets.make_bundle(tmp_path / "fine", nets.brightest_band(), gsd=0.005)
    vrt = huge_vrt(make_raster, tmp_path)
    (found,) = reasons(plan_of, vrt, model=fine, resample=True)
    size = re.search(rf"\({vrt} ([0-9,]+) x ([0-9,]+) px after resampling\), and", found)
    height, width = (int(side.replace(",", "")) for side in size.groups())
    assert abs(height / 40e6 - 1) < 0.01 and abs(width / 4e6 - 1) < 0.01


def test_more_memory_than_the_machine_has_is_refused_for_runs_on_it(plan_of):
    huge = {"tile": 512 * 1000, "stitch": "blend"}
    assert "GB of memory, but this machine has" in reasons(plan_of, **huge)[0]
    assert "GB of memory, but this machine has" in reasons(plan_of, batch_size=10**6)[0]
    assert plan_of(batch_size=4).memory(1) > plan_of(batch_size=2).memory(1) > plan_of().memory(1)
    assert plan_of(stitch="blend").memory(1) > plan_of(tile=1024).memory(1)
    assert plan_of(**huge, beam=BeamArguments(("--runner", "FlinkRunner"))).core == 512_000
    assert plan_of(tile=512 * 1000).chip_memory() == plan_of(tile=512).chip_memory()


def test_results_folders_that_cannot_be_written_are_refused(plan_of, make_raster, tmp_path):
    scene = make_raster()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scene").write_text("in the way")
    assert "out/scene is a file" in reasons(plan_of, scene)[0]


def test_a_saved_model_that_does_more_than_compute_is_refused(plan_of, bundle, tmp_path):
    assert plan_of(model=with_file(bundle, tmp_path / "fine", "saved_model")).engine == "tensorflow"
    ends = with_file(bundle, tmp_path / "ends", "saved_model", operation="Abort")
    assert "has the operation Abort" in reasons(plan_of, model=ends)[0]


def test_a_network_that_is_not_the_cards_is_refused(plan_of, bundle, tmp_path):
    folder = edited_card(bundle, tmp_path / "other")
    (folder / "model.keras").write_bytes(b"something else")
    assert "weights_sha256 differs" in reasons(plan_of, model=str(folder))[0]


def test_samples_of_another_range_than_the_networks_get_a_note(plan_of, make_raster):
    path = make_raster(dtype="uint16")
    (note,) = plan_of(path).notes
    assert "samples are uint16, but tiny was trained on values of about 0 to 255" in note
    two = plan_of(path, make_raster(name="b.tif", dtype="uint16", seed=2)).notes
    assert len(two) == 1 and "scene.tif and 1 more" in two[0]


def test_rasters_beyond_the_poles_are_refused(plan_of, make_raster):
    def degrees(top):
        return rasterio.Affine(1, 0, 0, 0, -1, top)

    far = make_raster(name="far.tif", crs="EPSG:4326", transform=degrees(200))
    assert "reaches latitude 200" in reasons(plan_of, far)[0]
    overshoot = make_raster(name="near.tif", crs="EPSG:4326", transform=degrees(90.5))
    assert plan_of(overshoot).exact


def test_rasters_placed_by_control_points_are_told_to_be_warped(plan_of, tmp_path):
    points = [rasterio.control.GroundControlPoint(r, c, 9 + c, 47 - r) for r, c in ((0, 0), (0, 9), (9, 0))]
    path = tmp_path / "gcp.tif"
    shape = {"height": 9, "width": 9, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", gcps=points, crs="EPSG:4326", **shape) as dataset:
        dataset.write(np.ones((3, 9, 9), np.uint8))
    assert "3 control points only; warp it by them with gdalwarp" in reasons(plan_of, path)[0]


def test_a_raster_is_told_what_places_it_and_what_works_with_its_driver(plan_of, make_raster, tmp_path):
    half = [0.5] + [0.0] * 19
    rpc = rasterio.rpc.RPC(height_off=0, height_scale=500, lat_off=46, lat_scale=4, line_off=190, line_scale=190,
                           long_off=5, long_scale=5, samp_off=210, samp_scale=210, line_num_coeff=half,
                           line_den_coeff=half, samp_num_coeff=half, samp_den_coeff=half)  # fmt: skip
    polynomials = make_raster(name="rpc.tif", crs=None, transform=rasterio.Affine.identity())
    with rasterio.open(polynomials, "r+") as dataset:
        dataset.rpcs = rpc
    assert (
        "rational polynomials (RPC) only; warp it by them with gdalwarp -rpc -t_srs"
        in reasons(plan_of, polynomials)[0]
    )
    nowhere = make_raster(name="nowhere.tif", crs=None, transform=rasterio.Affine.identity())
    said = reasons(plan_of, nowhere)[0]
    assert "has no CRS; assign one with gdal_translate -a_srs EPSG:... -a_ullr LEFT" in said
    picture = tmp_path / "picture.png"
    with rasterio.open(picture, "w", driver="PNG", height=9, width=9, count=3, dtype="uint8") as dataset:
        dataset.write(np.ones((3, 9, 9), np.uint8))
    picture.with_suffix(".pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5599999.75\n")
    said = reasons(plan_of, picture)[0]
    assert (
        "picture.png has no CRS; assign one with gdal_translate -a_srs EPSG:..., which writes a copy" in said
    )
    assert "gdal_edit" not in said


def test_a_halo_larger_than_it_must_be_is_said_to_be_so(plan_of, make_raster):
    assert "--halo auto computes" in describe_plan(plan_of(halo=200))
    assert "may differ" in describe_plan(plan_of(make_raster(1024, 512), tile=512))
    # What is not exact is not cut: a smaller halo around whole tiles is no cheaper for a small raster.
    assert "cheaper" not in describe_plan(plan_of(make_raster(30, 50), tile=512))


def test_the_share_of_computed_pixels_is_that_of_the_rasters(plan_of, make_raster):
    plan = plan_of(make_raster(20, 30))
    height, width = plan.lattice(0).chip_shape
    assert plan.computed_share() == height * width / 600


def test_exact_plans_cut_tiles_in_steps_of_the_stride_and_others_do_not(plan_of):
    assert (plan_of().cut, plan_of(halo=4).cut, plan_of(stitch="blend").cut) == (128, None, None)
    steps = {stride: cut_step(stride) for stride in (1, 16, 96, 100, 128, 192)}
    assert steps == {1: 128, 16: 128, 96: 192, 100: 200, 128: 128, 192: 192}
    assert "read up to " in describe_plan(plan_of()) and "read up to " not in describe_plan(plan_of(halo=4))
    assert plan_json(plan_of())["cut_px"] == 128


def test_figures_of_a_plan_are_those_of_its_own_chips(plan_of, make_raster):
    """A small raster needs no memory of a whole tile; of several, the largest chips and sheets count."""
    small, wide = make_raster(30, 40, name="small.tif"), make_raster(150, 700, name="wide.tif")
    few, both = plan_of(small, tile=512), plan_of(small, wide, tile=512)
    halo = few.halo
    assert few.lattice(0).chip_shape == (128 + halo.top + halo.bottom, 128 + halo.left + halo.right)
    assert both.lattice(1).chip_shape == (256 + halo.top + halo.bottom, 512 + halo.left + halo.right)
    assert both.chip_memory() == plan_of(wide, tile=512).chip_memory() > few.chip_memory()
    assert both.sheet_memory() == plan_of(wide, tile=512).sheet_memory() > few.sheet_memory()
    chips = sum(plan.lattice(0).computed_pixels for plan in (few, plan_of(wide, tile=512)))
    assert both.computed_share() == chips / (30 * 40 + 150 * 700)


def test_figures_of_part_of_a_raster_are_those_of_its_sheets(plan_of, make_raster):
    whole = plan_of(make_raster(700, 700), tile=512, sheet=512)
    parts = replace(whole, rasters=(replace(whole.rasters[0], sheets=((1, 0), (1, 1))),))
    windows = [parts.lattice(0).read_window(*tile) for tile in ((1, 0), (1, 1))]
    assert parts.computed_share() == sum(window.pixels for window in windows) / (188 * 700)
    card = parts.card
    assert parts.chip_memory() == round(card.call_memory(windows[0].pixels)) < whole.chip_memory()


def test_memory_of_sheets_is_that_of_two_full_ones_or_of_small_ones_for_all_calls(plan_of, make_raster):
    one_tile = plan_of(make_raster(512, 600, name="a.tif"), tile=512, sheet=512)
    large = plan_of(make_raster(2048, 2048, name="b.tif"), tile=512, sheet=2048)
    small = plan_of(tile=512, sheet=2048)
    full, mine = small.full_sheet_memory(), small.sheet_memory()
    assert [full_sheets_at_once(calls, 16) for calls in (1, 16, 17)] == [2, 2, 3]
    assert [full_sheets_at_once(calls, 1) for calls in (1, 2, 8)] == [2, 3, 9]
    assert sheets_memory(small, 2) == 4 * mine < 2 * full
    assert sheets_memory(large, 2) == 2 * large.sheet_memory() == 2 * full
    assert sheets_memory(one_tile, 8) == 9 * one_tile.sheet_memory() == 9 * one_tile.full_sheet_memory()
    process = process_memory(small, 1, 2)
    assert process == pytest.approx(small.memory(2) + 3 * mine)


def test_nothing_is_written_by_a_plan_or_a_refusal(plan_of, make_raster, tmp_path):
    make_raster()
    before = sorted(tmp_path.rglob("*"))
    plan_of()
    reasons(plan_of, tile=500)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_plan_is_printed_for_people_and_programs(make_raster, bundle, tmp_path, capsys):
    arguments = ["plan", str(make_raster()), "--model", str(bundle), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for words in ("scene: 53 x 37 px, 0.5 m/px", "core 2048 px, halo", "exact     yes", "memory", "disk"):
        assert words in text
    assert main([*arguments, "--json", "--tile", "512"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["core_px"], plan["sheets"], plan["tiles"], plan["exact"]) == (512, 1, 1, True)
    assert main([*arguments, "--json", "--tile", "3"]) == 2
    assert "--tile 3" in json.loads(capsys.readouterr().out)["reasons"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plann"], "invalid choice: 'plann'"),
        (["segmnt", "a.tif"], "'evaluate'); did you mean segment?"),
        (["plan", "a.tif", "--stitch", "blnd"], "; did you mean blend?"),
        (["plan", "a.tif"], "give --model, --output, on the command line or in a job file"),
        (
            ["plan", "a.tif", "--modle", "x"],
            "--modle is not an option of Terraseam or of Apache Beam; did you mean --model",
        ),
        (["plan", "a.tif", "--min-area", "-2"], "'-2' is not a number of 0 or more"),
        (["plan", "a.tif", "--min-area", "nan"], "'nan' is not a number of 0 or more"),
        (["plan", "a.tif", "--fill-holes", "-1"], "'-1' is not a number of 0 or more"),
        (["plan", "a.tif", "--min-score", "1.5"], "'1.5' is not a number from 0 to 1"),
        (["plan", "a.tif", "--min-score", "nan"], "'nan' is not a number from 0 to 1"),
        (
            ["plan", "a.tif", "--format", "geoson"],
            "'geoson' is not one of geojson, geojsonl, fgb, gpkg, parquet, pmtiles; did you mean geojson?",
        ),
        (["plan", "a.tif", "--format", "svg,fgb"], "'svg' is not one of geojson, geojsonl, fgb"),
        (["plan", "a.tif", "--sieve", "0"], "'0' is not a number above 0"),
        (["plan", "a.tif", "--simplify", "0"], "'0' is not a number above 0"),
        (["plan", "a.tif", "--simplify", "-1"], "'-1' is not a number above 0"),
        (["plan", "a.tif", "--bands", "1;2"], "'1;2' is not a list of band numbers"),
        (["plan", "a.tif", "--tile", "big"], "'big' is not a whole number of 1 or more"),
        (["plan", "a.tif", "--model", "m", "--output", ""], "argument --output: it is empty"),
        (["plan", "", "--model", "m", "--output", "o"], "argument RASTER: it is empty"),
        (["plan", "a.tif", "--stitch", "glue"], "invalid choice: 'glue'"),
        (["plan", "a.tif", "--engine", "torch"], "argument --engine: invalid choice: 'torch'"),
        (["plan", "a.tif", "--precision", "int8"], "argument --precision: invalid choice: 'int8'"),
    ],
)
def test_wrong_arguments_get_one_sentence_and_status_2(arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_beams_options_are_passed_through(make_raster, bundle, tmp_path):
    from terraseam.pipeline.options.segment_arguments import parse

    rest = [str(make_raster()), "--model", str(bundle), "--output", str(tmp_path)]
    _, options, _ = parse(
        ["segment", "--direct_num_workers", "2", *rest, "--runner=DirectRunner", "--streaming"], "1"
    )
    assert options.beam.arguments == ("--direct_num_workers", "2", "--runner=DirectRunner", "--streaming")
    assert options.rasters == (rest[0],)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["segment", "--help"], ["segment", "gone.tif", "--model", "x"]]
)
def test_help_and_argument_errors_answer_at_once(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "terraseam", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode in (0, 2)
    assert not any(name in done.stderr for name in ("tensorflow", "apache_beam", "rasterio", "numpy"))
