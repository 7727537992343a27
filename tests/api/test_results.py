"""What results say, in code, as text and in notebooks."""

from __future__ import annotations

import json
import pickle

import pytest
from vectorize_cases import patches, vectorize, write_labels

from terraseam.api.errors import FailedError, RefusedError, TerraseamError, error_of
from terraseam.api.rasters import RasterResult, raster_results
from terraseam.api.results import EvaluateResult, PlanResult, SegmentResult, TrainResult


def classes(*names):
    return {
        name: {
            "label": label,
            "pixels": 10,
            "share": 0.5,
            "polygons": 1 if label else None,
            "polygon_area_m2": 1234.5,
        }
        for label, name in enumerate(names)
    }


def entry(name, *fates):
    sheets = [
        {"fate": fate, "failure": "rows 0 to 9 cannot be read" if fate == "quarantined" else None}
        for fate in fates
    ]
    files = {"labels.tif": {}, "polygons.geojson": {}, "polygons.parquet": {}}
    return {"id": name, "path": f"in/{name}.tif", "folder": f"out/{name}", "files": files, "sheets": sheets,
            "classes": classes("land", "water")}  # fmt: skip


MANIFEST = {
    "polygons": {"regularize": False, "min_area_m2": 0},
    "rasters": [entry("a", "inferred"), entry("b", "reused", "quarantined", "quarantined")],
    "left_out": [{"id": "c", "path": "in/c.tif", "reasons": ["c.tif has no CRS"]}],
}


def test_rasters_say_what_became_of_them():
    a, b, c = raster_results(MANIFEST, "segmented")
    assert [one.status for one in (a, b, c)] == ["segmented", "quarantined", "left out"]
    assert [one.reasons for one in (a, b, c)] == [(), ("rows 0 to 9 cannot be read",), ("c.tif has no CRS",)]
    assert a.label_map == "out/a/labels.tif"
    assert a.polygon_files == {"geojson": "out/a/polygons.geojson", "parquet": "out/a/polygons.parquet"}
    assert [(one.name, one.label, one.polygons, one.area) for one in a.classes] == [
        ("land", 0, None, 1234.5),
        ("water", 1, 1, 1234.5),
    ]
    assert c.label_map is None and c.classes == ()
    with pytest.raises(FileNotFoundError, match="c has no polygons"):
        c.polygons()


def test_a_run_is_a_table_in_notebooks():
    result = SegmentResult("the text", (), False, raster_results(MANIFEST, "segmented"), MANIFEST)
    html = result._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 1 + 2 + 2 + 1
    assert "<td>a</td><td>segmented</td><td>water</td><td>50.0%</td><td>1</td><td>1,234.5</td>" in html
    assert "<td>c</td><td>left out</td><td>c.tif has no CRS</td>" in html
    assert str(result) == "the text"
    assert "manifest" not in repr(result)


def test_names_are_no_html():
    raster = RasterResult("<b>", "in", "left out", ("a < b",))
    assert "<td>&lt;b&gt;</td><td>left out</td><td>a &lt; b</td>" in SegmentResult(
        "", (), False, (raster,), None
    )._repr_html_()  # fmt: skip


def test_other_results_are_tables_too():
    raster = {"id": "a", "height": 1200, "width": 3400, "gsd_m": 0.5, "sheets": [1, 2]}
    plan = PlanResult(
        "", (), {"rasters": [raster], "exact": True, "exactness": "yes: labels", "memory_bytes": 5}
    )
    assert "<caption>exact: yes: labels</caption>" in plan._repr_html_()
    assert "<td>a</td><td>1,200 x 3,400</td><td>0.5</td><td>2</td>" in plan._repr_html_()
    trained = TrainResult(
        "", (), "roofs", "roofs.training", {"metrics": {"validation": {"mean_iou": 0.71234}}}
    )
    assert trained.metrics == {"mean_iou": 0.71234}
    assert "<caption>roofs</caption>" in trained._repr_html_() and "<td>0.7123</td>" in trained._repr_html_()
    assert TrainResult("", (), None, None, {}).metrics == {}
    pixels = {"classes": {"roof": {"iou": 0.5, "f1": None, "precision": 1.0, "recall": 0.25}}}
    figures = EvaluateResult("", (), True, {"pixels": pixels, "polygons": None})._repr_html_()
    assert (
        "<td>roof</td><td>pixels</td><td>0.5000</td><td>-</td><td>-</td><td>-</td><td>1.0000</td>" in figures
    )


def test_a_run_with_a_broken_raster_has_the_others(tmp_path):
    write_labels(tmp_path / "maps" / "map.tif", patches(40, 50), names=("a", "b"))
    (tmp_path / "maps" / "broken.tif").write_bytes(b"II*\0")
    assert vectorize(tmp_path / "maps", tmp_path / "out") == 3
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    whole, broken = raster_results(manifest, "vectorized")
    assert (whole.id, whole.status, broken.status) == ("map", "vectorized", "left out")
    assert whole.polygons().num_rows == sum(one.polygons for one in whole.classes)
    assert "broken.tif" in broken.reasons[0]


def test_errors_are_told_apart_by_exit_status():
    refused, failed = error_of("no", 2), error_of("it broke", 1)
    assert isinstance(refused, RefusedError) and isinstance(refused, ValueError)
    assert isinstance(failed, FailedError) and not isinstance(failed, ValueError)
    for error in (refused, failed):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, TerraseamError)
        assert (str(again), again.status) == (str(error), error.status)
