"""Commands that must fail, each for one reason, and their input files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely

from terraseam.models.bundle.card import SHIPPED
from terraseam.pipeline.storage.lock import Lock, lock_in

NORTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)


@dataclass(frozen=True)
class Bad:
    """A command that must be refused with one sentence.

    Attributes:
        what: What is wrong.
        command: The command line; paths are relative to the folder of `write_files`.
        words: Words that the sentence must contain.
        status: The exit status: 2 for problems known before any work, 1 for those that only work can show.
        count: Expected number of sentences, one per problem.
    """

    what: str
    command: str
    words: str
    status: int = 2
    count: int = 1

    def __str__(self) -> str:
        return self.what


def _segment(what: str, rest: str, words: str, status: int = 2) -> Bad:
    """Build a job that would succeed but for the rest of its arguments."""
    given = rest.split()
    raster = "" if given[0].endswith((".tif", ".vrt", ".toml")) or "*" in given[0] else "scene.tif "
    model = "" if "--model" in given else " --model coast"
    output = "" if "--output" in given else " --output out"
    return Bad(what, f"segment {raster}{rest}{model}{output}", words, status)


def _vectorize(what: str, rest: str, words: str, status: int = 2) -> Bad:
    given = rest.split()
    raster = "" if given[0].endswith(".tif") else "labels.tif "
    return Bad(what, f"vectorize {raster}{rest} --output out", words, status)


def _job(what: str, name: str, words: str) -> Bad:
    return Bad(what, f"segment --config {name}.toml", words)


RASTERS = (
    _segment("a raster that does not exist", "none.tif", "none.tif does not exist"),
    _segment("a pattern that no file has", "none*.tif", "none*.tif"),
    Bad("a folder without rasters", "segment bare --model coast --output out", "bare"),
    _segment("a file of zero bytes", "empty.tif", "empty.tif is empty: 0 bytes"),
    _segment("a text file called .tif", "text.tif", "text.tif is not a raster that GDAL can open"),
    _segment("a GeoTIFF cut off in its head", "headless.tif", "headless.tif is not a raster"),
    _segment("a VRT that is not XML", "broken.vrt", "broken.vrt is not a raster"),
    _segment("a raster without CRS", "no_crs.tif", "no_crs.tif has no CRS"),
    _segment("a raster without geotransform", "no_transform.tif", "has no geotransform"),
    _segment("a geotransform that is a line", "line.tif", "maps all pixels onto a line"),
    _segment("a raster placed by control points", "points.tif", "control points only"),
    _segment(
        "degrees where the CRS is in metres: beyond the pole", "beyond.tif", "cannot be placed on the Earth"
    ),
    _segment("complex samples", "complex.tif", "samples of type complex64"),
    _segment("float64 samples", "double.tif", "samples of type float64"),
    _segment(
        "too few bands", "two_bands.tif", "coast expects 3 bands (red, green, blue), but two_bands.tif has 2"
    ),
    _segment("too many bands", "five_bands.tif", "choose with --bands"),
    _segment("a band that is not there", "--bands 1,2,9", "scene.tif has no band 9"),
    _segment("too few bands chosen", "--bands 1,2", "--bands 1,2 names 2"),
    _segment("a raster of another GSD", "--model buildings", "pass --resample to read it at that GSD"),
)

ENVIRONMENT = {"GOOGLE_APPLICATION_CREDENTIALS": "key.json"}
"""Environment variables of the commands; the key is never used."""

HERE = "--dataflow_endpoint http://localhost:9"
REGION = "--region europe-west1"
TEMP = "--temp_location gs://bucket/temp"


def _dataflow(what: str, rest: str, words: str) -> Bad:
    return _segment(what, f"--runner DataflowRunner {rest}", words)


DATAFLOW = (
    _dataflow("Dataflow without project", f"{HERE} {REGION} {TEMP}", "Dataflow needs the project"),
    _dataflow("Dataflow without region", f"{HERE} --project p {TEMP}", "Dataflow needs the region"),
    _dataflow("Dataflow without temp_location", f"{HERE} --project p {REGION}", "pass --temp_location"),
    Bad(
        "a local raster and a local output for Dataflow",
        f"segment scene.tif --model coast --output out --runner DataflowRunner --project p {REGION} {TEMP}",
        "scene.tif is on this machine",
        count=2,
    ),
    _dataflow(
        "an accelerator that does not exist", f"{HERE} --project p {REGION} {TEMP} --accelerator t5", "t5"
    ),
)

OPTIONS = (
    _segment("an option that nobody has", "--simplfy 2", "did you mean --simplify?"),
    _segment("a class that the network does not know", "--classes watr", "watr"),
    _segment("--tile 0", "--tile 0", "'0' is not a whole number of 1 or more"),
    _segment("--tile that fits no block", "--tile 700", "--tile 700 is not a multiple of 512 px"),
    _segment("--halo -1", "--halo -1", "'-1' is not a whole number of 0 or more"),
    _segment("--sheet wide", "--sheet wide", "'wide' is not a whole number"),
    _segment("--simplify 0", "--simplify 0", "'0' is not a number above 0"),
    _segment("--simplify -2", "--simplify -2", "'-2' is not a number above 0"),
    _segment("--simplify nan", "--simplify nan", "'nan' is not a number above 0"),
    _segment("--simplify of a kilometre", "--simplify 1000 --tile 512 --sheet 512", "--simplify 1000"),
    _segment("--min-area inf", "--min-area inf", "'inf' is not a number"),
    _segment("--min-score 2", "--min-score 2", "'2' is not a number from 0 to 1"),
    _segment("a format that is not written", "--format geojsn", "did you mean geojson?"),
    _segment("an engine that does not exist", "--engine torch", "torch"),
    _segment("--batch-size 0", "--batch-size 0", "'0' is not a whole number of 1 or more"),
    _segment("two ways to treat the GSD", "--resample --any-gsd", "not allowed with"),
    _segment("an empty name", "--classes land,,water", "contains an empty name"),
    _segment("half precision on OpenVINO", "--engine openvino --precision float16", "--precision"),
    Bad("no --model", "segment scene.tif --output out", "give --model"),
    Bad("no --output", "segment scene.tif --model coast", "give --output"),
    Bad("no command", "", "COMMAND"),
    Bad("a command that does not exist", "segmnt scene.tif", "segmnt"),
    _segment("a runner that Beam does not have", "--runner DataflwRunner", "did you mean DataflowRunner?"),
    _segment("fewer workers than none", "--direct_num_workers -2", "it takes a whole number of 0 or more"),
    _segment("workers in words", "--direct_num_workers two", "'two'; Apache Beam takes a whole number"),
    _segment(
        "a running mode that Beam does not have", "--direct_running_mode fast", "takes one of in_memory"
    ),
)

PLACES = (
    _segment("an output that is a file", "--output a_file", "a_file is a file"),
    _segment("an output below a file", "--output a_file/out", "a_file is a file"),
    _segment(
        "an output that the system refuses", "--output /proc/out", "--output /proc/out cannot be written"
    ),
    _segment("a work folder that is a file", "--work a_file", "--work a_file cannot be a folder"),
    _segment(
        "a work folder that the system refuses", "--work /proc/work", "--work /proc/work cannot be written"
    ),
    _segment(
        "a job that another run works on", "--output held", "another run is working on this job", status=1
    ),
    Bad("a store that is not there", "store list bare", "there is no prediction store in bare"),
    Bad(
        "a store of which nothing may go", "store prune held", "pass --older-than AGE and/or --max-size SIZE"
    ),
    Bad("an age without unit", "store prune held --older-than 30", "30d or 8w"),
)

BUNDLES = (
    _segment("a bundle that does not exist", "--model caost", "did you mean coast?"),
    _segment("a bundle without card", "--model bare", "has no card.json"),
    _segment("a card that is not JSON", "--model bundles/not_json", "is not JSON"),
    _segment("a card without a field", "--model bundles/no_stride", "has no field 'stride'"),
    _segment("a card with a field too many", "--model bundles/more", "remove it or name it 'stride'"),
    _segment("a card with a wrong field", "--model bundles/stride", "stride"),
    _segment("weights cut off", "--model bundles/cut", "weights_sha256 differs"),
    _segment("a bundle without weights", "--model bundles/no_weights", "model.keras"),
    _segment("weights that do not fit the card", "--model bundles/other", "but its network has 2", status=1),
    _segment("weights that are noise", "--model bundles/noise", "is not a Keras file", status=1),
    _segment("a bundle given twice", "--model coast --model coast", "is given twice"),
    _segment("bundles of other classes", "--model coast --model buildings --any-gsd", "buildings"),
)

AREAS = (
    _segment("an AOI that does not exist", "--aoi none.geojson", "none.geojson"),
    _segment("an AOI that misses every raster", "--aoi far.geojson", "covers no raster"),
    _segment("an AOI without CRS", "--aoi no_crs.fgb", "CRS"),
    _segment("an AOI without polygons", "--aoi dots.geojson", "dots.geojson"),
    _segment("an AOI that is not JSON", "--aoi text.geojson", "text.geojson"),
    _segment("an AOI that is a raster", "--aoi scene.tif", "is a raster; give a file of polygons"),
)

JOBS = (
    _job("a job file that does not exist", "none", "none.toml cannot be read"),
    _job("a job file that is not TOML", "syntax", "syntax.toml is not TOML"),
    _job("a field that no option has", "unknown", "min_area"),
    _job("a field of a wrong type", "type", "halo"),
    _job("a value that the option does not take", "value", "'round'"),
    _job("a variable that is not set", "variable", "NO_SUCH_VARIABLE"),
    _job("a date in words that are none", "date", "tomorow"),
    _job("a job file without rasters", "no_rasters", "give RASTER"),
)

VECTORIZE = (
    _vectorize("labels of fractions", "fractions.tif", "fractions.tif"),
    _vectorize("labels of three bands", "scene.tif", "scene.tif"),
    _vectorize("labels without CRS", "labels_no_crs.tif", "--pixel-coordinates"),
    _vectorize("labels of zero bytes", "empty.tif", "empty.tif is empty: 0 bytes"),
    _vectorize(
        "a label that no raster has a name for", "--classes wood", "has no class wood; it has numbers only"
    ),
    _vectorize("a score where there is none", "--min-score 0.5", "--min-score"),
    _vectorize("a label named twice", "--class-names 1=a,1=b", "names a label twice"),
    _vectorize(
        "vector tiles of pixels",
        "--pixel-coordinates --format pmtiles",
        "--format pmtiles needs map coordinates",
    ),
)

OTHERS = (
    Bad(
        "a plan of a raster that does not exist", "plan none.tif --model coast --output out", "does not exist"
    ),
    Bad("truth that does not exist", "evaluate --predicted labels.tif --truth none.geojson", "none.geojson"),
    Bad("a prediction that does not exist", "evaluate --predicted none --truth labels.tif", "none"),
    Bad("a network that cannot be built", "models show unett", "unett"),
    Bad(
        "a network to import that is text",
        "models import text.tif --bands red --classes a,b --gsd 1 --scale 1 --output out",
        "text.tif",
    ),
    Bad(
        "training without labels",
        "train --images scene.tif --labels no.shp --classes a,b --architecture unet --encoder none --output out",
        "no.shp does not exist",
    ),
)

CASES = (*RASTERS, *DATAFLOW, *OPTIONS, *PLACES, *BUNDLES, *AREAS, *JOBS, *VECTORIZE, *OTHERS)


def write_files(folder: Path) -> None:
    """Write the input files of the commands."""
    (folder / "bare").mkdir()
    (folder / "a_file").write_text("a file")
    (folder / "empty.tif").touch()
    for name in ("text.tif", "text.geojson", "broken.vrt", "key.json"):
        (folder / name).write_text("This is a text, and no raster.\n")
    _write_rasters(folder)
    _write_areas(folder)
    _write_jobs(folder)
    _write_bundles(folder / "bundles")
    store = folder / "held" / ".work" / "store" / "00"
    store.mkdir(parents=True)
    (store / "00.sheet").write_bytes(b"{}\n")


@contextlib.contextmanager
def another_run(folder: Path) -> Iterator[None]:
    """Hold the lock of the job with results in ``held`` within the block."""
    with Lock(lock_in(str(folder / "held"))).held(print):
        yield


def _raster(
    path: Path, bands: int = 3, dtype: str = "uint8", crs: str | None = "EPSG:32632", **profile: object
) -> None:
    pixels = np.random.default_rng(bands).integers(1, 4, (bands, 70, 90)).astype(dtype)
    shape = {"count": bands, "height": 70, "width": 90, "dtype": dtype}
    profile = {"transform": NORTH_UP, **profile}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, **shape, **profile) as dataset:
        dataset.write(pixels)


def _write_rasters(folder: Path) -> None:
    _raster(folder / "scene.tif")
    _raster(folder / "no_crs.tif", crs=None)
    _raster(folder / "no_transform.tif", transform=rasterio.Affine.identity())
    _raster(folder / "line.tif", transform=rasterio.Affine(0.5, 0.5, 500_000, 0.5, 0.5, 5_600_000))
    _raster(folder / "beyond.tif", crs="EPSG:4326", transform=rasterio.Affine(1, 0, 10, 0, -1, 140))
    corners = [((0, 0), (10, 50)), ((0, 90), (11, 50)), ((70, 0), (10, 49)), ((70, 90), (11, 49))]
    points = [rasterio.control.GroundControlPoint(*at, *to) for at, to in corners]
    _raster(folder / "points.tif", transform=None, crs=None)
    with rasterio.open(folder / "points.tif", "r+") as dataset:
        dataset.gcps = points, rasterio.CRS.from_epsg(4326)
    _raster(folder / "complex.tif", dtype="complex64")
    _raster(folder / "double.tif", dtype="float64")
    _raster(folder / "two_bands.tif", 2)
    _raster(folder / "five_bands.tif", 5)
    _raster(folder / "labels.tif", 1)
    _raster(folder / "labels_no_crs.tif", 1, crs=None)
    _raster(folder / "fractions.tif", 1, "float32")
    (folder / "headless.tif").write_bytes((folder / "scene.tif").read_bytes()[:12])


def _write_areas(folder: Path) -> None:
    far = {"type": "Polygon", "coordinates": [[[-60, -20], [-59, -20], [-59, -19], [-60, -20]]]}
    (folder / "far.geojson").write_text(json.dumps(far))
    (folder / "dots.geojson").write_text(json.dumps({"type": "Point", "coordinates": [9, 50]}))
    squares = np.array([shapely.to_wkb(shapely.box(0, 0, 10, 10))], object)
    pyogrio.raw.write(
        folder / "no_crs.fgb", squares, field_data=[], fields=[], geometry_type="Polygon", crs=None
    )


def _write_jobs(folder: Path) -> None:
    job = 'rasters = "scene.tif"\nmodel = "coast"\noutput = "out"\n'
    for name, more in {
        "syntax": "tile = [512",
        "unknown": "min_are = 500",
        "type": "halo = [true]",
        "value": 'stitch = "round"',
        "variable": 'work = "${NO_SUCH_VARIABLE}"',
        "date": 'work = "{tomorow}"',
    }.items():
        (folder / f"{name}.toml").write_text(f"{job}{more}\n")
    (folder / "no_rasters.toml").write_text(job.partition("\n")[2])


def _write_bundles(folder: Path) -> None:
    """Write copies of a shipped bundle, each with one defect."""
    card = json.loads((SHIPPED / "coast" / "card.json").read_text())
    del card["openvino"]
    noise = b"noise" * 1000
    weights = (SHIPPED / "coast" / "model.keras").read_bytes()
    third = [*card["classes"], {"name": "ice", "color": "#ffffff", "background": False}]
    for name, fields, network in (
        ("not_json", "{", weights),
        ("no_stride", {key: value for key, value in card.items() if key != "stride"}, weights),
        ("more", {**card, "strides": 16}, weights),
        ("stride", {**card, "stride": "wide"}, weights),
        ("cut", card, weights[:-100]),
        ("no_weights", card, None),
        ("other", {**card, "classes": third}, weights),
        ("noise", {**card, "weights_sha256": hashlib.sha256(noise).hexdigest()}, noise),
    ):
        bundle = folder / name
        bundle.mkdir(parents=True)
        if network is not None:
            (bundle / "model.keras").write_bytes(network)
        (bundle / "card.json").write_text(fields if isinstance(fields, str) else json.dumps(fields))


def reasons(said: str) -> list[str]:
    """Return the reasons that a command gave, without the heading; any other line counts as one, too."""
    lines = said.strip().removeprefix("terraseam: ").splitlines()
    heads = len(lines) > 1 and lines[0].endswith(":")
    return [line.removeprefix("- ") for line in lines[heads:]]


def what_is_wrong(case: Bad, folder: Path, status: int, said: str) -> str | None:
    """Return why a command did not end as expected; None if it did."""
    found, out = reasons(said), folder / "out"
    left = [path.name for path in out.glob("*") if case.status == 2 or not path.name.startswith(".")]
    if status != case.status:
        return f"it ended with {status}: {said}"
    if len(found) != case.count or case.words not in " ".join(found) or "Traceback" in said:
        return f"it said {said}"
    return f"it left {', '.join(left)}" if left or (out.exists() and case.status == 2) else None


def clear(folder: Path) -> None:
    """Remove the output of a command."""
    shutil.rmtree(folder / "out", ignore_errors=True)
