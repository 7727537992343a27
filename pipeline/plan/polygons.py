"""How label maps become polygons: what the second half of the pipeline needs to know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terraseam.pipeline.options.segment import PolygonOptions
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
    """A raster whose label map is made into polygons.

    Attributes:
        id: Names the folder of its results.
        path: How the user knows it.
        ground: Where it lies, or its pixels alone.
        sheets: The sheets that are worked on, row by row; None for all.
        files: All files that are read for it; None where that is not known.
    """

    id: str
    path: str
    ground: Ground
    sheets: tuple[tuple[int, int], ...] | None = None
    files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PolygonPlan:
    """What the second half of a run does; workers get it whole.

    Attributes:
        options: What the user asked for.
        rasters: The rasters, in order.
        class_names: Names of labels; those without one are called by their number.
        labels: The labels that become polygons; None for all.
        side: Side of a sheet, in pixels.
        output: Folder of the results.
        of_things: Whether features are the things of a detector, not regions of a label map.
        scored: Whether features have a score.
        anew: Whether what was made before is made again.
        aoi: Polygons outside which there are no labels; None for everywhere.
    """

    options: PolygonOptions
    rasters: tuple[LabelledRaster, ...]
    class_names: Mapping[int, str]
    labels: tuple[int, ...] | None
    side: int
    output: str
    of_things: bool = False
    scored: bool = True
    anew: bool = False
    aoi: PolygonFile | None = None

    @property
    def in_parts(self) -> bool:
        """Whether a feature may be of several polygons."""
        return self.of_things or self.options.by_corners

    @contextlib.contextmanager
    def naming(self, raster: int) -> Iterator[None]:
        """Name a raster in what is said of measured pixels that are off the Earth."""
        try:
            yield
        except OffEarthError as error:
            raise OffEarthError(f"{self.rasters[raster].path}: {error}") from error

    def georef(self, raster: int) -> Georef | None:
        """Where a raster lies on the Earth; None where its pixels alone count."""
        ground = self.rasters[raster].ground
        return ground if isinstance(ground, Georef) else None

    def lattice(self, raster: int) -> Lattice:
        """The sheets of a raster, as cores of their size."""
        ground = self.rasters[raster].ground
        return Lattice(ground.height, ground.width, self.side, Halo(0, 0, 0, 0), 1)

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
        from terraseam.pipeline.plan.aoi import area_of

        ground = self.rasters[raster].ground
        if isinstance(ground, PixelPlane):
            raise TypeError("an area of interest is on the Earth, and this raster's polygons are in pixels")
        return area_of(self.aoi, ground)

    def outside(self, raster: int, window: Window) -> int:
        """How many pixels of a window lie outside the area of interest."""
        area = self.area(raster)
        return 0 if area is None else window.pixels - int(np.count_nonzero(area.mask(window)))

    def tolerance(self, raster: int) -> Tolerance | None:
        """How far the borders of a raster may be simplified; None where they are not."""
        metres = self.options.simplify
        return Tolerance(metres, self.rasters[raster].ground.ground_steps()) if metres is not None else None

    def name_of(self, label: int) -> str:
        """What a label is called."""
        return self.class_names.get(label, str(label))

    def is_selected(self, label: int) -> bool:
        """Whether a label becomes polygons."""
        return self.labels is None or label in self.labels

    def kept(self, table: np.ndarray) -> np.ndarray:
        """Which codes of a table become polygons: bool, shape ``(codes,)``."""
        known = table != NOTHING
        return known if self.labels is None else known & np.isin(table, self.labels)

    @property
    def in_pixels(self) -> bool:
        """Whether polygons are in pixels, and what options say of lengths and areas with them."""
        return any(isinstance(raster.ground, PixelPlane) for raster in self.rasters)

    def near(self, raster: int) -> int:
        """How far around regions others are looked for, in columns or rows; 0 where they matter to nothing."""
        return near_px(self.rasters[raster].ground.ground_steps()) if self.options.regularize else 0

    def depth(self, raster: int) -> int:
        """How many pixels around a sheet are seen."""
        tolerance = self.tolerance(raster)
        return max(tolerance.reach if tolerance else 0, self.near(raster)) + 1


def instance_reasons(options: PolygonOptions) -> list[str]:
    """Options that have no meaning for what a detector finds."""
    chosen = (
        ("--max-region", options.max_region is not None),
        ("--sieve", options.sieve is not None),
        ("--connectivity 8", options.by_corners),
    )
    return [
        f"{option} is for regions of a label map, and a detector finds whole things; leave it out"
        for option, given in chosen
        if given
    ]


def sight_reasons(options: PolygonOptions, rasters: Iterable[tuple[str, Ground]], side: int) -> list[str]:
    """Sheets that are too small to see what stands beside a building."""
    reasons = []
    for path, ground in rasters if options.regularize else ():
        try:
            near = near_px(ground.ground_steps())
        except OffEarthError:
            continue
        if near >= side:
            reasons.append(
                f"--regularize looks {count(near, 'pixel')} around the regions of {path}, more than "
                f"a sheet of {side} px; pass a larger --sheet"
            )
    return reasons


def simplify_reasons(metres: float | None, rasters: Iterable[tuple[str, Ground]], side: int) -> list[str]:
    """A tolerance that is larger than every raster, or than what a sheet sees of those beside it.

    A raster of a pixel or two among larger ones is simplified as they are: no region is ever lost.

    Args:
        metres: The tolerance; None where nothing is simplified.
        rasters: Path and ground of each raster. One that has no place on the Earth has a reason of its own.
        side: Side of a sheet, in pixels.
    """
    larger, unseen, fitting = [], [], 0
    for path, ground in rasters if metres is not None else ():
        try:
            tolerance = Tolerance(metres or 0.0, ground.ground_steps())
        except OffEarthError:
            continue
        smaller = min(ground.height, ground.width)
        said = f"--simplify {metres:g} is {count(tolerance.pixels, 'pixel')} of {path}"
        if tolerance.pixels >= smaller:
            larger.append(
                f"{said}, which is {smaller} px on its smaller side: nothing would be left; pass a smaller one"
            )
        else:
            fitting += 1
        if tolerance.reach >= side and (
            tolerance.pixels < smaller or max(ground.height, ground.width) > side
        ):
            unseen.append(
                f"{said}, more than half a sheet of {side} px; pass a smaller one, or a larger --sheet"
            )
    return unseen if fitting else larger


def unknown_class_reasons(classes: Sequence[str] | None, known: Sequence[str], owner: str) -> list[str]:
    """Classes that were asked for and are not there."""
    unknown = [name for name in classes or () if name not in known]
    return [f"{owner} has no class {name}; it has {', '.join(known)}" for name in unknown]
