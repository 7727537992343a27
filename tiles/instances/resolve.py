"""Resolve views in single tiles to instances, each once and whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from terraseam.tiles.grid.lattice import Lattice
from terraseam.tiles.grid.window import Window, hull
from terraseam.tiles.instances.instances import Ref, TileInstance, tighten
from terraseam.tiles.instances.links import LEAST_AGREEMENT, Link

Part = tuple[Window, np.ndarray]
"""A window of the raster, and the mask of an instance in it: bool, of the window's shape."""


@dataclass(frozen=True, slots=True, eq=False)
class ResolvedInstance:
    """One instance of the whole raster, as it is published.

    Attributes:
        label: Its class.
        score: Confidence of the network, 1 to 255.
        parts: Its pixels; the windows do not overlap. One part, or one for each core if no tile contains it whole.
        cores: Row and column of the core that each part lies in; empty if there is one part.
        ref: Its first view, which identifies it.
    """

    label: int
    score: int
    parts: tuple[Part, ...]
    cores: tuple[tuple[int, int], ...]
    ref: Ref

    @property
    def pixels(self) -> int:
        """Number of its pixels."""
        return sum(int(np.count_nonzero(mask)) for _, mask in self.parts)

    @property
    def bounds(self) -> Window:
        """Its bounding rectangle."""
        return reduce(hull, (window for window, _ in self.parts))


def gather_views(links: Iterable[Link]) -> list[tuple[Ref, ...]]:
    """Group the views of each object.

    Matched views are joined in order of agreement, best first; views of one tile never are. Groups that contain a
    whole view are joined only if their views agree on average, so that different objects are never chained together
    through one another; only cut-off views are chained freely from tile to tile.

    Args:
        links: All links of a raster, in any order.

    Returns:
        Groups of two views or more, each in order; a view in no group stands for itself.
    """
    ordered = sorted(links, key=lambda link: (-link.agreement, link.first, link.second))
    shares = {frozenset(link[:2]): link.agreement for link in ordered}
    whole = {ref: is_whole for link in ordered for ref, is_whole in zip(link[:2], link.whole, strict=True)}
    groups: dict[Ref, list[Ref]] = {ref: [ref] for ref in whole}
    for link in ordered:
        ours, theirs = groups[link.first], groups[link.second]
        if link.matched and ours is not theirs and _may_meet(ours, theirs, whole, shares):
            ours.extend(theirs)
            groups.update(dict.fromkeys(theirs, ours))
    distinct = {id(group): group for group in groups.values() if len(group) > 1}
    return sorted(tuple(sorted(group)) for group in distinct.values())


def _may_meet(
    ours: list[Ref], theirs: list[Ref], whole: dict[Ref, bool], shares: dict[frozenset[Ref], float]
) -> bool:
    """Check whether two groups have no tile in common, and agree on average over pairs that contain a whole view."""
    if {ref.tile for ref in ours} & {ref.tile for ref in theirs}:
        return False
    pairs = [
        shares.get(frozenset((mine, other)), 0.0)
        for mine in ours
        for other in theirs
        if whole[mine] or whole[other]
    ]
    return sum(pairs) >= LEAST_AGREEMENT * len(pairs)


def resolve_instance(views: Sequence[TileInstance], lattice: Lattice) -> ResolvedInstance:
    """Merge the views of one object into one instance.

    If some views are whole, the one with the most room around it is taken. If none is, each core contributes its own
    tile's mask; cores whose tile did not detect the object take the union of the other views there.

    Args:
        views: The views of one object, each from another tile.
        lattice: The tiles of the raster.
    """
    views = sorted(views, key=lambda view: view.ref)
    whole = [view for view in views if view.whole]
    if whole or len(views) == 1:
        best = max(whole or views, key=lambda view: (view.room, view.score))
        return ResolvedInstance(best.label, best.score, ((best.window, best.mask),), (), views[0].ref)
    weights = [view.pixels() for view in views]
    score = sum(view.score * weight for view, weight in zip(views, weights, strict=True)) // sum(weights)
    parts: dict[tuple[int, int], Part] = {}
    for tile in _cores_under(views, lattice):
        owner = [view for view in views if view.ref.tile == tile]
        part = _union(owner or views, lattice.core_window(*tile))
        if part is not None:
            parts[tile] = part
    return ResolvedInstance(views[0].label, score, tuple(parts.values()), tuple(parts), views[0].ref)


def _cores_under(views: Sequence[TileInstance], lattice: Lattice) -> list[tuple[int, int]]:
    """Return the tiles whose cores intersect the bounding rectangle of a view, row by row."""
    tiles: set[tuple[int, int]] = set()
    for view in views:
        first_row, first_col = view.window.row_off // lattice.core, view.window.col_off // lattice.core
        last_row, last_col = (
            (view.window.row_end - 1) // lattice.core,
            (view.window.col_end - 1) // lattice.core,
        )
        tiles.update((r, c) for r in range(first_row, last_row + 1) for c in range(first_col, last_col + 1))
    return sorted(tiles)


def _union(views: Iterable[TileInstance], core: Window) -> Part | None:
    """Merge the masks of views within a core; None if they have no pixel there."""
    inside = [(view, shared) for view in views if (shared := view.window.intersection(core)) is not None]
    if not inside:
        return None
    window = inside[0][1]
    for _, shared in inside[1:]:
        window = hull(window, shared)
    mask = np.zeros(window.shape, bool)
    for view, shared in inside:
        mask[shared.within(window)] |= view.mask[shared.within(view.window)]
    return tighten(window, mask)
