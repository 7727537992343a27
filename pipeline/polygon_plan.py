"""How label maps become polygons: what the second half of the pipeline needs to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.options import PolygonOptions
from pipeline.units import count
from tiles.georef import Georef
from tiles.lattice import Halo, Lattice
from tiles.plane import near_px
from tiles.tolerance import Tolerance
from tiles.window import Window

if TYPE_CHECKING:
    from tiles.aoi import AreaOfInterest
    from tiles.truth.vectors import PolygonFile


@dataclass(frozen=True)
class LabelledRaster:
    """A raster whose label map is made into polygons.

    Attributes:
        id: Names the folder of its results.
        path: How the user knows it.
        georef: Shape, CRS and transform.
        sheets: The sheets that are worked on, row by row; None for all.
    """

    id: str
    path: str
    georef: Georef
    sheets: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class PolygonPlan:
    """What the second half of a run does; workers get it whole.

    Attributes:
        options: What the user asked for.
        rasters: The rasters, in order.
        class_names: Names of the labels 0, 1, 2, ...
        labels: The labels that become polygons.
        side: Side of a sheet, in pixels.
        output: Folder of the results.
        of_things: Whether features are the things of a detector, not regions of a label map.
        scored: Whether features have a score.
        aoi: Polygons outside which there are no labels; None for everywhere.
    """

    options: PolygonOptions
    rasters: tuple[LabelledRaster, ...]
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    side: int
    output: str
    of_things: bool = False
    scored: bool = True
    aoi: PolygonFile | None = None

    @property
    def in_parts(self) -> bool:
        """Whether a feature may be of several polygons."""
        return self.of_things or self.options.by_corners

    def lattice(self, raster: int) -> Lattice:
        """The sheets of a raster, as cores of their size."""
        georef = self.rasters[raster].georef
        return Lattice(georef.height, georef.width, self.side, Halo(0, 0, 0, 0), 1)

    def sheet_window(self, raster: int, row: int, col: int) -> Window:
        """The pixels of a sheet."""
        return self.lattice(raster).sheet_window(row, col)

    def sheets(self, raster: int) -> Iterable[tuple[int, int]]:
        """The sheets of a raster that are worked on, row by row."""
        chosen = self.rasters[raster].sheets
        return self.lattice(raster).sheets() if chosen is None else chosen

    def area(self, raster: int) -> AreaOfInterest | None:
        """The area of interest on a raster; None for everywhere."""
        if self.aoi is None:
            return None
        from pipeline.aoi import area_of

        return area_of(self.aoi, self.rasters[raster].georef)

    def outside(self, raster: int, window: Window) -> int:
        """How many pixels of a window lie outside the area of interest."""
        area = self.area(raster)
        return 0 if area is None else window.pixels - int(np.count_nonzero(area.mask(window)))

    def tolerance(self, raster: int) -> Tolerance | None:
        """How far the borders of a raster may be simplified; None where they are not."""
        metres = self.options.simplify
        return Tolerance(metres, self.rasters[raster].georef.ground_steps()) if metres is not None else None

    def near(self, raster: int) -> int:
        """How far around regions others are looked for, in columns or rows; 0 where they matter to nothing."""
        return near_px(self.rasters[raster].georef.ground_steps()) if self.options.regularize else 0

    def depth(self, raster: int) -> int:
        """How many pixels around a sheet are seen."""
        tolerance = self.tolerance(raster)
        return max(tolerance.reach if tolerance else 0, self.near(raster)) + 1


def polygon_reasons(plan: PolygonPlan) -> list[str]:
    """Cells for things, and a tolerance that is larger than a raster or than what a sheet sees of those beside it."""
    reasons = []
    options = plan.options
    for option, given in (
        ("--max-region", options.max_region is not None),
        ("--sieve", options.sieve is not None),
        ("--connectivity 8", options.by_corners),
    ):
        if plan.of_things and given:
            reasons.append(
                f"{option} is for regions of a label map, and a detector finds whole things; leave it out"
            )
    for number, raster in enumerate(plan.rasters):
        if not plan.in_parts and plan.near(number) >= plan.side:
            reasons.append(
                f"--regularize looks {count(plan.near(number), 'pixel')} around the regions of {raster.path}, more than "
                f"a sheet of {plan.side} px; pass a larger --sheet"
            )
        tolerance = plan.tolerance(number)
        if tolerance is None:
            continue
        smaller = min(raster.georef.height, raster.georef.width)
        said = f"--simplify {tolerance.metres:g} is {count(tolerance.pixels, 'pixel')} of {raster.path}"
        if tolerance.pixels >= smaller:
            reasons.append(
                f"{said}, which is {smaller} px on its smaller side: nothing would be left; pass a smaller one"
            )
        elif tolerance.reach >= plan.side:
            reasons.append(
                f"{said}, more than half a sheet of {plan.side} px; pass a smaller one, or a larger --sheet"
            )
    return reasons


def unknown_class_reasons(classes: Sequence[str] | None, known: Sequence[str], owner: str) -> list[str]:
    """Classes that were asked for and are not there."""
    unknown = [name for name in classes or () if name not in known]
    return [f"{owner} has no class {name}; it has {', '.join(known)}" for name in unknown]
