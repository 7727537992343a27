"""Compare whole runs with a naive script and with dask's `map_overlap`: same pixels, same network, same engine.

    pip install 'dask[array]'
    TERRASEAM_DATA=... python benchmarks/against.py [--sizes 2048,4096,16384] [--rounds 3] [--contestants ...]

Squares of NASA's Blue Marble are segmented with `coast`, cold, each run in its own process with new folders. All
contestants run in every round, beginning with another one each time; figures are medians over the rounds, and ratios
medians of the ratios within a round:

    ours      `terraseam segment` with its defaults, apart from the engine
    naive     `naive.py`, with the halo of ours
    dask64    `overlapping.py` with chunks that overlap by 64 px
    dask128   the same with 128 px, more than this network's reach

A polygon is right if it has the same outline, to the pixel, as one of a run of ours with tiles of 2048 px on the
same engine, which equals inference on the whole raster; those 128 px away from the raster's edges, where dask mirrors
other pixels than the rest, are counted once more. The rate of the network is compared with that of large matrix
products, measured in every round; only the pixels of the raster are counted, not those of halos. Each result is kept
when done; results of one kind of processor are not mixed with those of another.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from comparing import Result, Runs, add_names, compare, data_folder, machine, make_parser, settings_of
from endtoend import Job
from matrix import rate_with
from outcomes import Files, compared
from scenes import cut
from spawning import Spent, spent_in
from telling import load_line, table

from terraseam.models.bundle.card import find_bundle

HERE = Path(__file__).parent
ENGINES = ("tensorflow", "openvino")
DEPTHS = {"dask64": 64, "dask128": 128}
KINDS = ("ours", "naive", *DEPTHS)
CONTESTANTS = tuple(f"{kind}-{engine}" for engine in ENGINES for kind in KINDS)
NETWORK_FILE = "openvino.xml"
WGS84 = "OGC:CRS84"
"""Coordinates of GeoJSON, in which Terraseam writes its polygons; the scripts write those of the raster."""
EXACT = ("--tile", "2048", "--sheet", "4096")
"""Options of the runs that others are compared with."""


class Goal(NamedTuple):
    """A ratio to be reached.

    Attributes:
        size: Side of the square, in pixels.
        other: The contestant whose cost is divided by that of ours.
        ours: Our contestant.
        key: ``seconds`` or ``cpu_seconds``.
        least: The ratio to be reached.
    """

    size: int
    other: str
    ours: str
    key: str
    least: float


GOALS = (
    *(
        Goal(size, f"naive-{engine}", f"ours-{engine}", key, least)
        for size, key, least in (
            (16384, "seconds", 1.6),
            (16384, "cpu_seconds", 1.2),
            (2048, "seconds", 1.0),
            (2048, "cpu_seconds", 1.0),
        )
        for engine in ENGINES
    ),
    *(
        Goal(size, "naive-tensorflow", "ours-openvino", key, least)
        for size, key, least in (
            (16384, "seconds", 2.0),
            (2048, "seconds", 1.0),
            (2048, "cpu_seconds", 1.0),
        )
    ),
)
TIMES = {"seconds": "wall", "cpu_seconds": "CPU"}


def main() -> None:
    arguments = parse()
    if not (arguments.done or arguments.run):
        check_installed(arguments.contestants)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    computer = {name: machine()[name] for name in ("processor", "instructions", "cores")}
    settings = {**settings_of(arguments, "sizes", "rounds", "contestants"), **computer}
    runs = Runs(__file__, sys.argv[1:], arguments.folder, settings)
    contest = Contest(runs, arguments.model, arguments.core)
    compare(runs, arguments, run_names(arguments), contest.measured, told)


def parse() -> argparse.Namespace:
    parser = make_parser(__doc__, "against")
    parser.add_argument("--sizes", default="2048,4096,16384", help="sides of the squares, in pixels")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each contestant (default: 3)")
    add_names(parser, "--contestants", CONTESTANTS)
    parser.add_argument("--model", default="coast", help="the bundle")
    parser.add_argument("--core", type=int, default=1024,
                        help="side of what the scripts label at once, in pixels (default: 1024)")  # fmt: skip
    return parser.parse_args()


def check_installed(contestants: Sequence[str]) -> None:
    """Exit with advice if a contestant needs a package that is not installed."""
    needs = {"dask": ("dask", "dask[array]"), "openvino": ("openvino", "terraseam[openvino]")}
    for word, (module, requirement) in needs.items():
        if any(word in name for name in contestants) and importlib.util.find_spec(module) is None:
            without = [name for name in contestants if word not in name]
            rest = f", or leave it out: --contestants {','.join(without)}" if without else ""
            sys.exit(f"{module} is not installed; install it with pip install '{requirement}'{rest}")


def run_names(arguments: argparse.Namespace) -> list[str]:
    """Return the names of all runs, in order: what is needed by others first, then round by round."""
    sizes = [int(size) for size in arguments.sizes.split(",")]
    engines = [engine for engine in ENGINES if any(engine in name for name in arguments.contestants)]
    names = ["network", *(f"reference-{engine}-{size}" for size in sizes for engine in engines)]
    for number in range(arguments.rounds):
        names.append(f"matrix-{number}")
        first = number % len(arguments.contestants)
        order = [*arguments.contestants[first:], *arguments.contestants[:first]]
        names += [f"{name}-{size}-{number}" for size in sizes for name in order]
    return names


@dataclass(frozen=True)
class Contest:
    """Measures the runs of a comparison by their names.

    Attributes:
        runs: The runs.
        model: The bundle.
        core: Side of what the scripts label at once, in pixels.
    """

    runs: Runs
    model: str
    core: int

    def measured(self, name: str) -> Result:
        """Return the result of a run."""
        kind, *rest = name.split("-")
        if kind == "network":
            return {"kind": kind, **network_facts(find_bundle(self.model), self._beside(name))}
        if kind == "matrix":
            return {"kind": kind, "one": rate_with(1), "all": rate_with(None), "machine": machine()}
        engine, size = rest[0], int(rest[1])
        found = {"kind": kind, "engine": engine, "size": size, "megapixels": size**2 / 1e6}
        with tempfile.TemporaryDirectory() as folder:
            raster = cut(data_folder() / "bluemarble" / "bluemarble_16384.tif", size, Path(folder))
            job = Job(raster, Path(folder), self.model, str(self.core), "2048")
            before = os.getloadavg()
            spent = spent_in(self._command(kind, engine, job))
            load = [before, os.getloadavg()]
            files = files_of(kind, job)
            if kind == "reference":
                self._keep(files, self._beside(name))
            reference = reference_files(self._beside(f"reference-{engine}-{size}"))
            return {**found, "contestant": f"{kind}-{engine}", "round": int(rest[-1]) if rest[2:] else None,
                    **costs(spent), **compared(files, reference), "load": load}  # fmt: skip

    def _beside(self, name: str) -> Path:
        """Return the folder of the files of a run that others need."""
        return self.runs.path(name).with_suffix("")

    def _keep(self, files: Files, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kept = reference_files(folder)
        shutil.copyfile(files.labels, kept.labels)
        shutil.copyfile(files.polygons, kept.polygons)

    def _command(self, kind: str, engine: str, job: Job) -> list[str]:
        """Return the Python command line of a contestant."""
        bundle = find_bundle(self.model)
        if kind in ("ours", "reference"):
            segment = ["segment", str(job.raster), "--model", self.model, "--output", str(job.output)]
            more = EXACT if kind == "reference" else ()
            work = str(job.folder / "work")
            return ["-m", "terraseam", *segment, "--work", work, "--engine", engine, *more]
        script, overlap = (
            ("overlapping.py", ["--depth", str(DEPTHS[kind])])
            if kind in DEPTHS
            else ("naive.py", ["--halo", ",".join(map(str, job.lattice().halo.sides))])
        )
        command = [str(HERE / script), str(job.raster), str(job.output), "--bundle", str(bundle)]
        if engine == "openvino":
            command += ["--openvino", str(converted(bundle, self._beside("network")))]
        return [*command, "--core", str(self.core), *overlap]


def converted(bundle: Path, folder: Path) -> Path:
    """Return the network for OpenVINO: the bundle's own, or else that of a folder."""
    own = bundle / NETWORK_FILE
    return own if own.exists() else folder / NETWORK_FILE


