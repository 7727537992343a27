"""Label maps of any whole numbers: traced, cut, simplified and sieved as those of uint8, whatever the sheets."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
import rasterio.features
from label_maps import (
    assert_same_regions,
    keeping,
    polygons_of,
    polygons_of_rasterio,
    random_labels,
    shapes_of,
    shapes_of_rasterio,
    whole_map,
)
from sieve_cases import by_sheets as sieved_by_sheets
from sieve_cases import even
from tiers import some
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.pipeline.vectorize.label_counts import MOST_LISTED, LabelCounts
from terraseam.tiles.labels.cells import cut_into_cells
from terraseam.tiles.labels.label_codes import NOTHING, CodedLabels
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.sieve import apply_sieve, sieve_seams, sieve_sheet
from terraseam.tiles.regions.tolerance import Tolerance
from terraseam.tiles.regions.trace import simplify_sheet, trace_sheet

TOLERANCE = Tolerance(1.3, ((1.0, 0.0), (0.0, -1.0)))


def others_for(labels, dtype, seed):
    """Labels of another type for those of uint8, in the same order; and where they are known."""
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -(1 << 60)), min(limits.max, 1 << 60)
    kinds = np.unique(labels[labels != 255])
    names = np.zeros(256, np.int64)
    drawn = set()
    while len(drawn) < len(kinds):
        drawn.add(int(rng.integers(low, high, endpoint=True)))
    names[kinds] = sorted(drawn)
    known = labels != 255
    # What is not known may hold anything, also what is a label elsewhere.
    filled = np.where(known, names[labels], names[kinds[0]] if len(kinds) else 0)
    return filled.astype(dtype), known, names


def many_labels(seed):
    """A map on which most regions have a label of their own; int32."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 60, 2)
    labels = rng.integers(-(1 << 31), (1 << 31) - 1, (height, width), np.int32)
    return np.ascontiguousarray(np.kron(labels, np.ones((2, 3), np.int32))[:height, :width])


def pieces(labels, known, size, depth):
    """Each sheet with `depth` pixels around it, in codes of its own: place and codes."""
    wide, there = np.pad(labels, depth), np.pad(known, depth)
    for row in range(0, labels.shape[0], size):
        for col in range(0, labels.shape[1], size):
            height, width = labels[row : row + size, col : col + size].shape
            seen = np.s_[row : row + height + 2 * depth, col : col + width + 2 * depth]
            yield (row, col), CodedLabels.encode(wide[seen], there[seen])


def by_sheets(labels, known, size, tolerance=None, cell=None, *, by_corners=False):
    depth = tolerance.reach + 1 if tolerance else 1
    traces = {}
    for (row, col), seen in pieces(labels, known, size, depth):
        codes, table = seen.codes, seen.table
        if cell:
            codes = cut_into_cells(codes, (row - depth, col - depth), cell, len(table))
        inner = np.s_[depth - 1 : codes.shape[0] - depth + 1, depth - 1 : codes.shape[1] - depth + 1]
        scores = np.zeros(np.subtract(codes.shape, 2 * depth), np.uint8)
        trace = trace_sheet(codes[inner], scores, (row, col), table != NOTHING, by_corners=by_corners)
        if tolerance:
            trace = simplify_sheet(trace, codes, (row - depth, col - depth), tolerance)
        traces[row // size, col // size] = trace.decoded(table)
    homes = merge_seams({key: trace.summary for key, trace in traces.items()}, by_corners=by_corners)
    together = [(trace.fragments, homes[key]) for key, trace in traces.items()]
    closed = [trace.closed for trace in traces.values()]
    return Regions.concatenate([*closed, close_regions(together, tolerance)]).ordered()


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_polygons_of_other_types_equal_those_of_rasterio(dtype, seed):
    labels, known, _ = others_for(random_labels(seed), dtype, seed)
    size = int(np.random.default_rng(seed).integers(2, 33))
    assert polygons_of(by_sheets(labels, known, size)) == polygons_of_rasterio(labels, known)


@pytest.mark.parametrize("seed", some(range(12), 4))
def test_maps_with_a_label_for_each_region_equal_those_of_rasterio(seed):
    labels = many_labels(seed)
    known = np.ones(labels.shape, bool)
    expected = polygons_of_rasterio(labels, known)
    assert len(expected) > 100
    for size in (7, 16, 64):
        assert polygons_of(by_sheets(labels, known, size)) == expected


@pytest.mark.parametrize("dtype", ["int64", "uint32"])
@pytest.mark.parametrize("tolerance", [None, TOLERANCE])
@pytest.mark.parametrize(("cell", "by_corners"), [(None, False), (10, False), (None, True)])
@pytest.mark.parametrize("seed", some(range(0, 60, 6), 3))
def test_nothing_but_labels_depends_on_labels(dtype, tolerance, cell, by_corners, seed):
    plain = random_labels(seed)
    labels, known, names = others_for(plain, dtype, seed)
    # Every second seam lies on a line between cells.
    size = cell // 2 if cell else int(np.random.default_rng(seed).integers(3, 33))
    expected = whole_map(plain, np.zeros_like(plain), keeping(), tolerance, cell, by_corners=by_corners)
    found = by_sheets(labels, known, size, tolerance, cell, by_corners=by_corners)
    assert np.array_equal(found.labels, names[expected.labels])
    found.labels[:] = expected.labels
    assert_same_regions(found, expected)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "int16"])
