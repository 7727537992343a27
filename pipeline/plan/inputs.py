"""Select the rasters of a run, the grid each is read on, and the sheets to process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from terraseam.models.bundle.card import Card
from terraseam.pipeline.inputs.expand import names_in, raster_ids
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.inputs.remote_rasters import hidden_notes, inspect_all
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.band_reasons import band_reasons, number_reason, order_notes
from terraseam.pipeline.plan.rasters import RasterPlan
from terraseam.pipeline.plan.reasons import gsd_reasons
from terraseam.pipeline.plan.resampling import regrid_of, regrid_reasons, resample_notes
from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.raster.band_order import order_bands
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterInfo, inspect_raster

if TYPE_CHECKING:
    from terraseam.tiles.vectors.aoi import AreaOfInterest
    from terraseam.tiles.vectors.read import PolygonFile


@dataclass
class PlannedRasters:
    """The rasters selected for a run.

    Attributes:
        rasters: The rasters, in order, without those that the area of interest misses.
        infos: Metadata of each raster, in the same order.
        aoi: The area of interest; None for everywhere.
        areas: That area on each raster; empty if there is none.
        reasons: Why the run cannot succeed, one sentence each.
        notes: Notes for the user, one sentence each.
        left_out: Rasters that cannot be used.
    """

    rasters: list[RasterPlan] = field(default_factory=list)
    infos: list[RasterInfo] = field(default_factory=list)
    aoi: PolygonFile | None = None
    areas: list[AreaOfInterest] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def with_sheets(self, lattice: Callable[[Georef], Lattice], *, in_parts: bool) -> tuple[RasterPlan, ...]:
        """Return the rasters with the sheets to process.

        Args:
            lattice: Returns the tiles of a raster on a grid.
            in_parts: Whether instances are merged across tiles; then sheets whose read windows meet the area count.
        """
        if self.aoi is None:
            return tuple(self.rasters)
        from terraseam.tiles.vectors.aoi import sheets_in, sheets_that_see

        chosen = sheets_that_see if in_parts else sheets_in
        return tuple(
            replace(raster, sheets=tuple(chosen(area, lattice(raster.georef))), area=area.digest())
            for raster, area in zip(self.rasters, self.areas, strict=True)
        )


def inspect_rasters(paths: Sequence[str]) -> tuple[list[RasterInfo], list[LeftOut]]:
    """Read the metadata of rasters; return it, and the rasters that cannot be segmented."""
    return inspect_all(paths, inspect_raster)


def plan_inputs(
    named: Sequence[str],
    infos: Sequence[RasterInfo],
    broken: Sequence[LeftOut],
    cards: Sequence[Card],
    options: SegmentOptions,
) -> PlannedRasters:
    """Choose the grid of each raster; leave out rasters outside the area of interest and unusable ones.

    Args:
        named: Paths of all input rasters, so that no id depends on whether another raster is usable.
        infos: Metadata of the rasters that can be opened.
        broken: The other rasters.
        cards: Cards of the networks.
        options: The options of the run.
    """
    inputs = PlannedRasters()
    if options.resample and options.any_gsd:
        inputs.reasons.append(
            "--resample reads rasters at the network's GSD, and --any-gsd at their own; leave one out"
        )
    if options.bands is not None and len(options.bands) != len(cards[0].bands):
        inputs.reasons.append(number_reason(options.bands, cards[0]))
    ids = dict(zip(named, raster_ids(named, taken=names_in(options.output, options.work)), strict=True))
    inputs.left_out += [replace(entry, id=ids[entry.path]) for entry in broken]
    planned = [_raster(ids[info.path], info, cards, options) for info in infos]
    inside = [True] * len(planned) if options.aoi is None else _within(options.aoi, planned, inputs)
    areas = iter(inputs.areas)
    inputs.areas = []
    for info, raster, is_inside in zip(infos, planned, inside, strict=True):
        area = next(areas, None) if is_inside else None
        reasons = _reasons(info, raster, cards, options) if is_inside else []
        if reasons:
            inputs.left_out.append(LeftOut(info.path, tuple(reasons), info.georef, raster.id))
        elif is_inside:
            inputs.rasters.append(raster)
            inputs.infos.append(info)
            inputs.areas += [area] if area is not None else []
    if options.bands is None:
        inputs.notes += order_notes(inputs.infos, cards[0])
    inputs.notes += hidden_notes(inputs.infos)
    if options.resample and inputs.rasters and not inputs.reasons:
        inputs.notes += resample_notes([(raster.path, raster.regrid) for raster in inputs.rasters])
    return inputs


def _raster(name: str, info: RasterInfo, cards: Sequence[Card], options: SegmentOptions) -> RasterPlan:
    bands = options.bands or order_bands(info.band_descriptions, cards[0].bands).bands
    try:
        regrid = regrid_of(info, cards) if options.resample else None
    except ValueError:  # reported by `_reasons`
        regrid = None
    georef = regrid.new if regrid else info.georef
    return RasterPlan(name, info.path, georef, bands, regrid, files=info.files)


def _within(path: str, planned: Sequence[RasterPlan], planned_rasters: PlannedRasters) -> list[bool]:
    """Return for each raster whether the area of interest meets it; True for all if it cannot be read."""
    from terraseam.pipeline.plan.aoi import areas_on, read_aoi

    planned_rasters.aoi = read_aoi(path, planned_rasters.reasons, planned_rasters.notes)
    if planned_rasters.aoi is None or not planned:
        return [True] * len(planned)
    grids = [(raster.path, raster.georef) for raster in planned]
    areas = areas_on(planned_rasters.aoi, grids, planned_rasters.reasons, planned_rasters.notes)
    planned_rasters.areas = [area for area in areas if area is not None]
    return [area is not None for area in areas]


def _reasons(
    info: RasterInfo, raster: RasterPlan, cards: Sequence[Card], options: SegmentOptions
) -> list[str]:
    reasons = band_reasons(info, raster.bands, cards, options.bands)
    try:
        gsd = raster.georef.gsd()
    except ValueError as error:
        return [*reasons, f"{info.path} cannot be placed on the Earth: {error}"]
    if raster.regrid is not None:
        reasons += regrid_reasons(info.path, raster.regrid)
    return reasons if options.any_gsd else reasons + gsd_reasons(info.path, gsd, cards, options.resample)
