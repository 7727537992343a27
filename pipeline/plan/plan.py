"""The plan: what would be done, how exact it is, and every reason why it cannot succeed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terraseam.models.bundle.card import Card
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.polygons import LabelledRaster, PolygonPlan
from terraseam.pipeline.plan.rasters import Place, RasterPlan
from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels.stitch import StitchMethod, stitch_ring

if TYPE_CHECKING:
    from terraseam.tiles.vectors.read import PolygonFile

WORK_DISK = 0.55
"""Bytes of disk for each pixel in the work folder while a run works; see benchmarks/README.md."""

LABELS_DISK = 0.15
"""Bytes of disk for each pixel that a label map takes with its draft."""

BASE_MEMORY = {"tensorflow": 1.3e9, "openvino": 0.5e9, "onnx": 0.5e9}
"""Bytes of memory that an engine, Beam and GDAL take before the first tile; see benchmarks/README.md."""

CALL_MEMORY = {"tensorflow": 1.0, "openvino": 1.0, "onnx": 1.4}
"""What a call takes on an engine, against the network's own memory; see benchmarks/README.md."""


@dataclass(frozen=True)
class Plan:
    """What a run will do; workers get it whole.

    Attributes:
        options: What the user asked for.
        bundles: Folders of the bundles, addresses, or names of shipped ones; scores of several are averaged.
        cards: Their cards.
        card: What holds for all of them together: the card of a single bundle that is not augmented.
        engine: What runs the networks.
        rasters: The rasters, in order.
        core: Side of a core, in pixels.
        halo: Context read around each core.
        sheet_cores: Cores along one side of a sheet.
        stitch: How tiles are put together.
        exact: Whether the label map equals inference on the whole mirrored raster.
        notes: What the user should know before the run, one sentence each.
        kept: Numbers of the rasters that need no work, as an earlier run did it, see `terraseam.pipeline.publish.unchanged`.
        aoi: Polygons outside which nothing is done; None for everywhere.
        obstacles: Why nothing can be written, one sentence each; they count where something is to be done.
        left_out: Rasters that cannot be used.
    """

    options: SegmentOptions
    bundles: tuple[str, ...]
    cards: tuple[Card, ...]
    card: Card
    engine: str
    rasters: tuple[RasterPlan, ...]
    core: int
    halo: Halo
    sheet_cores: int
    stitch: StitchMethod
    exact: bool
    notes: tuple[str, ...]
    kept: frozenset[int] = frozenset()
    aoi: PolygonFile | None = None
    obstacles: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def lattice(self, raster: int) -> Lattice:
        """The tiles of a raster."""
        georef = self.rasters[raster].georef
        return Lattice(georef.height, georef.width, self.core, self.halo, self.sheet_cores)

    def sheets(self, raster: int) -> Iterable[Place]:
        """The sheets of a raster that are worked on, row by row."""
        chosen = self.rasters[raster].sheets
        return self.lattice(raster).sheets() if chosen is None else chosen

    def pixels(self) -> int:
        """Pixels that are worked on, of all rasters."""
        return sum(self._amounts(raster)[0] for raster in range(len(self.rasters)))

    def open_rasters(self) -> list[int]:
        """Numbers of the rasters that need work."""
        return [number for number in range(len(self.rasters)) if number not in self.kept]

    def sheet_count(self) -> int:
        """Sheets that are worked on, of the rasters that need work."""
        return sum(self._amounts(raster)[1] for raster in self.open_rasters())

    def tile_count(self) -> int:
        """Tiles of all rasters."""
        return sum(self._amounts(raster)[2] for raster in range(len(self.rasters)))

    def _amounts(self, raster: int) -> tuple[int, int, int]:
        """Pixels, sheets and tiles of a raster that are worked on."""
        lattice, chosen = self.lattice(raster), self.rasters[raster].sheets
        if chosen is None:
            return lattice.raster.pixels, math.prod(lattice.sheet_shape), math.prod(lattice.shape)
        windows = [lattice.sheet_window(*sheet) for sheet in chosen]
        tiles = sum(-(-window.height // self.core) * -(-window.width // self.core) for window in windows)
        return sum(window.pixels for window in windows), len(chosen), tiles

    def chip_memory(self) -> int:
        """Memory that the network needs for one tile, in bytes."""
        return round(self.card.call_memory(math.prod(self.lattice(0).chip_shape)) * CALL_MEMORY[self.engine])

    def call_memory(self) -> int:
        """Memory that one call of the network needs, in bytes."""
        return self.chip_memory() * (self.options.batch_size or 1)

    def sheet_memory(self) -> int:
        """Memory for the pixels of one sheet and its label map, in bytes; four bytes a sample."""
        lattice = self.lattice(0)
        read, sheet = lattice.sheet_read_window(0, 0, stitch_ring(self.stitch)), lattice.sheet_window(0, 0)
        sums = 4 * len(self.card.classes) if self.stitch == "blend" else 0
        return read.pixels * 4 * len(self.card.bands) + sheet.pixels * (2 + sums)

    def memory(self, at_once: int) -> float:
        """Memory that a process needs with so many calls at once, in bytes."""
        return BASE_MEMORY[self.engine] + at_once * self.call_memory() + self.sheet_memory()

    def computed_share(self) -> float:
        """Pixels that the network computes for each pixel of the rasters."""
        height, width = self.lattice(0).chip_shape
        return self.tile_count() * height * width / self.pixels()

    def disk(self) -> int:
        """Disk that the run needs for the rasters that need work, in bytes."""
        return self.work_disk() + self.output_disk()

    def work_disk(self) -> int:
        """The part of it in the work folder: store, and what stages leave for each other."""
        return round(self._open_pixels() * WORK_DISK)

    def output_disk(self) -> int:
        """The part of it in the folder of the results."""
        per_pixel = LABELS_DISK + sum(FORMATS[name].disk for name in self.options.formats)
        return round(self._open_pixels() * per_pixel)

    def largest_share(self) -> tuple[RasterPlan, float]:
        """The raster that has the most pixels to work on, and its share of those of all rasters that need work."""
        pixels, number = max((self._amounts(raster)[0], raster) for raster in self.open_rasters())
        return self.rasters[number], pixels / self._open_pixels()

    def _open_pixels(self) -> int:
        return sum(self._amounts(raster)[0] for raster in self.open_rasters())

    def score_fields(self) -> dict[str, Any]:
        """What of bundles and options changes scores, for content keys."""
        return {"cards": [card.score_fields() for card in self.cards], "augment": self.options.augment}

    @functools.cached_property
    def polygons(self) -> PolygonPlan:
        """What the second half does; it is asked for with every sheet, and holds every raster."""
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
            of_things=self.card.task == "instances",
            anew=self.options.force,
            aoi=self.aoi,
        )

    def polygon_labels(self) -> tuple[int, ...]:
        """The labels that are made into polygons."""
        wanted = self.options.classes
        return tuple(
            label
            for label, info in enumerate(self.card.classes)
            if (info.name in wanted if wanted is not None else not info.background)
        )


def reach_of(card: Card) -> Halo | None:
    """The reach of a network as a halo; None where it sees the whole chip."""
    reach = card.reach
    return Halo(reach.top, reach.bottom, reach.left, reach.right) if reach else None


@dataclass(frozen=True)
class SheetForecast:
    """The sheets of a run, by what an earlier one has left of them.

    Attributes:
        known: Those of which nothing is read or inferred.
        changed: Those of rasters that were changed, or are to be segmented otherwise; they are read, and inferred
            where that changes anything.
        new: Those of rasters that were not there before.
    """

    known: int
    changed: int
    new: int
