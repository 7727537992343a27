"""Regularize the outlines of buildings to right angles, where they support them and without moving them far.

Each region is regularized by itself, from its own outline and the pixels of other regions near it, so the result does
not depend on how the raster was cut. Attempts go from few edges to closer ones; the first is taken whose polygon is
valid, near its outline, of nearly its area, and clear of its neighbours.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import shapely

from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.edge_fit import Bounds
from terraseam.tiles.regions.ground_plane import NEAR_PX, GroundSteps, plane_of
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.outline_chains import Chain, is_round, outline_chain
from terraseam.tiles.regions.regions import PINNED, Regions
from terraseam.tiles.regions.right_angles import best_edges, directions_of, ring_of

FREE_PX = 3.0
"""Largest displacement of a region's outline, in pixels; corners may move to where lines that far outside meet."""

TOUCHING_PX = 0.5
"""Largest outward displacement where a region touches another, in pixels: both together overlap by at most a
pixel."""

AREA_SHARE = 0.1
"""Largest relative change of a region's area."""

LEAST_PX = 12
"""Regions of fewer pixels have no clear direction."""

_STEPS = ((3.0, 1.0), (2.5, 0.9), (2.0, 0.7), (1.75, 0.5), (1.5, 0.3), (1.25, 0.2), (1.0, 0.12), (0.8, 0.06))

ATTEMPTS = tuple(Bounds(reach, 10 * share, 25 * share, 600 * share) for reach, share in _STEPS)
"""Limits and prices of edges: first for few edges, then for more and closer ones; see
`benchmarks/right_angles.py`."""

PUSHES = 6
"""How often an attempt is repeated, with less room where it came too close to others."""

DIGITS = 9
"""Decimals of vertices, in pixels: vertices on the raster's edge lie there exactly."""

_MARGIN_PX = 0.05
_STEP_PX = 0.25
_LEAST = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Regularized:
    """Regularized regions.

    Attributes:
        regions: The regions, with vertices between pixel corners: float64.
        changed: Whether each was changed, bool, shape ``(regions,)``.
        area_change: Relative growth of the area of each, shape ``(regions,)``.
    """

    regions: Regions
    changed: np.ndarray
    area_change: np.ndarray

    def properties(self, *own: int) -> dict[str, bool | float]:
        """Return the properties of a feature of some of the regions."""
        areas = self.regions.pixels[list(own)]
        change = float(np.average(self.area_change[list(own)], weights=areas))
        return {"regularized": bool(self.changed[list(own)].any()), "area_change": round(change, 4) + 0.0}


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """A region in a plane with pixels of area 1.

    Attributes:
        origin: The pixel corner that all coordinates are relative to.
        rings: Its closed rings, the shell first.
        polygon: The polygon of these rings.
        chains: The outlines of its rings.
        others: Centres of pixels of other regions near it, as points.
        apart: Minimum distance of its outline from each of them, in pixels.
        allowed: The area that it may never leave.
        room: Largest outward displacement anywhere, in pixels.
    """

    origin: np.ndarray
    rings: list[np.ndarray]
    polygon: shapely.Polygon
    chains: list[Chain]
    others: np.ndarray
    apart: np.ndarray
    allowed: shapely.Polygon
    room: float

    def room_at(self, points: np.ndarray) -> np.ndarray:
        """Return how far lines may lie outside the outline at points: half the free distance plus half a pixel."""
        room = np.full(len(points), self.room)
        if len(self.others):
            _, distances = shapely.STRtree(self.others).query_nearest(
                shapely.points(points), return_distance=True, all_matches=False
            )
            room = np.minimum(room, distances / 2 + TOUCHING_PX / 2 - _MARGIN_PX)
        return room

    def takes(self, polygon: shapely.Polygon) -> bool:
        """Check whether a polygon is valid and covers nearly the same area, so that it may replace the region."""
        return bool(
            polygon.is_valid
            and abs(polygon.area / self.polygon.area - 1) <= AREA_SHARE
            and shapely.covers(_grown(polygon, FREE_PX), self.polygon)
        )

    def excess(self, polygon: shapely.Polygon) -> tuple[np.ndarray, np.ndarray]:
        """Return where a polygon lies too far outside: points ``(n, 2)``, and by how much, in pixels."""
        inside = shapely.covers(polygon, self.others)
        distances = np.where(inside, -1, 1) * shapely.distance(polygon.boundary, self.others)
        missing = np.where(distances < self.apart, self.apart - distances, 0.0)
        # An edge may pass over a notch whose corners are all inside: points on the parts reveal that.
        parts = shapely.get_parts(polygon - shapely.buffer(self.allowed, _LEAST))
        outside = shapely.get_coordinates(shapely.point_on_surface(parts))
        outside = np.concatenate([outside, shapely.get_coordinates(shapely.segmentize(parts, _STEP_PX))])
        over = np.maximum(shapely.distance(self.allowed, shapely.points(outside)), _MARGIN_PX)
        depths = np.concatenate([missing, over])
        points = np.concatenate([shapely.get_coordinates(self.others), outside])
        return points[depths > 0], depths[depths > 0]


