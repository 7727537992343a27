"""Options of ``terraseam segment`` and ``terraseam plan``, and those that other commands share with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from terraseam.models.engines.choice import AUTO, ENGINES, PRECISIONS
from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments
from terraseam.pipeline.declarations.option import Option
from terraseam.pipeline.declarations.values import (
    accelerator,
    any_text,
    bands,
    formats,
    integer,
    names,
    number,
    path,
    path_or_name,
    path_to_write,
    positive,
    server,
    share,
    size,
    whole,
    whole_or_auto,
)
from terraseam.pipeline.machines import DEFAULT_ACCELERATOR
from terraseam.pipeline.polygon_formats import FORMATS

DEFAULT_TILE = 1024
DEFAULT_SHEET = 2048
ON_ERROR = ("quarantine", "fail")
"""What may become of rasters and sheets that cannot be worked on."""
COMPRESSIONS = ("deflate", "zstd", "lzw")
"""How label maps may be compressed: everything that reads TIFF knows the first; the second is quicker and smaller."""

INPUT, NETWORK, TILING, LABEL_MAP, POLYGONS, RUN = (
    "input",
    "network",
    "tiling",
    "label map",
    "polygons",
    "run",
)
"""Headings of options in `--help`."""

AllowSources = Annotated[
    tuple[str, ...],
    Option(
        "servers that input files may refer to, as virtual rasters do to sources: https://host/*, gs://bucket/*; "
        "can be repeated",
        server,
        "PATTERN",
        group=INPUT,
        repeats="again",
        more="These are in addition to the servers on the command line. A pattern is `'https://tiles.example.org/*'`, "
        "`'gs://bucket/*'`, or just a host. Without this option, local files may refer to any local file, files on a "
        "server or in a bucket only to files on the same server or in the same bucket, and service descriptions (WMS, "
        "WMTS, TMS) are refused. The servers named here may redirect to public servers; they may redirect to a private "
        "network or to this machine only if one of them is there. A CRS with a grid at a URL "
        "(`+nadgrids=https://...`) is always refused.",
    ),
]
"""Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`."""

Verify = Annotated[
    bool,
    Option(
        "read blocks without verifying the checksums in the file",
        group=INPUT,
        name="no-verify",
        more="By default, checksums in the file (DEFLATE, PNG, some ZSTD and LZMA) are verified before pixels are read, "
        "and a damaged block is treated as unreadable.",
    ),
]
"""Whether checksums of blocks are compared before pixels are read."""

CONFIG = Option(
    "job file with any of these options; its paths are relative to it, and command-line options override it",
    any_text,
    "FILE.toml",
    group=RUN,
    in_jobs=False,
)
Config = Annotated[str | None, CONFIG]
"""The job file that options were taken from; None where there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonOptions:
    """Which polygons are made of label maps, and how; each `Option` says what its field holds, and the unit."""

    min_area: Annotated[
        float,
        Option(
            "drop polygons smaller than this, in square metres",
            number(0),
            "M2",
            group=POLYGONS,
            more="`labels.tif` is not changed.",
        ),
    ] = 0.0
    fill_holes: Annotated[
        float,
        Option(
            "fill holes in polygons if smaller than this, in square metres",
            number(0),
            "M2",
            group=POLYGONS,
            more="Regions inside a filled hole are kept as polygons of their own class.",
        ),
    ] = 0.0
    min_score: Annotated[
        float,
        Option(
            "drop polygons whose score (mean over their pixels, 0 to 1) is below this",
            share,
            "S",
            group=POLYGONS,
        ),
    ] = 0.0
    sieve: Annotated[
        float | None,
        Option(
            "merge regions smaller than this, in square metres, into the neighbour with the longest shared border",
            positive,
            "M2",
            group=POLYGONS,
            more="The smallest regions go first; the polygons still cover every valid pixel. `labels.tif` is not changed.",
        ),
    ] = None
    simplify: Annotated[
        float | None,
        Option(
            "simplify borders with a tolerance of this many metres; neighbours still share their borders",
            positive,
            "M",
            group=POLYGONS,
            more="Each border is simplified once for both sides, so no gaps or overlaps appear. Borders with nodata and "
            "along the raster's edge are not simplified.",
        ),
    ] = None
    regularize: Annotated[
        bool,
        Option(
            "square up polygons where their outlines support right angles, as most buildings' do",
            group=POLYGONS,
            more="Polygons are redrawn with few straight edges; slanted sides, wings at other angles and round shapes are "
            "left unchanged. Outlines move by at most 3 pixels, areas change by at most a tenth, and nothing moves past "
            "the raster's edge. Towards another region, outlines move by at most half the gap plus half a pixel, so two "
            "polygons overlap by at most one pixel; instances, which are regularized independently, grow by at most half "
            "a pixel. The attributes `regularized` and `area_change` record the outcome. With `--simplify`, polygons that "
            "are not regularized are simplified.",
        ),
    ] = False
    formats: Annotated[
        tuple[str, ...],
        Option(
            f"polygon formats: {', '.join(FORMATS)}",
            formats,
            "a,b",
            group=POLYGONS,
            name="format",
            more=", ".join(f"`{name}`: {row.title}" for name, row in FORMATS.items())
            + ". All have the same features, ids and attributes; "
            + ", ".join(f"`{name}`" for name, row in FORMATS.items() if not row.lonlat)
            + " are in the raster's CRS ([notes on each format](../README.md#formats)). Polygons that an earlier run "
            "wrote in other formats are deleted.",
        ),
    ] = ("geojson",)
    max_region: Annotated[
        int | None,
        Option(
            "cut regions along a grid of this cell size, such as 8192; for regions that span a large raster",
            whole(1),
            "PX",
            group=POLYGONS,
            more="If water or ground spans a large raster, a single polygon would be too large for GIS software and for "
            "memory. The cuts do not depend on sheets.",
        ),
    ] = None
    connectivity: Annotated[
        int,
        Option(
            "8: regions that touch only at corners form one multipart feature",
            integer,
            group=POLYGONS,
            choices=(4, 8),
            more="It is a MultiPolygon; its area and score are those of all parts together. `--sieve` still treats the "
            "regions separately.",
        ),
    ] = 4

    @property
    def by_corners(self) -> bool:
        """Whether regions that touch at a corner alone are one feature."""
        return self.connectivity == 8

    @property
    def polygons(self) -> PolygonOptions:
        """These options alone, of whatever else there is."""
        return PolygonOptions(**{field.name: getattr(self, field.name) for field in fields(PolygonOptions)})


@dataclass(frozen=True, slots=True)
class SegmentOptions(PolygonOptions):
    """Options of ``terraseam segment`` and ``terraseam plan``; each `Option` says what its field holds, and the unit.

    Attributes:
        beam: Arguments for Apache Beam.
    """

    rasters: Annotated[
        tuple[str, ...],
        Option(
            "georeferenced raster, directory or glob; also gs://, s3://, https://",
            path,
            "RASTER",
            positional=True,
            repeats="words",
            more="uint8, uint16, int16 or float32; any number of bands, any CRS, including south-up and rotated rasters. "
            "Pixel values are not stretched: they must be in the range that the network was trained on (0 to 255 for "
            "`coast`); the plan says so if they may not be. See "
            "[buckets and servers](../README.md#buckets-and-servers).",
        ),
    ]
    models: Annotated[
        tuple[str, ...],
        Option(
            "bundle folder, or name of a built-in bundle such as coast; repeat to average the scores of several models "
            "(ensemble)",
            path_or_name,
            "BUNDLE",
            name="model",
            repeats="again",
            more="Built-in bundles: `coast`, `buildings` and `buildings-instances`. Models of an ensemble must have the "
            "same classes and bands.",
        ),
    ]
    output: Annotated[str, Option("output folder", path_to_write, "DIR")]
    bands: Annotated[
        tuple[int, ...] | None,
        Option(
            "bands to read, numbered from 1",
            bands,
            "1,2,3",
            group=INPUT,
            default_help="all but alpha",
            more="If a file names the network's bands, by band descriptions or colour interpretation, these are the "
            "default, in the network's order, and a note is printed. Without this option, a raster whose bands contradict "
            "the network's is refused.",
        ),
    ] = None
    aoi: Annotated[
        str | None,
        Option(
            "area of interest, as polygons; pixels whose centre lies outside become nodata",
            path,
            "FILE",
            group=INPUT,
            more="Any vector format and CRS. Sheets outside are neither read nor inferred. Results inside are unaffected, "
            "and labels and polygons end at the last pixels whose centre is inside. A raster entirely outside has no "
            "results.",
        ),
    ] = None
    resample: Annotated[
        bool,
        Option(
            "resample rasters to the ground sample distance (GSD) that the network was trained at",
            group=INPUT,
            excludes="gsd",
        ),
    ] = False
    any_gsd: Annotated[
        bool,
        Option(
            "accept rasters of any ground sample distance",
            group=INPUT,
            excludes="gsd",
            more="By default, a raster is refused if its GSD differs by more than a fifth from the one that the network "
            "was trained at.",
        ),
    ] = False
    allow_sources: AllowSources = ()
    verify: Verify = True
    engine: Annotated[
        str,
        Option(
            "inference engine",
            group=NETWORK,
            choices=(AUTO, *ENGINES),
            more="`auto` is OpenVINO on a CPU, if it is installed (`pip install '.[openvino]'`) and the bundle holds the "
            "network converted and with the same labels; ONNX Runtime if the bundle contains a model.onnx; and TensorFlow "
            "for detectors, on GPUs, on other machines and for all other bundles. A work folder keeps the engine that it "
            "was begun with.",
        ),
    ] = AUTO
    precision: Annotated[
        str,
        Option(
            "data type for inference; the 16-bit types are for GPUs",
            group=NETWORK,
            choices=PRECISIONS,
        ),
    ] = PRECISIONS[0]
    batch_size: Annotated[
        int | None,
        Option(
            "tiles per inference call, or auto",
            whole_or_auto(1),
            "N",
            group=NETWORK,
            default_help="auto",
            more="`auto` is 1 on a CPU and 4 on a GPU.",
        ),
    ] = None
    augment: Annotated[
        bool,
        Option(
            "test-time augmentation: average scores over the eight flips and rotations of each tile, at 8 times the cost",
            group=NETWORK,
            also=("tta",),
            more="Results are as exact as without it.",
        ),
    ] = False
    classes: Annotated[
        tuple[str, ...] | None,
        Option(
            "classes to write as polygons",
            names,
            "a,b",
            group=POLYGONS,
            default_help="all but the background",
        ),
    ] = None
    compress: Annotated[
        str,
        Option(
            "compression of labels.tif; deflate is readable everywhere, zstd is smaller",
            group=LABEL_MAP,
            choices=COMPRESSIONS,
            more="`zstd` is slightly smaller and faster, but OpenLayers, Leaflet (geotiff.js 2) and OpenCV cannot read it.",
        ),
    ] = COMPRESSIONS[0]
    tile: Annotated[
        int | None,
        Option(
            "side of a tile's core, or auto",
            whole_or_auto(1),
            "PX",
            group=TILING,
            default_help="auto",
            more="A multiple of 512 and of the network's stride. 512 takes less memory; 2048 computes fewer pixels twice. "
            "`auto` is 2048 with sheets of 4096 px if the result is exact and memory suffices, otherwise 1024 with sheets "
            "of 2048 px. A work folder keeps the tiling that it was begun with.",
        ),
    ] = None
    halo: Annotated[
        int | None,
        Option(
            "overlap read around a core, or auto = the network's reach (receptive field)",
            whole_or_auto(0),
            "PX",
            group=TILING,
            default_help="auto",
            more="With the reach, results are exact. If the reach is not finite, auto is the halo in the model card, "
            "else 128.",
        ),
    ] = None
    sheet: Annotated[
        int | None,
        Option(
            "side of a sheet, the unit of work, storage and retry, or auto; never affects results",
            whole_or_auto(1),
            "PX",
            group=TILING,
            default_help="auto",
            more=f"Rounded to whole cores. `auto` is {DEFAULT_SHEET}, or 4096 if `--tile auto` takes 2048.",
        ),
    ] = None
    stitch: Annotated[
        Literal["crop", "blend"] | None,
        Option(
            "keep each tile's core (exact), or average overlaps",
            group=TILING,
            choices=("crop", "blend"),
            default_help="crop if the reach is finite, else blend",
        ),
    ] = None
    on_error: Annotated[
        str,
        Option(
            "skip and report rasters and sheets that cannot be segmented, or stop the run",
            group=RUN,
            choices=ON_ERROR,
            more="A raster that cannot be opened, is still being copied, has no CRS, or whose bands or GSD do not match "
            "the network is skipped and named, with exit status 3; `fail` refuses the run before any work.",
        ),
    ] = ON_ERROR[0]
    work: Annotated[
        str | None,
        Option(
            "folder of the prediction store",
            path_to_write,
            "DIR",
            group=RUN,
            default_help="OUTPUT/.work",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            "processes on this machine, each with its own copy of the network; never affects results",
            whole(1),
            "N",
            group=RUN,
            default_help="1",
            local=True,
            more="By default, everything runs in one process. `terraseam plan` shows how much memory they take. If a "
            "process exits or sends no heartbeat for 60 s, the run stops with a one-sentence error and exit status 1.",
        ),
    ] = None
    memory: Annotated[
        int | None,
        Option(
            "most memory that a run on this machine may take, such as 8GB",
            size,
            "SIZE",
            group=RUN,
            default_help="half of the machine's or container's for tiles in progress",
            local=True,
            more="It limits the number of concurrent calls of the network and the tiles of `--tile auto`; a run that needs "
            "more is refused. Results are the same.",
        ),
    ] = None
    accelerator: Annotated[
        str | None,
        Option(
            "GPU type of Dataflow workers, or none",
            accelerator,
            "NAME",
            group=RUN,
            default_help=f"{DEFAULT_ACCELERATOR} with a container image, else none",
            more="For example `nvidia-tesla-t4` or `nvidia-l4`. The default applies if TensorFlow runs the network.",
        ),
    ] = None
    force: Annotated[
        bool,
        Option(
            "recompute every sheet, including those in the prediction store",
            group=RUN,
            deletes=True,
        ),
    ] = False
    prune: Annotated[
        bool,
        Option(
            "delete results of rasters no longer in the input list",
            group=RUN,
            deletes=True,
        ),
    ] = False
    config: Config = None
    beam: BeamArguments = NO_BEAM_ARGUMENTS

    @property
    def core(self) -> int:
        """Side of a core, in pixels; the smallest that is chosen for the user."""
        return self.tile or DEFAULT_TILE

    @property
    def sheet_cores(self) -> int:
        """Cores along one side of a sheet."""
        return max(1, round((self.sheet or DEFAULT_SHEET) / self.core))

    @property
    def tiles_itself(self) -> bool:
        """Whether the sides of cores and sheets are chosen for the user."""
        return self.tile is None and self.sheet is None

    @property
    def runs_here(self) -> bool:
        """Whether Beam is asked to run on this machine."""
        return self.beam.is_direct

    @property
    def processes(self) -> int:
        """Processes of a run on this machine that call the network, each with one of its own."""
        return self.beam.processes if self.workers is None else self.workers

    @property
    def work_folder(self) -> str:
        """Where the prediction store lives."""
        return self.work if self.work is not None else self.output.rstrip("/") + "/.work"
