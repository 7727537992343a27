"""The plan: what would be done, how exact it is, and every reason why it cannot succeed."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from models.card import Card, CardError, find_bundle
from pipeline.options import DEFAULT_TILE, SegmentOptions
from pipeline.rasters import expand, raster_ids
from tiles.cog import BLOCK
from tiles.georef import Georef
from tiles.inspect import RasterError, RasterInfo, inspect_raster, is_local
from tiles.lattice import Halo, Lattice
from tiles.stitch import StitchMethod

DISK_PER_PIXEL = 1.0
"""Bytes of disk for each pixel while a run works: store, drafts and results; see benchmarks/README.md."""

UNBOUNDED_HALO = 128
"""The halo of networks without finite reach, where none is given, in pixels."""


class PlanError(ValueError):
    """A run that cannot succeed.

    Attributes:
        reasons: Every reason, one sentence each.
    """

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("this run cannot succeed:\n" + "\n".join(f"- {reason}" for reason in reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class RasterPlan:
    """One raster of a run.

    Attributes:
        id: Names the folder of its results.
        path: What GDAL opens.
        georef: Shape, CRS and transform.
        bands: Bands to read, numbered from 1.
    """

    id: str
    path: str
    georef: Georef
    bands: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What a run will do; workers get it whole.

    Attributes:
        options: What the user asked for.
        bundle: Folder of the bundle.
        card: The bundle's card.
        rasters: The rasters, in order.
        core: Side of a core, in pixels.
        halo: Context read around each core.
        sheet_cores: Cores along one side of a sheet.
        stitch: How tiles are put together.
        exact: Whether the label map equals inference on the whole mirrored raster.
        notes: What the user should know before the run, one sentence each.
    """

    options: SegmentOptions
    bundle: str
    card: Card
    rasters: tuple[RasterPlan, ...]
    core: int
    halo: Halo
    sheet_cores: int
    stitch: StitchMethod
    exact: bool
    notes: tuple[str, ...]

    def lattice(self, raster: int) -> Lattice:
        """The tiles of a raster."""
        georef = self.rasters[raster].georef
        return Lattice(georef.height, georef.width, self.core, self.halo, self.sheet_cores)

    def pixels(self) -> int:
        """Pixels of all rasters."""
        return sum(raster.georef.height * raster.georef.width for raster in self.rasters)

    def sheet_count(self) -> int:
        """Sheets of all rasters."""
        return sum(
            rows * cols for rows, cols in (self.lattice(i).sheet_shape for i in range(len(self.rasters)))
        )

    def tile_count(self) -> int:
        """Tiles of all rasters."""
        return sum(rows * cols for rows, cols in (self.lattice(i).shape for i in range(len(self.rasters))))

    def chip_memory(self) -> int:
        """Memory that the network needs for one tile, in bytes."""
        height, width = self.lattice(0).chip_shape
        return height * width * self.card.memory_per_pixel

    def disk(self) -> int:
        """Disk that the run needs, in bytes."""
        return round(self.pixels() * DISK_PER_PIXEL)

    def polygon_labels(self) -> tuple[int, ...]:
        """The labels that are made into polygons."""
        wanted = self.options.classes
        return tuple(
            label
            for label, info in enumerate(self.card.classes)
            if (info.name in wanted if wanted is not None else not info.background)
        )