class _Around:
    """The surroundings of regions: the raster's edge, and pixels of other regions, indexed in the plane."""

    def __init__(self, borders: Corners, plane: np.ndarray, size: tuple[int, int]) -> None:
        self.plane = plane
        self._ends = np.array(shapely.box(0, 0, size[1], size[0]).exterior.coords)
        self._centres = borders.points() + 0.5
        self._tree = shapely.STRtree(shapely.points(self._centres @ plane))

    def frame(self, origin: np.ndarray) -> shapely.Polygon:
        """Return the extent of the raster in the plane, relative to an origin in pixels."""
        return shapely.Polygon((self._ends - origin) @ self.plane)

    def near(self, polygon: shapely.Polygon, origin: np.ndarray) -> np.ndarray:
        """Return centres of pixels near a polygon, as points; both in the plane, relative to an origin in pixels."""
        box = shapely.box(*shapely.bounds(shapely.transform(polygon, lambda xy: xy + origin @ self.plane)))
        centres = self._centres[np.sort(self._tree.query(box, "dwithin", NEAR_PX))]
        points = shapely.points((centres - origin) @ self.plane)
        return points[shapely.dwithin(polygon, points, NEAR_PX)]


def regularize(
    traced: Neighbourhood,
    ground: GroundSteps,
    size: tuple[int, int],
    shown: Regions | None = None,
    *,
    overlapping: bool = False,
) -> Regularized:
    """Regularize regions to right angles where their outlines support them; round ones are left unchanged.

    Args:
        traced: Regions along pixel edges, and the border pixels within `near_px` of them.
        ground: Steps of columns and rows on the ground.
        size: Height and width of the raster, in pixels: nothing is moved beyond its edge.
        shown: The same regions in the form to use for those that are not changed; None to use the traced ones.
        overlapping: Whether the regions are of instances, which may touch others that are not in `traced`.
    """
    regions, shown = traced.regions, traced.regions if shown is None else shown
    plane = plane_of(ground)
    back = np.linalg.inv(plane)
    around = _Around(traced.borders, plane, size)
    rings: list[np.ndarray] = []
    counts, changes = [], []
    for i in range(len(regions)):
        new, change = [], math.nan
        if regions.pixels[i] >= LEAST_PX:
            # Leave regions unchanged where GEOS fails.
            with contextlib.suppress(shapely.errors.GEOSException):
                shape = _shape(regions, i, around, TOUCHING_PX if overlapping else math.inf)
                drawn = _drawn(shape) or []
                new = [np.clip(np.round(ring @ back + shape.origin, DIGITS), 0, size[::-1]) for ring in drawn]
                change = _area(drawn) / _area(shape.rings) - 1 if drawn else math.nan
        # Clipping to the raster's edge may have made the ring touch itself.
        if not new or not shapely.Polygon(new[0], new[1:]).is_valid:
            new, change = [shown.coords[span].astype(np.float64) for span in _spans(shown, i)], math.nan
        counts.append(len(new))
        rings += new
        changes.append(change)
    change_of = np.array(changes, np.float64)
    return Regularized(_with_rings(shown, rings, counts), ~np.isnan(change_of), np.nan_to_num(change_of))


def _spans(regions: Regions, i: int) -> list[slice]:
    """Return the slices of the vertices of each ring of a region."""
    own = regions.ring_offsets[regions.region_offsets[i] : regions.region_offsets[i + 1] + 1].tolist()
    return [slice(*span) for span in pairwise(own)]