def network_facts(bundle: Path, folder: Path) -> Result:
    """Count the FLOPs of a network, and convert it into a folder if its bundle has no converted one."""
    from flops import flops_per_pixel

    from terraseam.models.bundle.archive import load_model
    from terraseam.models.engines.quiet import import_openvino, import_tensorflow

    tf = import_tensorflow()
    model = load_model(bundle)
    if importlib.util.find_spec("openvino") and not (bundle / NETWORK_FILE).exists():
        openvino = import_openvino()
        chips = tf.TensorSpec((1, None, None, model.input_shape[-1]), tf.float32, name="chips")
        call = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(chips)
        # Without names, tensors that nothing reads would become outputs, too.
        network = openvino.convert_model(call, output=[tensor.name for tensor in call.outputs])
        folder.mkdir(parents=True, exist_ok=True)
        openvino.save_model(network, str(folder / NETWORK_FILE), compress_to_fp16=False)
    return {"flops_per_pixel": flops_per_pixel(model)}


def files_of(kind: str, job: Job) -> Files:
    """Return the files that a contestant wrote."""
    own = kind in ("ours", "reference")
    folder = job.output / job.raster.stem if own else job.output
    return Files(folder / "labels.tif", folder / "polygons.geojson", WGS84 if own else None)


def reference_files(folder: Path) -> Files:
    """Return the files of a reference that is kept in a folder."""
    return Files(folder / "labels.tif", folder / "polygons.geojson", WGS84)