@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_small_regions_dissolve_as_those_of_uint8_do(dtype, seed):
    plain = random_labels(seed)
    labels, known, names = others_for(plain, dtype, seed)
    size, sizes = int(np.random.default_rng(seed).integers(3, 33)), even(6)
    sheets = {
        (row // size, col // size): sieve_sheet(seen, (row, col), sizes)
        for (row, col), seen in pieces(labels, known, size, 1)
    }
    resolved = sieve_seams({key: sheet.summary for key, sheet in sheets.items()}, sizes)
    expected = sieved_by_sheets(plain, max(plain.shape), sizes)
    for (row, col), sheet in sheets.items():
        part = apply_sieve(sheet, resolved[row, col]).labels
        own = expected[row * size :, col * size :][: part.shape[0], : part.shape[1]]
        assert np.array_equal(part, np.where(own == 255, NOTHING, names[own]))


def test_a_label_that_came_from_a_sheet_farther_away_is_kept():
    labels = np.array([[900, 900, 900, 900, 7, 8, 7]], np.int32)
    sheets = {
        (0, col): sieve_sheet(seen, (0, col), even(4))
        for (_, col), seen in pieces(labels, np.ones(labels.shape, bool), 1, 1)
    }
    resolved = sieve_seams({key: sheet.summary for key, sheet in sheets.items()}, even(4))
    parts = [apply_sieve(sheets[key], resolved[key]).labels for key in sorted(sheets)]
    assert np.concatenate(parts, axis=1).tolist() == [[900] * 7]


def test_codes_that_nothing_is_said_of_are_refused():
    codes = np.zeros((3, 3), np.uint16)
    codes[1, 1] = 1024
    with pytest.raises(ValueError, match="codes must be below 4 times 256, got 1024"):
        trace_sheet(codes, np.zeros((1, 1), np.uint8), (0, 0), np.ones(256, bool))


WIDE = {
    "uint16": (3, 254, 255, 256, 65_535),
    "int16": (-32_768, -5, 0, 254, 30_000),
    "int32": (-2_000_000_000, -1, 255, 70_000, 2_000_000_000),
    "uint32": (0, 255, 65_536, 3_999_999_999, 4_294_967_295),
    "int64": (-(1 << 60), -256, 255, 1 << 40, 1 << 60),
    "uint64": (0, 255, 256, 1 << 40, 1 << 60),
}


@pytest.mark.parametrize(
    "dtype",
    [pytest.param(one, marks=[pytest.mark.slow] * (one != "int16")) for one in WIDE],
)
def test_rasters_of_any_integer_type_become_polygons_whatever_the_sheets(dtype, tmp_path):
    codes = patches(100, 131)
    labels = np.array(WIDE[dtype], dtype)[np.where(codes == 255, 4, codes)]
    path = write_labels(tmp_path / "map.tif", labels, nodata=WIDE[dtype][4])
    options = ("--sieve", "3", "--simplify", "0.6", "--max-region", "50")
    for more in ((), options):
        found = []
        for side in ("50", "2048"):
            out = tmp_path / f"{side}{len(more)}"
            assert vectorize(path, out, "--format", "geojson,fgb", "--sheet", side, *more) == 0
            found.append([(out / "map" / f"polygons.{end}").read_bytes() for end in ("geojson", "fgb")])
        assert found[0] == found[1]
    assert vectorize(path, tmp_path / "px", "--pixel-coordinates", "--sheet", "32") == 0
    known, kinds = codes != 255, dict(zip(map(str, WIDE[dtype]), range(5), strict=True))
    mine = {(wkb, str(kinds[name])) for wkb, name in shapes_of(collection(tmp_path / "px")["features"])}
    assert mine == shapes_of_rasterio(codes, known)
    classes = json.loads((tmp_path / "px" / "manifest.json").read_text())["rasters"][0]["classes"]
    assert {name: entry["pixels"] for name, entry in classes.items()} == {
        str(label): np.count_nonzero(labels == label) for label in WIDE[dtype][:4]
    }


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint8"])
def test_polygons_of_a_raster_equal_those_of_one_pass_of_rasterio_on_its_type(dtype, tmp_path):
    rng = np.random.default_rng(5)
    limits = np.iinfo(dtype)
    labels = rng.integers(limits.min, limits.max, (40, 30), dtype, endpoint=True)
    labels = np.ascontiguousarray(np.kron(labels, np.ones((3, 5), dtype))[:117, :149])
    path = write_labels(tmp_path / "map.tif", labels, nodata=None)
    assert vectorize(path, tmp_path / "out", "--pixel-coordinates", "--sheet", "50") == 0
    expected = shapes_of_rasterio(labels, np.ones(labels.shape, bool))
    assert shapes_of(collection(tmp_path / "out")["features"]) == expected


def test_a_raster_may_have_a_label_for_every_pixel(tmp_path, capsys):
    labels = np.random.default_rng(0).permutation(90 * 80).reshape(90, 80).astype(np.uint32)
    path = write_labels(tmp_path / "map.tif", labels, nodata=None)
    found = []
    for side in ("50", "2048"):
        assert vectorize(path, tmp_path / side, "--format", "parquet", "--sheet", side) == 0
        assert "(more than 1,000 labels)  100.0%     7,200" in capsys.readouterr().out
        found.append((tmp_path / side / "map" / "polygons.parquet").read_bytes())
        record = json.loads((tmp_path / side / "manifest.json").read_text())
        assert record["counts"]["polygons"] == 7200
        assert record["polygons"]["classes"] is record["rasters"][0]["classes"] is None
    assert found[0] == found[1]
    table = pyarrow.parquet.read_table(tmp_path / "50" / "map" / "polygons.parquet")
    assert table["class"].to_pylist() == list(map(str, labels.ravel().tolist()))


@pytest.mark.parametrize(("count", "listed"), [(MOST_LISTED, True), (MOST_LISTED + 1, False)])
def test_whether_classes_are_listed_does_not_depend_on_sheets(count, listed, tmp_path):
    labels = (np.arange(60 * 50) % count).astype(np.int32).reshape(60, 50)
    path = write_labels(tmp_path / "map.tif", labels, nodata=None)
    found = []
    for side in ("7", "2048"):
        assert vectorize(path, tmp_path / side, "--sheet", side) == 0
        record = json.loads((tmp_path / side / "manifest.json").read_text())
        found.append((record["polygons"], record["rasters"][0]["classes"]))
        assert record["counts"]["polygons"] == 3000
    assert found[0] == found[1]
    assert [part is not None for part in (found[0][0]["classes"], found[0][1])] == [listed, listed]


def test_labels_are_named_and_chosen_by_number(tmp_path, capsys):
    codes = patches(60, 91)
    labels = np.array([10, 20, 111, 3_000_000_000, 0], np.uint32)[np.where(codes == 255, 4, codes)]
    path = write_labels(tmp_path / "map.tif", labels, nodata=0)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, class_111="moor", class_10="trees")

    def classes(name, *options):
        assert vectorize(path, tmp_path / name, *options) == 0
        return {f["properties"]["class"] for f in collection(tmp_path / name)["features"]}

    assert classes("plain") == {"trees", "20", "moor", "3000000000"}
    named = ("--class-names", "10=forest, 20=shrubs")
    assert classes("named", *named) == {"forest", "shrubs", "111", "3000000000"}
    assert classes("chosen", *named, "--classes", "shrubs,3000000000") == {"shrubs", "3000000000"}
    assert classes("none", "--classes", "77") == set()
    assert vectorize(path, tmp_path / "out", "--classes", "10,meadow") == 2
    said = capsys.readouterr().err
    assert "has no class 10; it has trees, moor, the numbers of other labels" in said
    assert "has no class meadow" in said


