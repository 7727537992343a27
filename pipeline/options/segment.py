"""What the user asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments

if TYPE_CHECKING:
    from terraseam.tiles.labels.stitch import StitchMethod

DEFAULT_TILE = 1024
DEFAULT_SHEET = 2048
LONLAT = frozenset({"geojson", "geojsonl", "pmtiles"})
"""Formats of polygons that have the geometry of GeoJSON; the others have that of the raster's CRS."""
ON_ERROR = ("quarantine", "fail")
"""What may become of rasters and sheets that cannot be worked on."""
COMPRESSIONS = ("deflate", "zstd", "lzw")
"""How label maps may be compressed: everything that reads TIFF knows the first; the second is quicker and smaller."""
FORMATS = ("geojson", "geojsonl", "fgb", "gpkg", "parquet", "pmtiles")
"""Formats of polygons, which are the endings of their files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonOptions:
    """Which polygons are made of label maps, and how.

    Attributes:
        min_area: Smallest polygon, in square metres.
        fill_holes: Holes smaller than this are filled, in square metres.
        min_score: Polygons with a lower score are left out, 0 to 1.
        sieve: Regions smaller than this are dissolved into their neighbours, in square metres; None for none.
        simplify: How far a vertex may lie from the line that replaces it, in metres; None to keep all.
        regularize: Whether polygons get right angles where their outlines support them.
        formats: Formats of the polygons.
        max_region: Regions are cut along a lattice of this side, in pixels; None to leave them whole.
        connectivity: 4 where regions that touch at a corner alone are features of their own, 8 where they are one.
    """

    min_area: float = 0.0
    fill_holes: float = 0.0
    min_score: float = 0.0
    sieve: float | None = None
    simplify: float | None = None
    regularize: bool = False
    formats: tuple[str, ...] = ("geojson",)
    max_region: int | None = None
    connectivity: int = 4

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
    """Options of ``terraseam segment`` and ``terraseam plan``, beside those of polygons.

    Attributes:
        rasters: Paths, directories and globs, as given.
        models: Folders of bundles, or names of those that ship with Terraseam; scores of several are averaged.
        output: Folder of the results.
        bands: Bands to read, numbered from 1; None for all but alpha.
        sheet: Side of a sheet, in pixels; rounded to whole cores.
        tile: Side of a core, in pixels; None for `DEFAULT_TILE`.
        halo: Context on each side of a core, in pixels; None for the network's reach.
        stitch: How tiles are put together; None for crop where the reach is finite, else blend.
        batch_size: Tiles a call of the network; None for what suits the device.
        engine: What runs the network; None for what takes its file as it is.
        precision: Type that the network computes in.
        augment: Whether scores are averaged over the eight symmetries of each tile.
        classes: Names of the classes to make polygons of; None for all but the background.
        any_gsd: Whether rasters may have another GSD than the network was trained at.
        resample: Whether rasters of another GSD than the network's are read at the network's.
        aoi: File of polygons outside which nothing is done; None for everywhere.
        allow_sources: Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`.
        verify: Whether checksums of blocks are compared before pixels are read.
        compress: How label maps are compressed.
        on_error: What becomes of rasters and sheets that cannot be segmented: ``quarantine``, or ``fail`` to end the run.
        work: Folder of the prediction store; None for ``.work`` in `output`.
        prune: Whether results of rasters that are not among those given any more are removed.
        force: Whether sheets are computed even where the store has them.
        workers: Processes of a run on this machine; None for one, or as Beam's own options say.
        accelerator: Name of the accelerator that workers of a remote runner get, or ``none``; None for what suits.
        config: The job file that options were taken from; None where there was none.
        beam: Arguments for Apache Beam.
    """

    rasters: tuple[str, ...]
    models: tuple[str, ...]
    output: str
    bands: tuple[int, ...] | None = None
    sheet: int = DEFAULT_SHEET
    tile: int | None = None
    halo: int | None = None
    stitch: StitchMethod | None = None
    batch_size: int | None = None
    engine: str | None = None
    precision: str = "float32"
    augment: bool = False
    classes: tuple[str, ...] | None = None
    any_gsd: bool = False
    resample: bool = False
    aoi: str | None = None
    allow_sources: tuple[str, ...] = ()
    verify: bool = True
    compress: str = COMPRESSIONS[0]
    on_error: str = ON_ERROR[0]
    work: str | None = None
    prune: bool = False
    force: bool = False
    workers: int | None = None
    accelerator: str | None = None
    config: str | None = None
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