def costs(spent: Spent) -> Result:
    """Return what a run cost; the peak is that of its largest process."""
    return {
        "seconds": spent.seconds,
        "cpu_seconds": spent.cpu_seconds,
        "system_seconds": spent.system_seconds,
        "user_seconds": spent.cpu_seconds - spent.system_seconds,
        "peak_bytes": max(spent.peak_bytes, spent.child_peak_bytes),
    }


class Found:
    """Results of contestants, by name and size, and what they are compared with.

    Args:
        results: Results of all runs.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.runs = [one for one in results if one["kind"] in KINDS]
        self.references = [one for one in results if one["kind"] == "reference"]
        self.matrix = [one for one in results if one["kind"] == "matrix"]
        self.flops = next((one["flops_per_pixel"] for one in results if one["kind"] == "network"), None)
        self.sizes = sorted({one["size"] for one in self.runs})

    def contestants(self) -> list[str]:
        """Return the names of those that have a result, in the order of their declaration."""
        return [name for name in CONTESTANTS if any(one["contestant"] == name for one in self.runs)]

    def of(self, contestant: str, size: int) -> dict[int, Result]:
        """Return the results of a contestant on squares of one size, by round."""
        chosen = [one for one in self.runs if (one["contestant"], one["size"]) == (contestant, size)]
        return {one["round"]: one for one in chosen}

    def median(self, contestant: str, size: int, key: str) -> float | None:
        """Return the median of a figure over the rounds; None if there is none."""
        values = [one[key] for one in self.of(contestant, size).values()]
        return statistics.median(values) if values else None

    def ratio(self, other: str, ours: str, size: int, key: str) -> float | None:
        """Return the median of the ratios of two contestants' costs in the same round; None if there is none."""
        one, two = self.of(other, size), self.of(ours, size)
        ratios = [one[number][key] / two[number][key] for number in one.keys() & two.keys()]
        return statistics.median(ratios) if ratios else None

    def share(self, contestant: str, size: int, key: str, threads: str) -> float | None:
        """Return the network's rate as a share of that of matrix products.

        Args:
            contestant: Its name.
            size: Side of the square, in pixels.
            key: Seconds that the rate is calculated from.
            threads: ``one`` or ``all``: threads of the products.
        """
        seconds = self.median(contestant, size, key)
        if not (seconds and self.matrix and self.flops):
            return None
        return self.flops * size**2 / seconds / self.products(threads) / 1e9

    def products(self, threads: str) -> float:
        """Return the median rate of matrix products, in GFLOP/s, with ``one`` thread or ``all``."""
        return statistics.median(one[threads] for one in self.matrix)


def told(results: Sequence[Result]) -> str:
    """Return a line about the machine, and all tables."""
    found = Found(results)
    loads = [load_line(found.runs)] if found.runs else []
    tables = [
        computer(found),
        *(size_table(found, size) for size in found.sizes),
        further(found),
        goals(found),
    ]
    return "\n\n".join(text for text in [*tables, *loads] if text)


