"""Options of ``terraseam segment`` and ``terraseam plan``, and those that other commands share with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from terraseam.models.engines.choice import ENGINES, PRECISIONS
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
        "servers that files may name, such as a virtual raster its sources: https://host/*, gs://bucket/*; "
        "can be repeated",
        server,
        "PATTERN",
        group=INPUT,
        repeats="again",
        more="Servers beside those on the command line: `'https://tiles.example.org/*'`, `'gs://bucket/*'`, or a host "
        "alone. Without it, local files may name local files anywhere, files on a server or in a bucket only files of "
        "the same one, and descriptions of services (WMS, WMTS, TMS) are refused. These servers may redirect to public "
        "ones, and into a private network or to this machine only where a server named here is there. A CRS "
        "with a grid at an address (`+nadgrids=https://...`) is refused whatever is allowed here.",
    ),
]
"""Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`."""

Verify = Annotated[
    bool,
    Option(
        "read blocks as they are, even if the checksum in the file says that they are damaged",
        group=INPUT,
        name="no-verify",
        more="Without it, checksums that files carry (DEFLATE, PNG, some ZSTD and LZMA) are compared before pixels are "
        "read, and a damaged block is treated as one that cannot be read.",
    ),
]
"""Whether checksums of blocks are compared before pixels are read."""

CONFIG = Option(
    "job file with any of these options, and paths relative to it; command-line options override it",
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
            more="`labels.tif` stays as inferred.",
        ),
    ] = 0.0
    fill_holes: Annotated[
        float,
        Option(
            "fill holes of polygons that are smaller than this, in square metres",
            number(0),
            "M2",
            group=POLYGONS,
            more="What lies in them stays a polygon of its own class.",
        ),
    ] = 0.0
    min_score: Annotated[
        float,
        Option(
            "drop polygons whose score, the mean of their pixels, is below this (0 to 1)",
            share,
            "S",
            group=POLYGONS,
        ),
    ] = 0.0
    sieve: Annotated[
        float | None,
        Option(
            "dissolve regions smaller than this, in square metres, into the neighbour with the longest shared border",
            positive,
            "M2",
            group=POLYGONS,
            more="The smallest first; the polygons go on covering all that was measured. `labels.tif` stays as inferred.",
        ),
    ] = None
    simplify: Annotated[
        float | None,
        Option(
            "simplify borders with a tolerance of this many metres; neighbours go on sharing them",
            positive,
            "M",
            group=POLYGONS,
            more="Each border is simplified once for both of its sides, so there are no gaps or overlaps. Borders of "
            "nodata and of the raster stay.",
        ),
    ] = None
    regularize: Annotated[
        bool,
        Option(
            "give polygons right angles where their outlines support them, as those of most buildings do",
            group=POLYGONS,
            more="Polygons are drawn anew by few straight edges; slanted sides, wings at other angles and round shapes "
            "are left unchanged. Lines move by 3 pixels at most, no area changes by more than a tenth, nothing is moved "
            "over the end of the raster, and towards another region by half of what lies between and half a pixel, so "
            "that two overlap by a pixel at most (instances, which do not know each other, grow by half a pixel): "
            "`regularized` and `area_change` say what was done. With `--simplify`, what is not regularized is simplified.",
        ),
    ] = False
    formats: Annotated[
        tuple[str, ...],
        Option(
            f"formats of the polygons: {', '.join(FORMATS)}",
            formats,
            "a,b",
            group=POLYGONS,
            name="format",
            more=", ".join(f"`{name}`: {row.title}" for name, row in FORMATS.items())
            + ". The same features, ids and attributes in all; "
            + ", ".join(f"`{name}`" for name, row in FORMATS.items() if not row.lonlat)
            + " in the raster's CRS ([what readers should know](../README.md#formats)). Polygons of an earlier run in "
            "other formats are removed.",
        ),
    ] = ("geojson",)
    max_region: Annotated[
        int | None,
        Option(
            "cut regions along a lattice of this side, such as 8192: for regions that span a large raster",
            whole(1),
            "PX",
            group=POLYGONS,
            more="Where water or ground spans a large raster, one polygon would be too much for GIS and memory. Sheets do "
            "not matter here either.",
        ),
    ] = None
    connectivity: Annotated[
        int,
        Option(
            "8: regions that touch at a corner alone are one feature of several polygons",
            integer,
            group=POLYGONS,
            choices=(4, 8),
            more="A MultiPolygon; areas and scores are those of the whole. `--sieve` goes by regions all the same.",
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
            more="uint8, uint16, int16 or float32; any number of bands, any CRS, south-up or rotated too. Values are taken "
            "as they are: they must have the range that the network was trained with (0 to 255 for `coast`); the plan says "
            "so where they may not. See [buckets and servers](../README.md#buckets-and-servers).",
        ),
    ]
    models: Annotated[
        tuple[str, ...],
        Option(
            "folder of a bundle, or the name of a built-in one, such as coast; repeat to average the scores of several "
            "models (ensemble)",
            path_or_name,
            "BUNDLE",
            name="model",
            repeats="again",
            more="Built in are `coast`, `buildings` and `buildings-instances`. Models of an ensemble have the same classes "
            "and bands.",
        ),
    ]
    output: Annotated[str, Option("folder of the results", path_to_write, "DIR")]
    bands: Annotated[
        tuple[int, ...] | None,
        Option(
            "bands to read, numbered from 1",
            bands,
            "1,2,3",
            group=INPUT,
            default_help="all but alpha",
            more="Of a file that names the network's bands, by descriptions or colour interpretation, the default is these, "
            "in the network's order and with a note. A raster whose bands contradict the network's is refused without it.",
        ),
    ] = None
    aoi: Annotated[
        str | None,
        Option(
            "area of interest, polygons outside which nothing is done: pixels whose centre lies outside become nodata",
            path,
            "FILE",
            group=INPUT,
            more="In any vector format and CRS. Sheets outside are neither read nor inferred, inside nothing changes, and "
            "labels and polygons end at the pixels whose centre is inside. A raster that it misses has no results.",
        ),
    ] = None
    resample: Annotated[
        bool,
        Option(
            "read rasters of another ground sample distance (GSD) than the network was trained at on a grid of that GSD",
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
            more="Without it, a raster is refused whose GSD is more than a fifth off that of the network's training.",
        ),
    ] = False
    allow_sources: AllowSources = ()
    verify: Verify = True
    engine: Annotated[
        str | None,
        Option(
            "what runs the network",
            group=NETWORK,
            choices=ENGINES,
            default_help="tensorflow; onnx where a bundle holds a model.onnx",
            more="The others are extras, `pip install '.[openvino]'`; networks are converted once and stored.",
        ),
    ] = None
    precision: Annotated[
        str,
        Option(
            "type that the network computes in, the half ones for GPUs",
            group=NETWORK,
            choices=PRECISIONS,
        ),
    ] = PRECISIONS[0]
    batch_size: Annotated[
        int | None,
        Option(
            "tiles a call of the network, or auto",
            whole_or_auto(1),
            "N",
            group=NETWORK,
            default_help="auto",
            more="`auto` is 1 on a CPU, 4 on a GPU.",
        ),
    ] = None
    augment: Annotated[
        bool,
        Option(
            "test-time augmentation: average scores over the eight symmetries of each tile, 8 times the work",
            group=NETWORK,
            also=("tta",),
            more="As exact as without.",
        ),
    ] = False
    classes: Annotated[
        tuple[str, ...] | None,
        Option(
            "classes to make polygons of",
            names,
            "a,b",
            group=POLYGONS,
            default_help="all but the background",
        ),
    ] = None
    compress: Annotated[
        str,
        Option(
            "compression of labels.tif; everything reads deflate, zstd is smaller",
            group=LABEL_MAP,
            choices=COMPRESSIONS,
            more="`zstd` is a little smaller and quicker, but OpenLayers, Leaflet (geotiff.js 2) and OpenCV cannot read it.",
        ),
    ] = COMPRESSIONS[0]
    tile: Annotated[
        int | None,
        Option(
            "side of a tile's core, or auto",
            whole_or_auto(1),
            "PX",
            group=TILING,
            default_help=f"auto = {DEFAULT_TILE}",
            more="A multiple of 512 and of the network's stride; 512 takes less memory, 2048 computes fewer pixels twice.",
        ),
    ] = None
    halo: Annotated[
        int | None,
        Option(
            "overlap read around a core, or auto = the network's reach, its receptive field",
            whole_or_auto(0),
            "PX",
            group=TILING,
            default_help="auto",
            more="The reach is exact; where there is none, what the model card asks for is read, else 128.",
        ),
    ] = None
    sheet: Annotated[
        int,
        Option(
            "side of a sheet, the square that is the unit of work, storage and retry; changes no result",
            whole(1),
            "PX",
            group=TILING,
            more="It is rounded to whole cores.",
        ),
    ] = DEFAULT_SHEET
    stitch: Annotated[
        Literal["crop", "blend"] | None,
        Option(
            "keep each tile's core (exact), or average overlaps",
            group=TILING,
            choices=("crop", "blend"),
            default_help="crop where the reach is finite, else blend",
        ),
    ] = None
    on_error: Annotated[
        str,
        Option(
            "rasters and sheets that cannot be segmented: leave them out and say so, or end the run",
            group=RUN,
            choices=ON_ERROR,
            more="A raster that cannot be opened, is still arriving, has no CRS, or has other bands or another GSD than the "
            "network is left out and named, exit status 3; `fail` refuses the run before any work.",
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
            "processes on this machine, each with a network of its own; changes no result",
            whole(1),
            "N",
            group=RUN,
            default_help="1",
            local=True,
            more="All in one process by default. `terraseam plan` says what memory they take. Where one ends, or gives no "
            "sign of life for 60 s, the run ends with one sentence and exit status 1.",
        ),
    ] = None
    accelerator: Annotated[
        str | None,
        Option(
            "GPU of Dataflow's workers, or none",
            accelerator,
            "NAME",
            group=RUN,
            default_help=f"{DEFAULT_ACCELERATOR} for those of an image",
            more="Such as `nvidia-tesla-t4` or `nvidia-l4`; the default holds where TensorFlow runs the network.",
        ),
    ] = None
    force: Annotated[
        bool,
        Option(
            "compute every sheet, also those that the store has",
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
        """Side of a core, in pixels."""
        return self.tile or DEFAULT_TILE

    @property
    def sheet_cores(self) -> int:
        """Cores along one side of a sheet."""
        return max(1, round(self.sheet / self.core))

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