def _with_rings(regions: Regions, rings: list[np.ndarray], counts: list[int]) -> Regions:
    coords = np.concatenate([np.zeros((0, 2)), *rings])
    return replace(
        regions,
        coords=coords,
        marks=np.zeros(len(coords), np.uint8),
        ring_offsets=np.concatenate([[0], np.cumsum([len(ring) for ring in rings])]).astype(np.int64),
        region_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def _shape(regions: Regions, i: int, around: _Around, room: float) -> _Shape:
    spans = _spans(regions, i)
    origin = regions.coords[spans[0].start].astype(np.float64)
    pixels = [regions.coords[span] - origin for span in spans]
    rings = [ring @ around.plane for ring in pixels]
    polygon = shapely.Polygon(rings[0], rings[1:])
    pinned = [(regions.marks[span] & PINNED) != 0 for span in spans]
    backward = _signed(rings[0]) < 0
    chains = [
        outline_chain(ring, pins, around.plane, backward=backward)
        for ring, pins in zip(pixels, pinned, strict=True)
    ]
    near = around.near(polygon, origin)
    distances = shapely.distance(polygon, near)
    # Pixels inside are its own.
    near, distances = near[distances > 0], distances[distances > 0]
    apart = np.maximum(distances / 2 - TOUCHING_PX / 2, _LEAST)
    allowed = _grown(polygon, min(room, FREE_PX)) & around.frame(origin)
    return _Shape(origin, rings, polygon, chains, near, apart, allowed, room)


def _grown(polygon: shapely.Polygon, distance: float) -> shapely.Geometry:
    """Buffer a polygon, farther at its corners.

    GEOS' buffers with mitred corners are sometimes invalid, with shells inside others.
    """
    grown = shapely.buffer(polygon, distance, join_style="mitre")
    return grown if shapely.is_valid(grown) else shapely.make_valid(grown, method="structure")


def _drawn(shape: _Shape) -> list[np.ndarray] | None:
    """Return the regularized rings of a region; None if the outline does not support right angles."""
    if is_round(shape.chains[0]):
        return None
    chains = [replace(chain, room=shape.room_at(chain.points[chain.candidates])) for chain in shape.chains]
    directions = directions_of(chains[0], ATTEMPTS[0])
    points = np.zeros((0, 2))
    for bounds in ATTEMPTS:
        for _ in range(PUSHES):
            rings = _squared(shape, chains, directions, bounds)
            if rings is None:
                break
            polygon = shapely.Polygon(rings[0], rings[1:])
            if not shape.takes(polygon):
                break
            before, (points, depths) = points, shape.excess(polygon)
            if not len(points):
                return rings
            if np.array_equal(points, before):
                break
            chains = _pushed(chains, polygon, points, depths)
    return None


def _squared(
    shape: _Shape, chains: list[Chain], directions: np.ndarray, bounds: Bounds
) -> list[np.ndarray] | None:
    """Return the rings of an attempt; None if the shell has none."""
    shell, *holes = (_ring(chain, directions, bounds) for chain in chains)
    if shell is None:
        return None
    # A hole too small for edges is left unchanged.
    pairs = zip([shell, *holes], shape.rings, strict=True)
    return [old if new is None else _wound_like(new, old) for new, old in pairs]


def _pushed(
    chains: list[Chain], polygon: shapely.Polygon, points: np.ndarray, depths: np.ndarray
) -> list[Chain]:
    """Return chains with less room next to points at which a polygon drawn from them lies too far outside."""
    lengths = [len(chain.points) - 1 for chain in chains]
    outlines = np.concatenate([chain.points[:-1] for chain in chains])
    owners, starts = np.repeat(np.arange(len(chains)), lengths), np.cumsum([0, *lengths])
    nearest = shapely.STRtree(shapely.points(outlines)).nearest(shapely.points(points))
    at = shapely.points(outlines[nearest])
    grown = np.where(shapely.covers(polygon, at), 1, -1) * shapely.distance(polygon.boundary, at)
    room = grown - depths - _MARGIN_PX
    owner = owners[nearest]
    return [chain.pushed(nearest[owner == k] - starts[k], room[owner == k]) for k, chain in enumerate(chains)]


def _ring(chain: Chain, directions: np.ndarray, bounds: Bounds) -> np.ndarray | None:
    edges = best_edges(chain, directions, bounds)
    return None if edges is None else ring_of(edges)


def _wound_like(ring: np.ndarray, old: np.ndarray) -> np.ndarray:
    return ring if _signed(ring) * _signed(old) > 0 else ring[::-1]


def _signed(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def _area(rings: list[np.ndarray]) -> float:
    return abs(_signed(rings[0])) - sum(abs(_signed(ring)) for ring in rings[1:])