def test_negative_labels_are_named_and_chosen(tmp_path):
    labels = np.array([[-9, -9, 5, 0]], np.int16)
    path = write_labels(tmp_path / "map.tif", labels, nodata=0)
    options = ("--class-names=-9=pit,5=hill", "--classes=-7,pit")
    assert vectorize(path, tmp_path / "out", *options) == 0
    assert [f["properties"]["class"] for f in collection(tmp_path / "out")["features"]] == ["pit"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("1=a,b", "numbers some labels and not others; number all or none"),
        ("1=a,1=b", "names a label twice"),
        ("a,b,a", "the labels 0 and 2 are both called a; give each a unique name with --class-names"),
        ("a,3", "the labels 3 and 1 are both called 3"),
        ("a\x1b[31m,b", "contains U+001B, which names must not"),
        ("0=a\u202eb", "contains U+202E, which names must not"),
        ("0=a\udce4b", "contains U+DCE4, which names must not"),
    ],
)
def test_names_that_do_not_tell_labels_apart_are_refused(names, words, tmp_path, capsys):
    path = write_labels(tmp_path / "map.tif", patches(20, 30))
    assert vectorize(path, tmp_path / "out", f"--class-names={names}") == 2
    assert words in capsys.readouterr().err


def test_numbers_that_are_no_labels_are_names_like_any_other(tmp_path):
    path = write_labels(tmp_path / "map.tif", patches(20, 30))
    assert vectorize(path, tmp_path / "out", "--class-names", "0=NaN,1=123,2=null,3=1e5") == 0
    assert {f["properties"]["class"] for f in collection(tmp_path / "out")["features"]} == {
        "NaN",
        "123",
        "null",
        "1e5",
    }