def make_plan(options: SegmentOptions) -> Plan:
    """Plan a run.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    paths, reasons = expand(options.rasters)
    infos = _inspect_all(paths, reasons)
    reasons += _folder_reasons(options)
    try:
        bundle = find_bundle(options.model)
        card = Card.read(bundle)
    except CardError as error:
        raise PlanError([*reasons, str(error)]) from error
    reasons += _class_reasons(options, card)
    reasons += _geometry_reasons(options, card)
    rasters = []
    for info, name in zip(infos, raster_ids([info.path for info in infos]), strict=True):
        bands = options.bands or info.colour_bands
        reasons += _raster_reasons(info, bands, card, options)
        rasters.append(RasterPlan(name, info.path, info.georef, bands))
    if reasons:
        raise PlanError(reasons)
    plan = _lay_out(options, str(bundle), card, tuple(rasters))
    disk = _disk_reasons(plan)
    if disk:
        raise PlanError(disk)
    return plan


def _inspect_all(paths: list[str], reasons: list[str]) -> list[RasterInfo]:
    infos = []
    for path in paths:
        try:
            infos.append(inspect_raster(path))
        except RasterError as error:
            reasons.append(str(error))
    return infos


def _lay_out(options: SegmentOptions, bundle: str, card: Card, rasters: tuple[RasterPlan, ...]) -> Plan:
    """Choose core, halo, sheet and stitching, and say what follows from them."""
    core = options.tile or DEFAULT_TILE
    sheet_cores = max(1, round(options.sheet / core))
    notes = []
    if sheet_cores * core != options.sheet:
        notes.append(
            f"--sheet {options.sheet} is rounded to {sheet_cores * core} px: whole tiles of {core} px"
        )
    reach = Halo(card.reach.top, card.reach.bottom, card.reach.left, card.reach.right) if card.reach else None
    asked = reach or Halo(*[UNBOUNDED_HALO] * 4)
    if options.halo is not None:
        asked = Halo(*[options.halo] * 4)
    halo = asked.rounded_up(card.stride)
    if options.halo is not None and halo != asked:
        notes.append(f"--halo {options.halo} is rounded up to {halo}: whole strides of {card.stride} px")
    stitch: StitchMethod = options.stitch or ("crop" if reach else "blend")
    exact = reach is not None and stitch == "crop" and halo.covers(reach)
    if reach is None:
        notes.append(
            f"{card.name} sees the whole chip (its reach is not finite): the result depends on --tile and --halo, "
            "though not on sheets, workers or order"
        )
    elif not exact:
        why = (
            f"the halo of {halo} is below the reach of {reach}"
            if not halo.covers(reach)
            else "blend averages tiles"
        )
        notes.append(
            f"warning: this run is not exact, because {why}: the result depends on --tile; "
            f"--halo auto --stitch crop is exact"
        )
    return Plan(options, bundle, card, rasters, core, halo, sheet_cores, stitch, exact, tuple(notes))


def _class_reasons(options: SegmentOptions, card: Card) -> list[str]:
    known = [info.name for info in card.classes]
    unknown = [name for name in options.classes or () if name not in known]
    return [f"{card.name} has no class {name}; it has {', '.join(known)}" for name in unknown]


def _geometry_reasons(options: SegmentOptions, card: Card) -> list[str]:
    core = options.tile or DEFAULT_TILE
    step = math.lcm(BLOCK, card.stride)
    if core % step == 0:
        return []
    below, above = core // step * step, -(-core // step) * step
    choice = f"{below} or {above}" if below else f"{above}"
    return [
        f"--tile {core} is not a multiple of {step} px (blocks of {BLOCK} px, and a stride of {card.stride} px "
        f"of {card.name}); pass --tile {choice}"
    ]


def _raster_reasons(
    info: RasterInfo, bands: tuple[int, ...], card: Card, options: SegmentOptions
) -> list[str]:
    absent = [band for band in bands if not 1 <= band <= info.bands]
    if absent:
        missing = ", ".join(map(str, absent))
        return [f"{info.path} has no band {missing}: its bands are 1 to {info.bands}"]
    reasons = []
    if len(bands) != len(card.bands):
        chosen = "were chosen" if options.bands else f"are in {info.path}"
        reasons.append(
            f"{card.name} wants {len(card.bands)} bands ({', '.join(card.bands)}); {len(bands)} {chosen}: {bands}; "
            f"pass --bands with {len(card.bands)} numbers"
        )
    try:
        gsd = info.georef.gsd()
    except ValueError as error:
        return [*reasons, f"{info.path} cannot be placed on the Earth: {error}"]
    if not options.any_gsd and not card.gsd_matches(gsd):
        trained = f"{card.gsd:g}" if isinstance(card.gsd, (int, float)) else f"{card.gsd[0]} to {card.gsd[1]}"
        reasons.append(
            f"{info.path} has a GSD of {gsd:.3g} m/px, but {card.name} {card.version} was trained at {trained} m/px; "
            "warp it to that GSD with gdalwarp -tr, or pass --any-gsd to take it as it is"
        )
    return reasons


def _folder_reasons(options: SegmentOptions) -> list[str]:
    reasons = []
    for option, folder in (("--output", options.output), ("--work", options.work_folder)):
        if not is_local(folder):
            continue
        nearest = _nearest_existing(Path(folder))
        if not nearest.is_dir():
            reasons.append(f"{option} {folder} cannot be a folder: {nearest} is a file")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            reasons.append(f"{option} {folder} cannot be written: no permission in {nearest}")
    return reasons[:1] if options.work is None else reasons


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _disk_reasons(plan: Plan) -> list[str]:
    if not is_local(plan.options.work_folder):
        return []
    nearest = _nearest_existing(Path(plan.options.work_folder))
    free = shutil.disk_usage(nearest).free
    if plan.disk() <= free:
        return []
    return [
        f"the run needs about {plan.disk() / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free at {nearest}; "
        "make room, or choose other disks with --output and --work"
    ]