def computer(found: Found) -> str:
    """Return one line about the processor and the network."""
    if not found.matrix:
        return ""
    about = found.matrix[0]["machine"]
    name = about["processor"] if isinstance(about["processor"], str) else ", ".join(about["processor"])
    text = (
        f"{about['instructions']}, {name}, {about['cores']} cores; float32 matrix products: "
        f"{found.products('one'):.0f} GFLOP/s with one thread, {found.products('all'):.0f} with all"
    )
    return text if found.flops is None else f"{text}; the network: {found.flops / 1e3:.1f} GFLOP per Mpx"


def size_table(found: Found, size: int) -> str:
    """Return the costs of all contestants on squares of one size, and how many polygons come out right."""
    heads = (
        f"{size**2 / 1e6:.1f} Mpx", "engine", "rounds", "wall s", "CPU s", "user", "system", "peak",
        "times ours: wall", "CPU", "polygons", "right", "of these away from the edges", "labels that differ",
        "share of products: wall", "CPU ",
    )  # fmt: skip
    rows = [size_row(found, name, size) for name in found.contestants() if found.of(name, size)]
    return table(heads, rows)


def size_row(found: Found, name: str, size: int) -> Iterator[str]:
    """Yield the cells of a contestant."""
    kind, engine = name.split("-")
    last = list(found.of(name, size).values())[-1]
    yield from (kind, engine, str(len(found.of(name, size))))
    for key in ("seconds", "cpu_seconds", "user_seconds", "system_seconds"):
        yield f"{found.median(name, size, key):.1f}"
    yield f"{(found.median(name, size, 'peak_bytes') or 0) / 1e9:.2f} GB"
    for key in TIMES:
        yield formatted(found.ratio(name, f"ours-{engine}", size, key), "{:.2f} x") if kind != "ours" else ""
    yield from (f"{last['polygons']:,}", f"{last['right']:,} of {last['reference']:,}")
    yield f"{last['inner_right']:,} of {last['inner_reference']:,}"
    yield f"{last['differing_pixels']:,}"
    yield formatted(found.share(name, size, "seconds", "all"), "{:.1%}")
    yield formatted(found.share(name, size, "cpu_seconds", "one"), "{:.1%}")


def formatted(value: float | None, form: str) -> str:
    """Format a number; empty if there is none."""
    return "" if value is None else form.format(value)


def further(found: Found) -> str:
    """Return what every further Mpx costs, between the two largest sizes."""
    if len(found.sizes) < 2:
        return ""
    few, many = found.sizes[-2:]
    megapixels = (many**2 - few**2) / 1e6
    costs: dict[str, dict[str, float]] = {}
    for name in found.contestants():
        pairs = {key: (found.median(name, few, key), found.median(name, many, key)) for key in TIMES}
        if all(one is not None and other is not None for one, other in pairs.values()):
            costs[name] = {key: (other - one) / megapixels for key, (one, other) in pairs.items()}  # type: ignore[operator]
    rows = []
    for name, cost in costs.items():
        kind, engine = name.split("-")
        ours: dict[str, Any] = {} if kind == "ours" else costs.get(f"ours-{engine}", {})
        ratios = (
            f"{cost[key] / ours[key]:.2f} x" if min(ours.get(key, 0), cost[key]) > 0 else "" for key in TIMES
        )
        rows.append((kind, engine, *(f"{cost[key]:.3f}" for key in TIMES), *ratios))
    heads = (
        f"each Mpx from {few**2 / 1e6:.1f} to {many**2 / 1e6:.1f}", "engine", "wall s", "CPU s",
        "times ours: wall", "CPU",
    )  # fmt: skip
    return table(heads, rows) if rows else ""


def goals(found: Found) -> str:
    """Return the goals for which there are results."""
    rows = []
    for goal in GOALS:
        ratio = found.ratio(goal.other, goal.ours, goal.size, goal.key)
        if ratio is not None:
            what = f"{goal.other} / {goal.ours}, {TIMES[goal.key]}"
            reached = "reached" if ratio >= goal.least else "missed"
            rows.append(
                (f"{goal.size**2 / 1e6:.1f} Mpx", what, f"{goal.least:.1f} x", f"{ratio:.2f} x", reached)
            )
    return table(("raster", "ratio", "goal", "measured", ""), rows) if rows else ""


if __name__ == "__main__":
    main()