def test_files_with_names_that_steer_a_terminal_are_refused_and_shown_safely(tmp_path, capsys):
    path = write_labels(
        tmp_path / "ma\x1b[31mp.tif", patches(20, 30), names=("sea", "la~[31mnd", "l\u202eake")
    )
    path.write_bytes(path.read_bytes().replace(b"la~", b"la\x1b"))  # GDAL itself writes none.
    assert vectorize(path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert (
        "calls the label 1 'la\\x1b[31mnd', which has U+001B in it; name the labels with --class-names"
        in said
    )
    assert "U+202E" in said and "\x1b" not in said and "\u202e" not in said
    assert vectorize(path, tmp_path / "out", "--class-names", "sea,land,lake") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_files_that_call_two_labels_the_same_are_refused(tmp_path, capsys):
    path = write_labels(tmp_path / "map.tif", patches(20, 30), names=("sea", "land", "sea"))
    assert vectorize(path, tmp_path / "out") == 2
    assert "the labels 0 and 2 are both called sea" in capsys.readouterr().err
    assert vectorize(path, tmp_path / "out", "--class-names", "sea,land,lake") == 0


@pytest.mark.parametrize(
    ("dtype", "value"), some([("uint64", (1 << 64) - 3), ("int64", (1 << 60) + 1), ("int64", -(1 << 62))], 1)
)
def test_a_raster_with_a_value_that_is_no_label_is_left_out_with_its_place(dtype, value, tmp_path, capsys):
    labels = np.ones((40, 50), dtype)
    labels[17, 31] = value
    path = write_labels(tmp_path / "map.tif", labels, nodata=0)
    assert vectorize(path, tmp_path / "out", "--sheet", "16") == 3
    said = capsys.readouterr().err
    assert (
        f"map.tif has the value {value} at row 17, column 31, but labels are -1152921504606846976 to" in said
    )
    assert not (tmp_path / "out" / "map").exists()


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex_int16"])
def test_samples_that_are_no_whole_numbers_are_refused(dtype, tmp_path, capsys):
    labels = np.ones((20, 30), "complex64" if dtype == "complex_int16" else dtype)
    path = write_labels(tmp_path / "map.tif", labels, nodata=None, dtype=dtype)
    assert vectorize(path, tmp_path / "out", "--pixel-coordinates") == 2
    assert f"map.tif has samples of type {dtype}, but labels are whole numbers" in capsys.readouterr().err


def test_a_sum_of_tallies_lists_what_all_together_list():
    some = CodedLabels.encode(np.arange(700), np.arange(700) % 7 > 0)
    more = CodedLabels.encode(np.arange(600, 1100), np.ones(500, bool))
    tallies = [LabelCounts.of(some), LabelCounts.of(more)]
    whole = LabelCounts.sum(tallies)
    assert whole == LabelCounts.sum(reversed(tallies))
    assert (whole.measured, whole.nothing) == (1100, 100)
    assert whole.by_label is None or whole.by_label[650] == 2
    assert len(LabelCounts.sum([tallies[0]]).by_label) == 600
    assert LabelCounts.sum([whole, tallies[0]]).by_label is None
