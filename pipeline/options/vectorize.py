"""Options of ``terraseam vectorize``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments
from terraseam.pipeline.declarations.option import Option
from terraseam.pipeline.declarations.values import label_names, names, path, path_to_write, whole
from terraseam.pipeline.options.segment import (
    DEFAULT_SHEET,
    INPUT,
    ON_ERROR,
    POLYGONS,
    RUN,
    AllowSources,
    Config,
    PolygonOptions,
    Verify,
)


@dataclass(frozen=True, slots=True)
class VectorizeOptions(PolygonOptions):
    """Options of ``terraseam vectorize``; each `Option` says what its field holds, and the unit.

    Attributes:
        class_names: Pairs of a label and its name; None for the names in the file.
        beam: Arguments for Apache Beam.
    """

    rasters: Annotated[
        tuple[str, ...],
        Option(
            "single-band integer raster, directory or glob",
            path,
            "LABELS",
            positional=True,
            repeats="words",
        ),
    ]
    output: Annotated[str, Option("output folder", path_to_write, "DIR")]
    class_names: Annotated[
        tuple[tuple[int, str], ...] | None,
        Option(
            "names of labels 0, 1, ..., or of any labels, as in 10=trees,20=shrubs; other labels are named by their number",
            label_names,
            "a,b",
            group=INPUT,
            default_help="names in the file",
        ),
    ] = None
    classes: Annotated[
        tuple[str, ...] | None,
        Option("classes to write as polygons", names, "a,b", group=POLYGONS, default_help="all"),
    ] = None
    aoi: Annotated[
        str | None,
        Option(
            "area of interest, as polygons; pixels whose centre lies outside become nodata",
            path,
            "FILE",
            group=INPUT,
        ),
    ] = None
    allow_sources: AllowSources = ()
    verify: Verify = True
    pixel_coordinates: Annotated[
        bool,
        Option(
            "write pixel columns and rows instead of coordinates on the Earth, as for rasters without a CRS; options in M "
            "and M2 are then in pixels",
            group=POLYGONS,
        ),
    ] = False
    sheet: Annotated[
        int,
        Option(
            "side of a sheet, the unit of work; never affects results",
            whole(1),
            "PX",
            group=RUN,
        ),
    ] = DEFAULT_SHEET
    on_error: Annotated[
        str,
        Option(
            "skip and report rasters that cannot be used, or stop the run",
            group=RUN,
            choices=ON_ERROR,
        ),
    ] = ON_ERROR[0]
    work: Annotated[
        str | None,
        Option(
            "folder for intermediate files",
            path_to_write,
            "DIR",
            group=RUN,
            default_help="OUTPUT/.work",
        ),
    ] = None
    config: Config = None
    beam: BeamArguments = NO_BEAM_ARGUMENTS

    @property
    def work_folder(self) -> str:
        """Where intermediate files are."""
        return self.work if self.work is not None else self.output.rstrip("/") + "/.work"
