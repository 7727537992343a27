"""What ``terraseam vectorize`` was asked."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments
from terraseam.pipeline.options.segment import DEFAULT_SHEET, ON_ERROR, PolygonOptions


@dataclass(frozen=True, slots=True)
class VectorizeOptions(PolygonOptions):
    """The arguments of ``terraseam vectorize``, beside those of polygons.

    Attributes:
        rasters: Paths, directories and globs of label rasters, as given.
        output: Folder of the results.
        class_names: Labels and their names; None for those in the file. Other labels are called by their number.
        classes: Names of the classes to make polygons of; None for all.
        aoi: File of polygons outside which there are no polygons; None for everywhere.
        allow_sources: Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`.
        verify: Whether checksums of blocks are compared before pixels are read.
        pixel_coordinates: Whether polygons are in pixels, wherever the rasters lie.
        sheet: Side of a sheet, in pixels.
        on_error: What becomes of rasters that cannot be used: ``quarantine``, or ``fail`` to end the run.
        work: Folder of intermediate files; None for ``.work`` in `output`.
        config: The job file that options were taken from; None where there was none.
        beam: Arguments for Apache Beam.
    """

    rasters: tuple[str, ...]
    output: str
    class_names: tuple[tuple[int, str], ...] | None = None
    classes: tuple[str, ...] | None = None
    aoi: str | None = None
    allow_sources: tuple[str, ...] = ()
    verify: bool = True
    pixel_coordinates: bool = False
    sheet: int = DEFAULT_SHEET
    on_error: str = ON_ERROR[0]
    work: str | None = None
    config: str | None = None
    beam: BeamArguments = NO_BEAM_ARGUMENTS

    @property
    def work_folder(self) -> str:
        """Where intermediate files are."""
        return self.work if self.work is not None else self.output.rstrip("/") + "/.work"
