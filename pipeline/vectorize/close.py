"""Join the open regions of neighbouring sheets to whole ones.

The seams of a raster, small vectors of labels, are collected to find which fragments belong to one region, and which
regions to one group. Then the fragments of each group are sent to the sheet of its first pixel.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.vectorize.feature_files import FeatureRecord
from terraseam.pipeline.vectorize.trace_cache import CachedParts, TraceCache, make_regions
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.regions import Regions, ragged_runs
from terraseam.tiles.regions.seams import Homes, SeamSummary, merge_seams
from terraseam.tiles.regions.simplify import simplify
from terraseam.tiles.stage_files import pack_sent, unpack_sent

RUN_VERTICES = 1 << 18
"""Approximate number of vertices in each batch of regions turned into features."""

Home = tuple[int, int, int]
"""Raster, and row and column of the sheet in which the first pixel of a group of regions lies."""


def close_seams(seams: beam.PCollection, plan: PolygonPlan, folder: RunFolder) -> beam.PCollection:
    """Join open regions: (raster, (row, col, summary)) -> (raster, `FeatureRecord`)."""
    return (
        seams
        | "SeamsOfRaster" >> beam.GroupByKey()
        | "MergeSeams" >> beam.FlatMap(merge_seams_of_raster, plan.options.by_corners)
        | "SpreadFragments" >> beam.Reshuffle()
        | "SendFragments" >> beam.FlatMap(send_fragments, plan, folder)
        | "FragmentsOfRegion" >> beam.GroupByKey()
        | "Close" >> beam.ParDo(CloseRegions(plan, folder))
    )


def merge_seams_of_raster(
    element: tuple[int, Iterable[tuple[int, int, SeamSummary]]], by_corners: bool
) -> Iterator[tuple[int, int, int, Homes]]:
    """Return, for each sheet of a raster, the regions and groups that its fragments belong to."""
    raster, seams = element
    homes = merge_seams({(row, col): summary for row, col, summary in seams}, by_corners=by_corners)
    return ((raster, row, col, home) for (row, col), home in homes.items())


def send_fragments(
    element: tuple[int, int, int, Homes], plan: PolygonPlan, folder: RunFolder
) -> Iterator[tuple[Home, str]]:
    """Write the fragments of a sheet to files for the sheets where their groups begin; only paths are shuffled."""
    raster, row, col, homes = element
    fragments = Fragments.from_bytes(files.read_bytes(folder.fragments(raster, row, col)))
    tolerance = plan.tolerance(raster)
    reach, near = tolerance.reach if tolerance else 0, plan.near(raster)
    sheets, owner = np.unique(homes.groups // plan.side, axis=0, return_inverse=True)
    for number, (home_row, home_col) in enumerate(sheets.tolist()):
        chosen = np.flatnonzero(owner.ravel() == number)
        path = folder.sent_fragments(raster, (row, col), (home_row, home_col))
        files.write_bytes(path, pack_sent(fragments.take(chosen, reach, near), homes.take(chosen)))
        yield (raster, home_row, home_col), path


class CloseRegions(beam.DoFn):
    """A DoFn that joins the fragments of the groups of regions that begin in one sheet."""

    def __init__(self, plan: PolygonPlan, folder: RunFolder) -> None:
        self._plan = plan
        self._folder = folder
        self._trace_cache = TraceCache(folder.trace_cache, plan)
        self._timer = Metrics.distribution("terraseam", "close_ms")

    def process(self, element: tuple[Home, Iterable[str]]) -> Iterator[Any]:
        """Close regions, and write them as features."""
        start = time.perf_counter()
        (raster, row, col), paths = element
        contents = [files.read_bytes(path) for path in sorted(paths)]
        key = self._trace_cache.key(raster, (row, col), contents)
        parts = self._trace_cache.get(key, CachedParts)
        if parts is None:
            parts = self._make((raster, row, col), contents)
            self._trace_cache.put(key, parts)
        written: FeatureRecord | None = parts.at(self._folder.joined_features(raster, row, col))
        if written is not None:
            yield raster, written
        self._timer.update(round((time.perf_counter() - start) * 1000))

    def _make(self, home: Home, contents: list[bytes]) -> CachedParts:
        """Close regions, and turn them into features."""
        raster, row, _ = home
        parts = [unpack_sent(content) for content in contents]
        tolerance, regions = self._plan.tolerance(raster), close_regions(parts)
        traced = Neighbourhood(regions, Corners.union([fragments.borders for fragments, _ in parts]))
        if tolerance is not None:
            corners = Corners.union([fragments.corners for fragments, _ in parts])
            regions = simplify(regions, corners, tolerance)
        return make_regions(row, in_runs(regions, traced), self._plan, raster)


def in_runs(regions: Regions, traced: Neighbourhood) -> Iterator[tuple[Regions, Neighbourhood]]:
    """Yield simplified and exact regions in batches of whole groups, in the order of their first pixels."""
    shown, groups = regions.by_group()
    exact, _ = traced.regions.by_group()
    shells = exact.region_offsets[groups]
    for start, end in ragged_runs(exact.ring_offsets[shells], RUN_VERTICES) if len(shown) else ():
        span = int(groups[start]), int(groups[end])
        yield shown.run(*span), replace(traced, regions=exact.run(*span))
