"""Fuzz ``terraseam vectorize`` with random rasters and options, and check its output with other libraries.

    python benchmarks/fuzzing.py --rasters 2000 --seed 1

Each run takes several rasters with all kinds of grids, maps and masks, and one combination of options. Coverage,
partition, counts and ids are checked with rasterio, SciPy and hashlib, areas with pyproj, validity as written with
GEOS; and half of the runs are repeated with other sheets, which must give identical GeoJSON.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyogrio.raw
import pyproj
import rasterio
import rasterio.features
import scipy.ndimage
import shapely
from rasterio import Affine

from terraseam.pipeline.cli import main as terraseam

GEOSTATIONARY = "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80"

GRIDS = {
    "UTM, 0.5 m": ("EPSG:32633", Affine(0.5, 0, 399_000.25, 0, -0.5, 5_600_000.75)),
    "UTM, 1 cm": ("EPSG:32633", Affine(0.01, 0, 500_000, 0, -0.01, 5_600_000)),
    "UTM, 30 m, south": ("EPSG:32718", Affine(30, 0, 250_000, 0, -30, 8_600_000)),
    "Web Mercator": ("EPSG:3857", Affine(1.2, 0, 1.4e6, 0, -1.2, 6.9e6)),
    "degrees": ("EPSG:4326", Affine(0.01, 0, -12.345, 0, -0.01, 56.78)),
    "degrees over 180": ("EPSG:4326", Affine(0.02, 0, 179.6, 0, -0.02, 12.0)),
    "polar": ("EPSG:3413", Affine(100, 0, -200_000, 0, -100, -1_100_000)),
    "over a pole": ("EPSG:3413", Affine(1000, 0, -20_500, 0, -1000, 20_500)),
    "south up": ("EPSG:32633", Affine(2, 0, 399_000, 0, 2, 5_590_000)),
    "rotated": ("EPSG:3857", Affine(3.46, 2, 1.4e6, 2, -3.46, 6.9e6)),
    "limb of a disc": (GEOSTATIONARY, Affine(60_000, 0, 3.0e6, 0, -60_000, 3.0e6)),
    "edge of a world map": ("ESRI:54009", Affine(90_000, 0, 13.0e6, 0, -90_000, 4.0e6)),
}  # fmt: skip

UNEVEN = ("over a pole", "limb of a disc", "edge of a world map")
"""Grids on which pixels differ greatly in size, or edges are not geodesics: areas there are checked elsewhere."""

OPTIONS = (
    {},
    {"connectivity": 8},
    {"max-region": 16},
    {"max-region": 16, "connectivity": 8},
    {"sieve": 9},
    {"sieve": 60, "connectivity": 8},
    {"min-area": 5},
    {"fill-holes": 30},
    {"fill-holes": 200, "connectivity": 8},
    {"simplify": 1.5},
    {"simplify": 4, "sieve": 9},
    {"simplify": 3, "max-region": 16},
    {"simplify": 3, "connectivity": 8},
    {"regularize": True},
    {"regularize": True, "connectivity": 8},
    {"regularize": True, "simplify": 2, "sieve": 9},
    {"regularize": True, "fill-holes": 60, "connectivity": 8},
    {"pixel-coordinates": True},
    {"pixel-coordinates": True, "simplify": 2, "connectivity": 8},
    {"pixel-coordinates": True, "regularize": True},
)
"""Combinations of options; lengths and areas are in pixels, whatever the grid."""

SIDES = (7, 16, 33, 64, 512)
NODATA = 77


@dataclass(frozen=True)
class Case:
    """A raster with its expected content: labels, and which pixels are valid."""

    name: str
    grid: str
    labels: np.ndarray
    known: np.ndarray

    @property
    def crs(self) -> str:
        """CRS of its grid."""
        return GRIDS[self.grid][0]

    @property
    def transform(self) -> Affine:
        """Transform from columns and rows to map coordinates."""
        return GRIDS[self.grid][1]

    @property
    def pixel(self) -> float:
        """Area of a pixel on the map."""
        return abs(self.transform.determinant)


@dataclass
class Found:
    """Counts of what was checked, and the failures."""

    rasters: int = 0
    runs: int = 0
    features: int = 0
    wrong: list[str] = field(default_factory=list)


def a_map(rng: np.random.Generator) -> np.ndarray:
    """Return labels of 1 to 70 px a side: noise, blocks, boxes, blobs, one class, or two that percolate."""
    height, width = rng.integers(1, 70, 2)
    kind = rng.integers(0, 6)
    if kind == 0:
        return rng.integers(0, rng.integers(2, 6), (height, width))
    if kind == 1:
        coarse = rng.integers(0, 5, (height // 5 + 1, width // 4 + 1))
        return np.kron(coarse, np.ones((5, 4), int))[:height, :width]
    if kind == 2:
        labels = np.zeros((height, width), int)
        for _ in range(40):
            row, col = rng.integers(0, height), rng.integers(0, width)
            labels[row : row + rng.integers(1, 25), col : col + rng.integers(1, 25)] = rng.integers(0, 5)
        return labels
    if kind == 3:
        smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(height, width)), 3)
        return np.digitize(smooth, np.quantile(smooth, [0.3, 0.5, 0.8]))
    if kind == 4:
        return np.full((height, width), rng.integers(0, 5))
    return (rng.random((height, width)) < rng.choice([0.4, 0.6, 0.9])).astype(int)


def a_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return a valid mask: everything, all but specks, a corner, nothing, or a disc."""
    kind = rng.integers(0, 6)
    known = np.ones(shape, bool)
    if kind == 2:
        known = rng.random(shape) > 0.1
    elif kind == 3:
        known[shape[0] // 2 :] = False
        known[:, shape[1] // 3 :] = False
    elif kind == 4 and rng.random() < 0.3:
        known[:] = False
    elif kind == 5:
        rows, cols = np.indices(shape)
        known = np.hypot(rows - shape[0] / 2, cols - shape[1] / 2) < max(shape) / 2.2
    return known


def make_case(rng: np.random.Generator, folder: Path, number: int) -> Case:
    """Write a random raster."""
    labels = a_map(rng)
    grid = list(GRIDS)[rng.integers(0, len(GRIDS))]
    known = a_mask(rng, labels.shape) & on_earth(grid, labels.shape)
    dtype = ("uint8", "int16", "int32", "uint16")[rng.integers(0, 4)]
    if dtype.startswith("i"):
        labels = labels * 1000 - 1500
    case = Case(f"r{number}", grid, labels, known)
    by_mask = rng.random() < 0.3
    profile = {
        "height": labels.shape[0],
        "width": labels.shape[1],
        "count": 1,
        "dtype": dtype,
        "crs": case.crs,
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            folder / f"{case.name}.tif",
            "w",
            driver="GTiff",
            transform=case.transform,
            nodata=None if by_mask else NODATA,
            **profile,
        ) as file,
    ):
        file.write(np.where(known, labels, 0 if by_mask else NODATA).astype(dtype), 1)
        if by_mask:
            file.write_mask(known)
    return case


def on_earth(grid: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return which pixels have centres with a position on the Earth that maps back to them."""
    crs, transform = GRIDS[grid]
    rows, cols = np.indices(shape)
    x, y = transform * (cols.ravel() + 0.5, rows.ravel() + 0.5)
    degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = degrees.transform(x, y)
    on = np.isfinite(lon) & np.isfinite(lat)
    back = degrees.transform(np.where(on, lon, 0), np.where(on, lat, 0), direction="INVERSE")
    if grid.startswith("degrees"):
        return np.ones(shape, bool)
    near = np.hypot(back[0] - x, back[1] - y) < 0.005 * np.sqrt(abs(transform.determinant))
    return np.asarray((on & near).reshape(shape))


def arguments(options: dict[str, object], metres: float) -> list[str]:
    """Return options as typed, converted from pixels to metres."""
    argv = []
    for name, value in options.items():
        if value is True:
            argv.append(f"--{name}")
        elif name in ("sieve", "min-area", "fill-holes"):
            argv += [f"--{name}", repr(float(value) * metres**2)]  # type: ignore[arg-type]
        elif name == "simplify":
            argv += [f"--{name}", repr(float(value) * metres)]  # type: ignore[arg-type]
        else:
            argv += [f"--{name}", str(value)]
    return argv


def check(case: Case, options: dict[str, object], out: Path) -> Iterator[str]:
    """Yield the problems found in the output for a raster."""
    folder = out / case.name
    collection = json.loads((folder / "polygons.geojson").read_text())["features"]
    shown = [shapely.geometry.shape(feature["geometry"]) for feature in collection]
    meta, _, wkb, values = pyogrio.raw.read(folder / "polygons.gpkg")
    columns = dict(zip(meta["fields"], values, strict=True))
    shapes = shapely.from_wkb(wkb)
    ids = [feature["id"] for feature in collection]
    for form, some in (("GeoJSON", shown), ("GeoPackage", shapes)):
        bad = [shapely.is_valid_reason(shape) for shape in some if not shape.is_valid]
        if bad:
            yield f"{len(bad)} of {len(some)} invalid in {form}: {bad[0]}"
    if len(set(ids)) != len(ids) or list(columns["id"]) != ids:
        yield "ids are not unique, or not the same in both formats"
    if any(feature["bbox"][1] > feature["bbox"][3] for feature in collection):
        yield "a bbox is upside down"
    in_pixels = "pixel-coordinates" in options
    transform = Affine.identity() if in_pixels else case.transform
    if not options.get("regularize") and "min-area" not in options:
        yield from _check_cover(case, options, (shapes, columns, transform))
    if not options.keys() - {"connectivity", "pixel-coordinates"}:
        yield from _check_regions(case, options, ids, (shapes, columns, transform))
    if not in_pixels and case.grid not in UNEVEN:
        yield from _check_areas(case, shapes, columns)
    if options.get("regularize"):
        yield from _check_right_angles(case, options, (shapes, columns, transform))


def _check_cover(case: Case, options: dict[str, object], read: tuple) -> Iterator[str]:  # type: ignore[type-arg]
    shapes, columns, transform = read
    pixel = abs(transform.determinant)
    labels = np.array([int(name) for name in columns["class"]])
    total = float(shapely.area(shapes).sum()) / pixel
    measured = int(case.known.sum())
    if "fill-holes" in options:
        if total < measured - 1e-3:
            yield f"with holes filled {total} px are covered, {measured} were measured"
        return
    if abs(total - measured) > 1e-4 * max(measured, 1):
        yield f"{total} px are covered, {measured} were measured"
    if len(shapes):
        union = shapely.area(shapely.union_all(shapely.set_precision(shapes, 0))) / pixel
        if abs(union - measured) > 1e-4 * max(measured, 1):
            yield f"all polygons together cover {union} px, {measured} were measured: some overlap"
    if "simplify" in options:
        if "connectivity" not in options and len(shapes) and not shapely.coverage_is_valid(shapes):
            yield "simplified polygons are no valid coverage"
        return
    yield from _check_pixels(case, options, (shapes, labels, transform))


def _check_pixels(case: Case, options: dict[str, object], read: tuple) -> Iterator[str]:  # type: ignore[type-arg]
    """Rasterize polygons along pixel edges, and compare them with the labels."""
    shapes, labels, transform = read
    burnt = np.full(case.labels.shape, 1 << 30)
    if len(shapes):
        pairs = zip(shapes, labels.tolist(), strict=True)
        burnt = rasterio.features.rasterize(
            pairs, case.labels.shape, fill=1 << 30, transform=transform, dtype="int32"
        )
    if not np.array_equal(burnt < 1 << 30, case.known):
        yield "pixels that are covered are not those that were measured"
    if "sieve" not in options and not np.array_equal(burnt[case.known], case.labels[case.known]):
        yield "polygons do not rasterize to the labels"
    if "sieve" in options and case.grid not in UNEVEN:
        yield from _check_sieve(case, burnt, float(options["sieve"]))  # type: ignore[arg-type]
    if "max-region" in options:
        side = int(options["max-region"])  # type: ignore[call-overload]
        on_lattice = shapely.transform(shapes, lambda xy: np.stack(~transform * xy.T, axis=1))
        box = shapely.bounds(on_lattice).reshape(-1, 4)
        if (box[:, 2:] - box[:, :2]).max(initial=0) > side + 1e-3:
            yield f"a region is longer than {side} px"


def _check_sieve(case: Case, burnt: np.ndarray, least: float) -> Iterator[str]:
    for label in np.unique(burnt[case.known]):
        numbers, count = scipy.ndimage.label(burnt == label)
        for number in range(1, count + 1):
            region = numbers == number
            around = scipy.ndimage.binary_dilation(region) & ~region & case.known
            if region.sum() < 0.9 * least and around.any():
                yield f"a region of {region.sum()} px is left"
                return


def _check_regions(
    case: Case,
    options: dict[str, object],
    ids: list[str],
    read: tuple,  # type: ignore[type-arg]
) -> Iterator[str]:
    shapes, _, _ = read
    structure = np.ones((3, 3)) if options.get("connectivity") == 8 else None
    expected = set()
    for label in np.unique(case.labels[case.known]):
        numbers, count = scipy.ndimage.label((case.labels == label) & case.known, structure)
        _, first = np.unique(numbers, return_index=True)
        for place in first[-count:] if count else ():
            row, col = divmod(int(place), case.labels.shape[1])
            name = f"{case.name}\0{label}\0{row}\0{col}"
            expected.add(hashlib.blake2b(name.encode(), digest_size=8).hexdigest())
    if expected != set(ids):
        yield f"{len(expected)} regions, and {len(shapes)} features or other ids"


def _check_areas(case: Case, shapes: np.ndarray, columns: dict[str, np.ndarray]) -> Iterator[str]:
    geod = pyproj.Geod(ellps="WGS84")
    degrees = pyproj.Transformer.from_crs(case.crs, "EPSG:4326", always_xy=True)
    step = np.sqrt(case.pixel)
    for shape, area in list(zip(shapes, columns["area_m2"], strict=True))[:25]:
        dense = shapely.segmentize(shape, step)
        lonlat = shapely.transform(dense, lambda xy: np.stack(degrees.transform(*xy.T), axis=1))
        expected = abs(geod.geometry_area_perimeter(shapely.orient_polygons(lonlat))[0])
        # Edges are accurate to a tenth of a pixel.
        drawn = 0.01 * step * shapely.length(shape)
        if abs(area - expected) > 2e-3 * expected + drawn + 1e-4:
            yield f"an area of {area} m2 where geodesics give {expected}"
            return


def _check_right_angles(case: Case, options: dict[str, object], read: tuple) -> Iterator[str]:  # type: ignore[type-arg]
    shapes, columns, transform = read
    if np.abs(columns["area_change"]).max(initial=0) > 0.1:
        yield "right angles have changed an area by more than a tenth"
    # Non-square pixels on the ground are measured there; a filled hole covers what lies in it.
    if case.grid in (*UNEVEN, "degrees", "degrees over 180") or "fill-holes" in options:
        return
    most = 1.0 + float(options.get("simplify", 0))  # type: ignore[arg-type]
    one, other = shapely.STRtree(shapes).query(shapes, "intersects")
    pairs = one < other
    shared = shapely.intersection(shapes[one[pairs]], shapes[other[pairs]])
    inset = -(most / 2 + 0.06) * np.sqrt(abs(transform.determinant))
    if not shapely.is_empty(shapely.buffer(shared, inset)).all():
        yield f"polygons with right angles overlap by more than {most:g} px"


def run(rng: np.random.Generator, options: dict[str, object], count: int, folder: Path, found: Found) -> None:
    """Write some rasters on grids of one scale, vectorize them, and check the output."""
    folder.mkdir(parents=True)
    cases = [make_case(rng, folder, number) for number in range(count)]
    in_pixels = "pixel-coordinates" in options
    scales: dict[float, list[Case]] = {}
    for case in cases:
        scales.setdefault(1.0 if in_pixels else metres_of(case), []).append(case)
    tolerance = float(options.get("simplify", 0))  # type: ignore[arg-type]
    for metres, some in scales.items():
        if tolerance and all(min(case.labels.shape) <= tolerance + 1 for case in some):
            continue  # a tolerance larger than every raster is refused
        # Options that read around regions need sheets larger than their reach.
        looks_far = {"simplify", "regularize"} & options.keys()
        sides = rng.choice([side for side in SIDES if side > 24 or not looks_far], 2, replace=False)
        outs = [folder / f"out{metres:g}_{side}" for side in sides]
        paths = [str(folder / f"{case.name}.tif") for case in some]
        argv = ["vectorize", *paths, "--format", "geojson,gpkg", *arguments(options, metres)]
        for out, side in list(zip(outs, sides, strict=True))[: 1 + found.runs % 2]:
            if not _succeeds([*argv, "--output", str(out), "--sheet", str(side)], options, found):
                return
        for case in some:
            found.rasters += 1
            try:
                wrong = list(check(case, options, outs[0]))
            except Exception as error:
                wrong = [
                    f"cannot be checked: {error!r} at {traceback.extract_tb(error.__traceback__)[-1].lineno}"
                ]
            texts = [(out / case.name / "polygons.geojson") for out in outs]
            found.features += texts[0].read_bytes().count(b'"Feature"')
            if found.runs % 2 and texts[0].read_bytes() != texts[1].read_bytes():
                wrong.append(f"sheets of {sides[0]} and {sides[1]} px give other bytes")
            place = f"{folder.name} {case.name} ({case.grid}, {case.labels.shape}) {options}"
            found.wrong += [f"{place}: {one}" for one in wrong]
    found.runs += 1


def metres_of(case: Case) -> float:
    """Return the approximate metres per pixel of a grid: rasters of one scale share a run."""
    degrees = GRIDS[case.grid][0] == "EPSG:4326"
    return float(f"{np.sqrt(case.pixel) * (111_000 if degrees else 1):.2g}")


def _succeeds(argv: list[str], options: dict[str, object], found: Found) -> bool:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = terraseam(argv)
    if status:
        found.wrong.append(f"{options}: status {status}, {said.getvalue()[-300:]}")
    return not status


def fuzz(rasters: int, seed: int, folder: Path, together: int = 60) -> Found:
    """Vectorize at least `rasters` rasters, `together` at a time."""
    found, rng = Found(), np.random.default_rng(seed)
    number = 0
    while found.rasters < rasters and len(found.wrong) < 100:
        count = min(together, rasters - found.rasters)
        run(rng, OPTIONS[number % len(OPTIONS)], count, folder / f"run{number}", found)
        number += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rasters", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder that the rasters stay in")
    args = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(args.rasters, args.seed, args.keep or Path(folder))
    print("\n".join(found.wrong))
    print(
        f"{found.rasters} rasters in {found.runs} choices of options, {found.features:,} features, "
        f"{len(found.wrong)} findings, {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
