"""Merge the detections of single tiles into instances, and derive their polygons and the label map.

Neighbouring sheets compare the views (detections) of their tiles; the links of a raster connect the views of one
instance; each instance is resolved in the sheet of its first view; instances of which another one covers most pixels
are suppressed; every sheet is painted from the instances on it. Masks stay in the store and in files; only links,
overlaps and records are shuffled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, product
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.rasters import Place
from terraseam.pipeline.segment.prediction_store import decode_labels, encode, prediction_store
from terraseam.pipeline.segment.sheets import Sheet, SheetRecord
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.vectorize.clipped_labels import clipped, clipped_instance, off_earth
from terraseam.pipeline.vectorize.feature_files import FeatureRecord, feature_options
from terraseam.pipeline.vectorize.label_counts import LabelCounts
from terraseam.pipeline.vectorize.stage import VectorRecord
from terraseam.pipeline.vectorize.stored_labels import by_raster
from terraseam.pipeline.vectorize.trace_cache import (
    CachedParts,
    InstanceFeatures,
    ResolvedPatches,
    TraceCache,
    make_features,
)
from terraseam.tiles.features.instance_features import instance_features
from terraseam.tiles.instances.instances import Ref, SheetInstances, TileInstance
from terraseam.tiles.instances.links import later_neighbours, link_sheet
from terraseam.tiles.instances.paint import Patch, paint, patches
from terraseam.tiles.instances.resolve import ResolvedInstance, gather_views, resolve_instance
from terraseam.tiles.instances.suppress import overlaps, suppress
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.stage_files import (
    pack_links,
    pack_overlaps,
    pack_patches,
    unpack_links,
    unpack_overlaps,
    unpack_patches,
)
from terraseam.tiles.vectors.aoi import tiles_that_see


@dataclass(frozen=True)
class SheetNeighbourhood:
    """A sheet, and the sheets whose views are compared with its own.

    Attributes:
        sheet: Raster, row and column of the sheet.
        keys: Content key of each sheet, including this one, by row and column.
    """

    sheet: Sheet
    keys: dict[Place, str]


@dataclass(frozen=True)
class SheetGroups:
    """The instances that one sheet resolves, each a group of views.

    Attributes:
        sheet: Raster, row and column of the sheet.
        groups: The views of each instance, in this and other sheets, whose first view is in this sheet.
        elsewhere: Views in this sheet that other sheets resolve.
        keys: Content key of each sheet that has one of the views, and of this one.
    """

    sheet: Sheet
    groups: tuple[tuple[Ref, ...], ...]
    elsewhere: frozenset[Ref]
    keys: dict[Place, str]


def join_instances(
    segmented: beam.PCollection, plan: Plan, folder: RunFolder
) -> tuple[beam.PCollection, beam.PCollection]:
    """Merge detections of tiles: `SheetRecord` -> (raster, `VectorRecord`), and (raster, `FeatureRecord`)."""
    grouped = (
        by_raster(segmented)
        | "Neighbourhoods" >> beam.FlatMap(neighbourhoods, plan)
        | "SpreadNeighbourhoods" >> beam.Reshuffle()
        | "Link" >> beam.ParDo(LinkSheets(plan, folder))
        | "LinksOfRaster" >> beam.GroupByKey()
        | "GatherViews" >> beam.FlatMap(group_views, plan)
        | "SpreadGroups" >> beam.Reshuffle()
    )
    shown = grouped | "Resolve" >> beam.ParDo(ResolveSheets(plan, folder))
    left_out = (
        shown
        | "PatchesOfSheet" >> beam.GroupByKey()
        | "Overlap" >> beam.ParDo(OverlapSheets(folder))
        | "OverlapsOfRaster" >> beam.GroupByKey()
        | "Suppress" >> beam.FlatMap(suppressed, plan)
    )
    features = (
        {
            "groups": grouped
            | "KeyOfGroups" >> beam.Map(lambda sheet_groups: (sheet_groups.sheet, sheet_groups)),
            "left_out": left_out,
        }
        | "InstancesOfSheet" >> beam.CoGroupByKey()
        | "Describe" >> beam.ParDo(DescribeInstances(plan, folder))
    )
    sheets = segmented | "KeyOfSheet" >> beam.Map(
        lambda record: ((record.raster, record.row, record.col), record)
    )
    painted = (
        {"record": sheets, "patches": shown, "left_out": left_out}
        | "LayersOfSheet" >> beam.CoGroupByKey()
        | "Paint" >> beam.ParDo(PaintSheets(plan, folder))
    )
    return painted, features


def neighbourhoods(element: tuple[int, Iterable[SheetRecord]], plan: Plan) -> Iterator[SheetNeighbourhood]:
    """Yield, for each sheet of a raster, the sheets of later tiles whose views may overlap those of its own tiles."""
    raster, records = element
    keys = {(record.row, record.col): record.key for record in records}
    lattice = plan.lattice(raster)
    for row, col in sorted(keys):
        near = {(row, col)}
        for tile in lattice.sheet_tiles(row, col):
            near.update(lattice.sheet_of(other) for other in later_neighbours(lattice, tile))
        worked_on = sorted(place for place in near if place in keys)
        yield SheetNeighbourhood((raster, row, col), {place: keys[place] for place in worked_on})


class StoredInstances:
    """The detections of tiles in the prediction store; with an area of interest, only of tiles that see part of it.

    So the instances depend on the area and on tiles, and not on the sheets in which they are processed.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._store = prediction_store(plan)
        self._seeing = lru_cache(1)(self._tiles)

    def load(self, raster: int, key: str) -> SheetInstances:
        """Load the detections of a sheet's tiles."""
        stored = self._store.load(key, SheetInstances)
        seeing = self._seeing(raster)
        if seeing is None:
            return stored
        return replace(
            stored, instances=tuple(instance for instance in stored.instances if instance.ref.tile in seeing)
        )

    def _tiles(self, raster: int) -> frozenset[tuple[int, int]] | None:
        area = self._plan.polygons.area(raster)
        return None if area is None else frozenset(tiles_that_see(area, self._plan.lattice(raster)))


