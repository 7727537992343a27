"""Hold the plan of a segmentation: what a run will do, how exact it is, and what it needs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import ConvertedNetwork
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.polygons import LabelledRaster, PolygonPlan
from terraseam.pipeline.plan.rasters import Place, RasterPlan
from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage.choices import Choices
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels.stitch import StitchMethod, stitch_ring

if TYPE_CHECKING:
    from terraseam.tiles.raster.georef import Georef
    from terraseam.tiles.vectors.read import PolygonFile

WORK_DISK = 0.55
"""Disk per pixel in the work folder during a run, in bytes; see benchmarks/README.md."""

LABELS_DISK = 0.15
"""Disk per pixel of a label map and its draft, in bytes."""

BASE_MEMORY = {"tensorflow": 1.3e9, "openvino": 0.5e9, "onnx": 0.5e9}
"""Memory of an engine, Beam and GDAL before the first tile, in bytes; see benchmarks/README.md."""

CALL_MEMORY = {"tensorflow": 1.0, "openvino": 1.0, "onnx": 1.4}
"""Memory of a call on an engine, as a multiple of the card's estimate; see benchmarks/README.md."""


@dataclass(frozen=True)
class Plan:
    """The plan of a segmentation; each worker gets all of it.

    Attributes:
        options: The options of the run.
        bundles: Folders, addresses or built-in names of the bundles; scores of several are averaged.
        cards: Their cards.
        card: The combined card of all networks and augmentation; for a single bundle without it, that bundle's own.
        engine: The engine that runs the networks.
        engine_why: Why it runs them, as a phrase; empty if it was requested.
        rasters: The rasters, in order.
        core: Side of a core, in pixels.
        halo: Context read around each core.
        sheet_cores: Cores along one side of a sheet.
        stitch: How tiles are stitched.
        exact: Whether the label map equals inference on the whole mirrored raster.
        kept: Choices with which the work folder was begun for these networks; None if it is new for them.
        cut: Step at which tiles at the end of a raster are cut, see `Lattice`; None if they are not.
        notes: Notes for the user before the run, one sentence each.
        unchanged: Indices of rasters that are up to date from an earlier run, see `terraseam.pipeline.publish.unchanged`.
        aoi: Area of interest; None for everywhere.
        obstacles: Why nothing can be written, one sentence each; they matter only if there is anything to do.
        left_out: Rasters that cannot be used.
    """

    options: SegmentOptions
    bundles: tuple[str, ...]
    cards: tuple[Card, ...]
    card: Card
    engine: str
    engine_why: str
    rasters: tuple[RasterPlan, ...]
    core: int
    halo: Halo
    sheet_cores: int
    stitch: StitchMethod
    exact: bool
    notes: tuple[str, ...]
    cut: int | None = None
    kept: Choices | None = None
    unchanged: frozenset[int] = frozenset()
    aoi: PolygonFile | None = None
    obstacles: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def choices(self) -> Choices:
        """Return what later runs in the work folder keep."""
        return self.kept or Choices(self.engine, self.core, self.sheet_cores, cuts=True)

    def converted(self) -> tuple[ConvertedNetwork | None, ...]:
        """Return the networks as their bundles hold them converted for OpenVINO; None for those that do not."""
        return tuple(card.openvino for card in self.cards)

    def lattice(self, raster: int) -> Lattice:
        """Return the lattice of tiles and sheets of a raster."""
        return self.lattice_of(self.rasters[raster].georef)

    def lattice_of(self, georef: Georef) -> Lattice:
        """Return the lattice of tiles and sheets on the grid of a raster."""
        return Lattice(georef.height, georef.width, self.core, self.halo, self.sheet_cores, self.cut)

    def sheets(self, raster: int) -> Iterable[Place]:
        """Return the sheets of a raster to process, row by row."""
        chosen = self.rasters[raster].sheets
        return self.lattice(raster).sheets() if chosen is None else chosen

    def pixels(self) -> int:
        """Return the number of pixels to process in all rasters."""
        return sum(self._amounts(raster)[0] for raster in range(len(self.rasters)))

    def open_rasters(self) -> list[int]:
        """Return the indices of the rasters that need processing."""
        return [number for number in range(len(self.rasters)) if number not in self.unchanged]

    def sheet_count(self) -> int:
        """Return the number of sheets to process in rasters that are not up to date."""
        return sum(self._amounts(raster)[1] for raster in self.open_rasters())

    def tile_count(self) -> int:
        """Return the number of tiles to process in all rasters."""
        return sum(self._amounts(raster)[2] for raster in range(len(self.rasters)))

    def _amounts(self, raster: int) -> tuple[int, int, int]:
        """Return the number of pixels, sheets and tiles of a raster to process."""
        lattice, chosen = self.lattice(raster), self.rasters[raster].sheets
        if chosen is None:
            return lattice.raster.pixels, math.prod(lattice.sheet_shape), math.prod(lattice.shape)
        windows = [lattice.sheet_window(*sheet) for sheet in chosen]
        tiles = sum(-(-window.height // self.core) * -(-window.width // self.core) for window in windows)
        return sum(window.pixels for window in windows), len(chosen), tiles

    def chip_memory(self) -> int:
        """Return the memory that the network needs for one tile, in bytes."""
        return round(self.card.call_memory(self._chip_pixels) * CALL_MEMORY[self.engine])

    @functools.cached_property
    def _chip_pixels(self) -> int:
        """Number of pixels of the largest chip; cached, as it is needed for every sheet."""
        return max(
            self.lattice(number).read_window(*tile).pixels
            for number, raster in enumerate(self.rasters)
            for tile in self._first_tiles(raster)
        )

    def _first_tiles(self, raster: RasterPlan) -> Iterable[Place]:
        """Return the first tile of each sheet to process: no tile of the sheet is larger; one if they are all."""
        if raster.sheets is None:
            return [(0, 0)]
        return ((row * self.sheet_cores, col * self.sheet_cores) for row, col in raster.sheets)

    def call_memory(self) -> int:
        """Return the memory that one call of the network needs, in bytes."""
        return self.chip_memory() * (self.options.batch_size or 1)

    def sheet_memory(self) -> int:
        """Return the memory for the pixels of the largest sheet and its label map, in bytes; four bytes per sample."""
        return self._sheet_memory

    @functools.cached_property
    def _sheet_memory(self) -> int:
        ring = stitch_ring(self.stitch)
        return max(
            self._memory_of(lattice.sheet_read_window(0, 0, ring).pixels, lattice.sheet_window(0, 0).pixels)
            for lattice in map(self.lattice, range(len(self.rasters)))
        )

    def full_sheet_memory(self) -> int:
        """Return the same for a sheet that no edge of a raster cuts off, whether or not there is one."""
        return self._memory_of(self.full_sheet_pixels(), (self.sheet_cores * self.core) ** 2)

    def full_sheet_pixels(self) -> int:
        """Return the number of pixels in the read window of such a sheet."""
        side = (self.sheet_cores + 2 * stitch_ring(self.stitch)) * self.core
        halo = self.halo
        return (side + halo.top + halo.bottom) * (side + halo.left + halo.right)

    def _memory_of(self, read_pixels: int, pixels: int) -> int:
        """Return the memory of a sheet by the pixels in its read window, and by its own, in bytes."""
        sums = 4 * len(self.card.classes) if self.stitch == "blend" else 0
        return read_pixels * 4 * len(self.card.bands) + pixels * (2 + sums)

    def memory(self, at_once: int) -> float:
        """Return the memory that a process needs with `at_once` concurrent calls, in bytes."""
        return BASE_MEMORY[self.engine] + at_once * self.call_memory() + self.sheet_memory()

    def computed_share(self) -> float:
        """Return the number of pixels the network computes per raster pixel."""
        computed = sum(self._computed_pixels(raster) for raster in range(len(self.rasters)))
        return computed / self.pixels()

    def _computed_pixels(self, raster: int) -> int:
        """Return the number of pixels that the network computes for a raster."""
        lattice, chosen = self.lattice(raster), self.rasters[raster].sheets
        if chosen is None:
            return lattice.computed_pixels
        return sum(lattice.sheet_computed_pixels(*sheet) for sheet in chosen)

    def disk(self) -> int:
        """Return the disk space for the rasters that need processing, in bytes."""
        return self.work_disk() + self.output_disk()

    def work_disk(self) -> int:
        """Return the part of `disk` in the work folder: prediction store and intermediate files, in bytes."""
        return round(self._open_pixels() * WORK_DISK)

    def output_disk(self) -> int:
        """Return the part of `disk` in the output folder, in bytes."""
        per_pixel = LABELS_DISK + sum(FORMATS[name].disk for name in self.options.formats)
        return round(self._open_pixels() * per_pixel)

    def largest_share(self) -> tuple[RasterPlan, float]:
        """Return the raster with the most pixels to process, and its share of all pixels to process."""
        pixels, number = max((self._amounts(raster)[0], raster) for raster in self.open_rasters())
        return self.rasters[number], pixels / self._open_pixels()

    def _open_pixels(self) -> int:
        return sum(self._amounts(raster)[0] for raster in self.open_rasters())

    @functools.cached_property
    def score_fields(self) -> Mapping[str, Any]:
        """Everything in bundles and options that affects scores, for content keys."""
        return score_fields(self.cards, self.options.augment)

    @functools.cached_property
    def polygons(self) -> PolygonPlan:
        """Plan of the polygon stages; cached, as it lists every raster and is needed for every sheet."""
        return PolygonPlan(
            options=self.options.polygons,
            rasters=tuple(
                LabelledRaster(raster.id, raster.path, raster.georef, raster.sheets)
                for raster in self.rasters
            ),
            class_names=dict(enumerate(info.name for info in self.card.classes)),
            labels=self.polygon_labels(),
            side=self.lattice(0).sheet_side,
            output=self.options.output,
            of_instances=self.card.task == "instances",
            recompute=self.options.force,
            aoi=self.aoi,
        )

    def polygon_labels(self) -> tuple[int, ...]:
        """Return the labels that become polygons."""
        selected = self.options.classes
        return tuple(
            label
            for label, info in enumerate(self.card.classes)
            if (info.name in selected if selected is not None else not info.background)
        )


def score_fields(cards: Iterable[Card], augment: bool) -> dict[str, Any]:
    """Return everything in bundles and options that affects scores."""
    return {"cards": [card.score_fields() for card in cards], "augment": augment}


def reach_of(card: Card) -> Halo | None:
    """Return the reach of a network as a halo; None if it sees the whole chip."""
    reach = card.reach
    return Halo(reach.top, reach.bottom, reach.left, reach.right) if reach else None


@dataclass(frozen=True)
class SheetForecast:
    """The number of sheets of a run, by what an earlier run has stored.

    Attributes:
        known: Sheets that need neither reading nor inference.
        changed: Sheets of rasters whose pixels or settings changed; they are read, and inferred if their content key
            changed.
        new: Sheets of rasters that no earlier run had.
    """

    known: int
    changed: int
    new: int
