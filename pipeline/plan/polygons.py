"""Hold the plan of the polygon stages, and check their options."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.options.segment import PolygonOptions
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.units import count
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_codes import NOTHING
from terraseam.tiles.raster.georef import Georef, OffEarthError
from terraseam.tiles.raster.ground import Ground, PixelPlane
from terraseam.tiles.regions.ground_plane import near_px
from terraseam.tiles.regions.tolerance import Tolerance

if TYPE_CHECKING:
    from terraseam.tiles.vectors.aoi import AreaOfInterest
    from terraseam.tiles.vectors.read import PolygonFile


@dataclass(frozen=True)
class LabelledRaster:
    """A raster whose label map is vectorized.

    Attributes:
        id: Name of its folder of results.
        path: Path or address, as the user gave it.
        ground: Its georeferencing, or a plane of pixels.
        sheets: The sheets to process, row by row; None for all.
        files: All files that are read for it; None if unknown.
    """

    id: str
    path: str
    ground: Ground
    sheets: tuple[tuple[int, int], ...] | None = None
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PolygonPlan:
    """The plan of the polygon stages; each worker gets all of it.

    Attributes:
        options: The options for polygons.
        rasters: The rasters, in order.
        class_names: Names of labels; a label without one is named by its number.
        labels: The labels that become polygons; None for all.
        side: Side of a sheet, in pixels.
        output: Output folder.
        of_instances: Whether features are instances of a detector rather than regions of a label map.
        scored: Whether features have a score.
        recompute: Whether to recompute results of earlier runs.
        aoi: Area of interest, outside which labels are dropped; None for everywhere.
    """

    options: PolygonOptions
    rasters: tuple[LabelledRaster, ...]
    class_names: Mapping[int, str]
    labels: tuple[int, ...] | None
    side: int
    output: str
    of_instances: bool = False
    scored: bool = True
    recompute: bool = False
    aoi: PolygonFile | None = None

    @property
    def in_parts(self) -> bool:
        """Whether a feature may have several polygons."""
        return self.of_instances or self.options.by_corners

    @contextlib.contextmanager
    def naming(self, raster: int) -> Iterator[None]:
        """Add the path of a raster to errors about valid pixels that lie off the Earth.

        Raises:
            OffEarthError: If the block raises one; the message then starts with the path.
        """
        try:
            yield
        except OffEarthError as error:
            raise OffEarthError(f"{self.rasters[raster].path}: {error}") from error

    def georef(self, raster: int) -> Georef | None:
        """Return the georeferencing of a raster; None if polygons are in pixel coordinates."""
        ground = self.rasters[raster].ground
        return ground if isinstance(ground, Georef) else None

    def lattice(self, raster: int) -> Lattice:
        """Return the sheets of a raster as a lattice with one core per sheet."""
        ground = self.rasters[raster].ground
        return Lattice(ground.height, ground.width, self.side, Halo(0, 0, 0, 0), 1)

    def sheet_window(self, raster: int, row: int, col: int) -> Window:
        """Return the window of a sheet."""
        return self.lattice(raster).sheet_window(row, col)

    def sheets(self, raster: int) -> Iterable[tuple[int, int]]:
        """Return the sheets of a raster to process, row by row."""
        chosen = self.rasters[raster].sheets
        return self.lattice(raster).sheets() if chosen is None else chosen

    def area(self, raster: int) -> AreaOfInterest | None:
        """Return the area of interest on a raster; None for everywhere.

        Raises:
            TypeError: If there is one, but polygons are in pixel coordinates.
        """
        if self.aoi is None:
            return None
        from terraseam.pipeline.plan.aoi import area_of

        ground = self.rasters[raster].ground
        if isinstance(ground, PixelPlane):
            raise TypeError(
                "an area of interest is in map coordinates, but this raster's polygons are in pixels"
            )
        return area_of(self.aoi, ground)

    def outside(self, raster: int, window: Window) -> int:
        """Return the number of pixels of a window outside the area of interest."""
        area = self.area(raster)
        return 0 if area is None else window.pixels - int(np.count_nonzero(area.mask(window)))

    def tolerance(self, raster: int) -> Tolerance | None:
        """Return the tolerance for simplifying borders in a raster; None if they are not simplified."""
        metres = self.options.simplify
        return Tolerance(metres, self.rasters[raster].ground.ground_steps()) if metres is not None else None

    def name_of(self, label: int) -> str:
        """Return the class name of a label."""
        return self.class_names.get(label, str(label))

    def is_selected(self, label: int) -> bool:
        """Return whether a label becomes polygons."""
        return self.labels is None or label in self.labels

    def selected(self, table: np.ndarray) -> np.ndarray:
        """Return which codes of a table become polygons, bool of shape ``(codes,)``."""
        known = table != NOTHING
        return known if self.labels is None else known & np.isin(table, self.labels)

    @property
    def in_pixels(self) -> bool:
        """Whether polygons, and the lengths and areas in options, are in pixels."""
        return any(isinstance(raster.ground, PixelPlane) for raster in self.rasters)

    def near(self, raster: int) -> int:
        """Return the distance within which regions affect each other, in rows or columns; 0 if they do not."""
        return near_px(self.rasters[raster].ground.ground_steps()) if self.options.regularize else 0

    def depth(self, raster: int) -> int:
        """Return the width of the neighbour context read around a sheet, in pixels."""
        tolerance = self.tolerance(raster)
        return max(tolerance.reach if tolerance else 0, self.near(raster)) + 1


@dataclass(frozen=True)
class VectorizePlan:
    """The plan of a vectorize run.

    Attributes:
        options: The options of the run.
        polygons: How label maps become polygons.
        notes: Notes for the user before the run, one sentence each.
        left_out: Rasters that cannot be used.
    """

    options: VectorizeOptions
    polygons: PolygonPlan
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def instance_reasons(options: PolygonOptions) -> list[str]:
    """Return the given options that do not apply to the instances of a detector."""
    chosen = (
        ("--max-region", options.max_region is not None),
        ("--sieve", options.sieve is not None),
        ("--connectivity 8", options.by_corners),
    )
    return [
        f"{option} is for regions of a label map, but a detector finds whole instances; leave it out"
        for option, is_set in chosen
        if is_set
    ]


def sight_reasons(options: PolygonOptions, rasters: Iterable[tuple[str, Ground]], side: int) -> list[str]:
    """Return a reason for each raster whose sheets are too small for the neighbours that ``--regularize`` needs."""
    reasons = []
    for path, ground in rasters if options.regularize else ():
        try:
            near = near_px(ground.ground_steps())
        except OffEarthError:
            continue
        if near >= side:
            reasons.append(
                f"--regularize needs {count(near, 'pixel')} around the regions of {path}, more than "
                f"a sheet of {side} px; pass a larger --sheet"
            )
    return reasons


def simplify_reasons(metres: float | None, rasters: Iterable[tuple[str, Ground]], side: int) -> list[str]:
    """Return why a tolerance exceeds every raster, or the context that a sheet sees of its neighbours.

    A tiny raster among larger ones is no reason: it is simplified like them, and never loses a region.

    Args:
        metres: The tolerance, in metres; None if nothing is simplified.
        rasters: Path and ground of each raster; those off the Earth are skipped, as they are reported elsewhere.
        side: Side of a sheet, in pixels.
    """
    larger, unseen, fitting = [], [], 0
    for path, ground in rasters if metres is not None else ():
        try:
            tolerance = Tolerance(metres or 0.0, ground.ground_steps())
        except OffEarthError:
            continue
        smaller = min(ground.height, ground.width)
        description = f"--simplify {metres:g} is {count(tolerance.pixels, 'pixel')} of {path}"
        if tolerance.pixels >= smaller:
            larger.append(
                f"{description}, which is {smaller} px on its shorter side: nothing would remain; use a smaller --simplify"
            )
        else:
            fitting += 1
        if tolerance.reach >= side and (
            tolerance.pixels < smaller or max(ground.height, ground.width) > side
        ):
            unseen.append(
                f"{description}, more than half a sheet of {side} px; use a smaller --simplify or a larger --sheet"
            )
    return unseen if fitting else larger


def unknown_class_reasons(classes: Sequence[str] | None, known: Sequence[str], owner: str) -> list[str]:
    """Return a reason for each requested class that `owner` does not have."""
    unknown = [name for name in classes or () if name not in known]
    return [f"{owner} has no class {name}; it has {', '.join(known)}" for name in unknown]