class LinkSheets(beam.DoFn):
    """A DoFn that links views of tiles: `SheetNeighbourhood` -> raster -> (row, col, key, file of links)."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "link_ms")

    def setup(self) -> None:
        """Open the prediction store."""
        self._store = StoredInstances(self._plan)

    def process(self, element: SheetNeighbourhood) -> Iterator[tuple[int, tuple[int, int, str, str | None]]]:
        """Link one sheet."""
        start = time.perf_counter()
        raster, row, col = element.sheet
        lattice = self._plan.lattice(raster)
        by_tile: dict[tuple[int, int], list[TileInstance]] = {}
        for key in element.keys.values():
            by_tile.update(self._store.load(raster, key).by_tile())
        links = link_sheet(lattice.sheet_tiles(row, col), by_tile, lattice)
        path = self._folder.links(raster, row, col) if links else None
        if path:
            files.write_bytes(path, pack_links(links))
        yield raster, (row, col, element.keys[row, col], path)
        self._timer.update(round((time.perf_counter() - start) * 1000))


def group_views(
    element: tuple[int, Iterable[tuple[int, int, str, str | None]]], plan: Plan
) -> Iterator[SheetGroups]:
    """Group the views of each instance, and yield the groups that each sheet resolves."""
    raster, linked = element
    records = sorted(linked)
    keys = {(row, col): key for row, col, key, _ in records}
    links = [link for *_, path in records if path for link in unpack_links(files.read_bytes(path))]
    sheet_of = plan.lattice(raster).sheet_of
    groups: dict[Place, list[tuple[Ref, ...]]] = {}
    elsewhere: dict[Place, set[Ref]] = {}
    for group in gather_views(links):
        home = sheet_of(group[0].tile)
        groups.setdefault(home, []).append(group)
        for ref in group:
            if sheet_of(ref.tile) != home:
                elsewhere.setdefault(sheet_of(ref.tile), set()).add(ref)
    for place in keys:
        own = tuple(groups.get(place, ()))
        needed = sorted({place, *(sheet_of(ref.tile) for group in own for ref in group)})
        away = frozenset(elsewhere.get(place, ()))
        yield SheetGroups((raster, *place), own, away, {near: keys[near] for near in needed})


class InstanceResolver:
    """A resolver of instances, and of the keys of results derived from them."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._store = StoredInstances(plan)
        self.trace_cache = TraceCache(folder.trace_cache, plan.polygons)

    def resolve(self, element: SheetGroups) -> list[ResolvedInstance]:
        """Resolve the instances of a sheet, in the order of their views."""
        raster, row, col = element.sheet
        lattice = self._plan.lattice(raster)
        stored = {place: self._store.load(raster, key) for place, key in element.keys.items()}
        views = {view.ref: view for sheet in stored.values() for view in sheet.instances}
        grouped = {ref for group in element.groups for ref in group} | element.elsewhere
        alone = [(view.ref,) for view in stored[row, col].instances if view.ref not in grouped]
        return [
            resolve_instance([views[ref] for ref in group], lattice)
            for group in sorted([*element.groups, *alone])
        ]

    def key(self, element: SheetGroups, *parts: object) -> str:
        """Compute a cache key from the groups of a sheet, their detections, the area of interest and other parts."""
        raster, *place = element.sheet
        area = self._plan.rasters[raster].area
        inputs = (element.groups, sorted(element.elsewhere), sorted(element.keys.items()), area)
        return self.trace_cache.key(raster, place, [repr((inputs, parts)).encode()])


