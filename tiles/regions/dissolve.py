"""Dissolve regions into their neighbours, the smallest first; compiled, in a hundred bytes per region.

Regions are nodes, and so are the labels of large regions beside them. Each node has a linked list of half-edges, two
for each pair that shares a border. When a region is dissolved, the current nodes at the ends of its half-edges are
looked up and its list is compacted: one half-edge per neighbouring region is left.
"""

from __future__ import annotations

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.labels.components import find_root

_NONE = -1


def dissolve(
    labels: np.ndarray,
    size: np.ndarray,
    order: np.ndarray,
    near: tuple[np.ndarray, np.ndarray],
    is_large: np.ndarray,
    large: int,
) -> np.ndarray:
    """Dissolve small regions one after the other; see `terraseam.tiles.regions.sieve` for the rule.

    Args:
        labels: Label of each region, int64, shape ``(regions,)``.
        size: Size of each, int64.
        order: The regions in order of their first pixels.
        near: Rows of two regions and the number of pixel edges that they share, shape ``(pairs, 3)``; and rows of a
            region, the label of large ones beside it, and the number of edges shared with them, shape
            ``(borders, 3)``; int64.
        is_large: Whether each is kept whatever its size, bool.
        large: The size from which a region is kept.

    Returns:
        The final label of each, int64, shape ``(regions,)``.
    """
    pairs, borders = near
    count = len(labels)
    # A node for each label of large regions, and numbers for labels, in their order.
    beside, node = np.unique(borders[:, 1], return_inverse=True)
    names, number = np.unique(np.concatenate([labels, beside]), return_inverse=True)
    rank = np.empty(count, np.int32)
    rank[order] = np.arange(count, dtype=np.int32)
    hard = np.concatenate([is_large | (size >= large), np.ones(len(beside), bool)])
    queue = order[np.argsort(size[order], kind="stable")].astype(np.int32)
    nodes = number.astype(np.int32), hard
    final_numbers = _dissolve_all(
        queue,
        nodes,
        (size.copy(), rank),
        _chains(pairs, borders, node + count, len(hard)),
        (len(names), large),
    )
    return np.asarray(names[final_numbers[:count]])


@njit(cache=True, nogil=True)
def _chains(pairs, borders, beside, nodes):  # type: ignore[no-untyped-def]
    """Link half-edges to their nodes: first and last of each node; end, edge count and successor of each half-edge.

    Labels have no half-edges of their own: they never change.
    """
    halves = 2 * len(pairs) + len(borders)
    first, last = np.full(nodes, _NONE, np.int32), np.full(nodes, _NONE, np.int32)
    to, edges, behind = np.empty((3, halves), np.int32)
    for half in range(halves):
        k = half // 2
        if k < len(pairs):
            node, to[half], edges[half] = pairs[k, half % 2], pairs[k, 1 - half % 2], pairs[k, 2]
        else:
            k = half - 2 * len(pairs)
            node, to[half], edges[half] = borders[k, 0], beside[k], borders[k, 2]
        behind[half] = first[node]
        if first[node] == _NONE:
            last[node] = half
        first[node] = half
    return first, last, to, edges, behind


@njit(cache=True, nogil=True)
def _dissolve_all(heap, nodes, keys, chains, limits):  # type: ignore[no-untyped-def]
    """Dissolve the smallest region until none is left; return the label of each node, by its number."""
    labels, hard = nodes
    size, _ = keys
    kinds, large = limits
    count = len(size)
    parents = np.arange(len(labels))
    sums, slot = np.zeros(kinds, np.int64), np.full(len(labels), _NONE, np.int32)
    left = count
    while left:
        region = heap[0]
        left -= 1
        heap[0] = heap[left]
        _sink(heap, left, keys)
        if parents[region] != region or hard[region]:
            continue
        label = _most_shared(region, parents, labels, chains, (sums, slot))
        if label == _NONE:
            continue
        labels[region] = label
        hard[region] = _merge(region, parents, (labels, hard), keys, chains) or size[region] >= large
        if not hard[region]:
            heap[left] = region
            _rise(heap, left, keys)
            left += 1
    for i in range(count):
        labels[i] = labels[find_root(parents, i)]
    return labels


@njit(cache=True, nogil=True)
def _most_shared(region, parents, labels, chains, scratch):  # type: ignore[no-untyped-def]
    """Return the label that a region shares most edges with, of equals the lowest, and compact its half-edges."""
    first, last, to, edges, behind = chains
    sums, slot = scratch
    half, tail, best = first[region], _NONE, _NONE
    while half != _NONE:
        after = behind[half]
        other = find_root(parents, to[half])
        if other != region:
            sums[labels[other]] += edges[half]
            if slot[other] != _NONE:
                edges[slot[other]] += edges[half]
            else:
                slot[other], to[half] = half, other
                if tail == _NONE:
                    first[region] = half
                else:
                    behind[tail] = half
                tail = half
        half = after
    if tail == _NONE:
        first[region] = last[region] = _NONE
        return best
    behind[tail], last[region] = _NONE, tail
    half = first[region]
    while half != _NONE:
        label = labels[to[half]]
        if best == _NONE or sums[label] > sums[best] or (sums[label] == sums[best] and label < best):
            best = label
        slot[to[half]] = _NONE
        half = behind[half]
    half = first[region]
    while half != _NONE:
        sums[labels[to[half]]] = 0
        half = behind[half]
    return best


@njit(cache=True, nogil=True)
def _merge(region, parents, nodes, keys, chains):  # type: ignore[no-untyped-def]
    """Merge a region with all small neighbours of its label; return whether a large one also has that label."""
    labels, hard = nodes
    size, rank = keys
    first, last, to, _, behind = chains
    half, end, beside_large = first[region], last[region], False
    while half != _NONE:
        other = to[half]
        if labels[other] == labels[region]:
            if hard[other]:
                beside_large = True
            else:
                parents[other] = region
                size[region] += size[other]
                rank[region] = min(rank[region], rank[other])
                if first[other] != _NONE:
                    behind[last[region]], last[region] = first[other], last[other]
        if half == end:
            break
        half = behind[half]
    return beside_large


@njit(cache=True, nogil=True)
def _before(region, other, keys):  # type: ignore[no-untyped-def]
    size, rank = keys
    return size[region] < size[other] or (size[region] == size[other] and rank[region] < rank[other])


@njit(cache=True, nogil=True)
def _sink(heap, count, keys):  # type: ignore[no-untyped-def]
    """Sift the first element of a heap of `count` elements down."""
    place = 0
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and _before(heap[child + 1], heap[child], keys):
            child += 1
        if not _before(heap[child], heap[place], keys):
            return
        heap[place], heap[child] = heap[child], heap[place]
        place = child


@njit(cache=True, nogil=True)
def _rise(heap, place, keys):  # type: ignore[no-untyped-def]
    """Sift the last element of a heap, at `place`, up."""
    while place and _before(heap[place], heap[(place - 1) // 2], keys):
        parent = (place - 1) // 2
        heap[place], heap[parent] = heap[parent], heap[place]
        place = parent