class ResolveSheets(beam.DoFn):
    """A DoFn that resolves instances: `SheetGroups` -> sheet -> file of patches of the instances of one sheet."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "settle_ms")

    def setup(self) -> None:
        """Open the prediction store and the trace cache."""
        self._resolver = InstanceResolver(self._plan, self._folder)

    def process(self, element: SheetGroups) -> Iterator[tuple[Sheet, str]]:
        """Resolve the instances of one sheet, unless they are cached."""
        start = time.perf_counter()
        raster, row, col = element.sheet
        key = self._resolver.key(element, "patches")
        resolved = self._resolver.trace_cache.get(key, ResolvedPatches)
        if resolved is None:
            resolved = ResolvedPatches(self._patches(raster, self._resolver.resolve(element)))
            self._resolver.trace_cache.put(key, resolved)
        for place, pieces in resolved.patches.items():
            path = self._folder.patches(raster, row, col, place)
            files.write_bytes(path, pack_patches(pieces))
            yield (raster, *place), path
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _patches(self, raster: int, instances: list[ResolvedInstance]) -> dict[Place, list[Patch]]:
        side = self._plan.lattice(raster).sheet_side
        shown: dict[Place, list[Patch]] = {}
        for instance in instances:
            for place, patch in patches(instance, side):
                shown.setdefault(place, []).append(patch)
        return shown


class OverlapSheets(beam.DoFn):
    """A DoFn that compares instances pixel by pixel: (sheet, files of patches) -> (raster, file of overlaps)."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "overlap_ms")

    def process(self, element: tuple[Sheet, Iterable[str]]) -> Iterator[tuple[int, str]]:
        """Compare the instances on one sheet."""
        start = time.perf_counter()
        sheet, paths = element
        pairs = overlaps(_patches_in(paths))
        if pairs:
            path = self._folder.overlaps(*sheet)
            files.write_bytes(path, pack_overlaps(pairs))
            yield sheet[0], path
        self._timer.update(round((time.perf_counter() - start) * 1000))


def _patches_in(paths: Iterable[str]) -> list[Patch]:
    return [patch for path in paths for patch in unpack_patches(files.read_bytes(path))]


def suppressed(element: tuple[int, Iterable[str]], plan: Plan) -> Iterator[tuple[Sheet, Ref]]:
    """Yield the instances of a raster that duplicate others, for each sheet that they touch or that resolves them."""
    raster, paths = element
    lattice = plan.lattice(raster)
    side = lattice.sheet_side
    for duplicate in suppress(
        [overlap for path in sorted(paths) for overlap in unpack_overlaps(files.read_bytes(path))]
    ):
        rows = range(duplicate.bounds.row_off // side, (duplicate.bounds.row_end - 1) // side + 1)
        cols = range(duplicate.bounds.col_off // side, (duplicate.bounds.col_end - 1) // side + 1)
        for place in sorted({*product(rows, cols), lattice.sheet_of(duplicate.ref.tile)}):
            yield (raster, *place), duplicate.ref


class DescribeInstances(beam.DoFn):
    """A DoFn from instances to features: (sheet, groups and suppressed) -> (raster, `FeatureRecord`)."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "describe_ms")

    def setup(self) -> None:
        """Open the prediction store and the trace cache."""
        self._resolver = InstanceResolver(self._plan, self._folder)

    def process(
        self, element: tuple[Sheet, Mapping[str, Iterable[Any]]]
    ) -> Iterator[tuple[int, FeatureRecord]]:
        """Write the features of the instances that one sheet resolves, from the cache if possible."""
        start = time.perf_counter()
        (raster, row, col), parts = element
        sheet_of = self._plan.lattice(raster).sheet_of
        left_out = {ref for ref in parts["left_out"] if sheet_of(ref.tile) == (row, col)}
        for sheet_groups in parts["groups"]:  # none if suppressed instances only extend into the sheet
            key = self._resolver.key(sheet_groups, "features", sorted(left_out))
            described = self._resolver.trace_cache.get(key, InstanceFeatures)
            if described is None:
                instances = [
                    instance
                    for instance in self._resolver.resolve(sheet_groups)
                    if instance.ref not in left_out
                ]
                described = InstanceFeatures(self._features(raster, instances))
                self._resolver.trace_cache.put(key, described)
            for first_row, row_features in described.features.items():
                record = row_features.at(self._folder.instance_features(raster, row, col, first_row))
                if record is not None:
                    yield raster, record
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _features(self, raster: int, instances: list[ResolvedInstance]) -> dict[int, CachedParts]:
        lattice, georef = self._plan.lattice(raster), self._plan.rasters[raster].georef
        scope = set(self._plan.polygon_labels())
        polygons = self._plan.polygons
        chosen = [
            left
            for instance in instances
            if instance.label in scope and (left := clipped_instance(instance, polygons, raster)) is not None
        ]
        options, tolerance = feature_options(polygons, raster), polygons.tolerance(raster)
        with polygons.naming(raster):
            features = instance_features(chosen, lattice, georef, options, tolerance)
        rows = groupby(features, key=lambda feature: feature.first[0] // lattice.sheet_side)
        return {first_row: make_features(first_row, list(group), georef) for first_row, group in rows}


class PaintSheets(beam.DoFn):
    """A DoFn that paints sheets: (sheet, record, files of patches and suppressed) -> (raster, `VectorRecord`)."""

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._timer = Metrics.distribution("terraseam", "paint_ms")

    def setup(self) -> None:
        """Open the prediction store."""
        self._store = StoredInstances(self._plan)

    def process(
        self, element: tuple[Sheet, Mapping[str, Iterable[Any]]]
    ) -> Iterator[tuple[int, VectorRecord]]:
        """Paint one sheet."""
        start = time.perf_counter()
        (raster, row, col), parts = element
        for record in parts["record"]:  # none if an instance extends into a sheet that is not processed
            left_out = set(parts["left_out"])
            pieces = [piece for piece in _patches_in(parts["patches"]) if piece.ref not in left_out]
            window = self._plan.lattice(raster).sheet_window(row, col)
            stored = self._store.load(raster, record.key)
            label_map = paint(window, pieces, stored.valid, self._plan.card.background or 0)
            files.write_bytes(
                self._folder.painted(raster, row, col), encode(label_map, painted_key((raster, row, col)))
            )
            polygons = self._plan.polygons
            shown = clipped(label_map.labels, polygons, raster, window)
            pixels = LabelCounts.of(CodedLabels.plain(shown))
            outside = polygons.outside(raster, window)
            lost = off_earth(label_map.labels, polygons, raster, window)
            yield (
                raster,
                VectorRecord((raster, row, col), pixels, None, record, stored.full_tiles, outside, lost),
            )
        self._timer.update(round((time.perf_counter() - start) * 1000))


def painted_key(place: tuple[int, int, int]) -> str:
    """Return the key of a sheet's label map that was painted in this run."""
    return "painted {} {} {}".format(*place)


def labels_of_sheets(plan: Plan, folder: RunFolder) -> Callable[[SheetRecord], np.ndarray]:
    """Return a function that loads the labels of a sheet: painted in this run, or from the store."""
    store = prediction_store(plan)

    def painted(record: SheetRecord) -> np.ndarray:
        place = (record.raster, record.row, record.col)
        return decode_labels(files.read_bytes(folder.painted(*place)), painted_key(place))

    return painted if plan.card.task == "instances" else lambda record: store.load_labels(record.key)
