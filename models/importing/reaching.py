"""Determine the reach of an imported network: from its graph, by measurement, or as declared by the user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.models.engines.scaling import in_layout
from terraseam.models.errors import NetworkRefusedError, NotUnderstoodError, short
from terraseam.models.importing.common.foreign import Foreign, GraphFacts
from terraseam.models.importing.output_types import channels_last
from terraseam.models.importing.probe import LONGEST, ProbeResult, Run, find_stride, probe_reach
from terraseam.models.reach.reach import Reach


@dataclass(frozen=True)
class KnownReach:
    """The receptive field of a network, and its source.

    Attributes:
        stride: Chips must be multiples of this many pixels.
        reach: Its receptive field beyond a core; None if it covers the whole chip.
        source: ``graph``, ``measured`` or ``declared``.
        notes: Information for the user, one sentence each.
    """

    stride: int
    reach: Reach | None
    source: str
    notes: tuple[str, ...]


def find_reach(foreign: Foreign, bands: int, *, stride: int | None, declared: int | None) -> KnownReach:
    """Determine the receptive field of a network.

    Args:
        foreign: The network.
        bands: Bands of a chip.
        stride: Stride stated by the user, or None.
        declared: Reach declared by the user, in pixels, or None.

    Raises:
        RefusedError: If the user's values are wrong, or the reach can be neither derived nor measured.
    """
    facts, notes = _read(foreign)
    if facts is not None and stride not in (None, facts.stride):
        raise NetworkRefusedError(
            f"--stride {stride} is not the stride of the network: its graph has {facts.stride} px; leave --stride out"
        )
    if facts is not None and declared is None:
        return KnownReach(facts.stride, facts.reach, "graph", (*notes, *_infinite(facts.reach)))
    run = _probed(foreign, declared)
    step = facts.stride if facts is not None else stride or foreign.stride_hint or _stride(run, bands)
    return (
        _declare(run, bands, step, declared, notes)
        if declared is not None
        else _measure(run, bands, step, notes)
    )


def runs(foreign: Foreign, scores: bool = False) -> Run:
    """Return a network in the form the probe takes: chips and outputs with channels last."""
    inner = foreign.run_scores if scores and foreign.run_scores is not None else foreign.run

    def run(chips: np.ndarray) -> np.ndarray:
        return channels_last(inner(in_layout(chips, foreign.layout)), foreign.layout)

    return run


def _read(foreign: Foreign) -> tuple[GraphFacts | None, tuple[str, ...]]:
    try:
        return foreign.read_graph(), ()
    except NotUnderstoodError as error:
        return None, (f"its reach could not be read from the graph: {error}",)


def _probed(foreign: Foreign, declared: int | None) -> Run:
    labels = foreign.ending == "argmax" or foreign.whole_numbers
    if labels and foreign.run_scores is None and declared is None:
        raise NetworkRefusedError(
            "the network outputs labels, which change too rarely to measure its reach; give --reach, "
            "or export it without its argmax"
        )
    return runs(foreign, scores=True)


def _stride(run: Run, bands: int) -> int:
    try:
        return find_stride(run, bands)
    except ValueError as error:
        raise NetworkRefusedError(f"no stride was found: {error}; give --stride") from error


def _probe(run: Run, bands: int, stride: int) -> ProbeResult:
    try:
        return probe_reach(run, bands, stride)
    except Exception as error:
        raise NetworkRefusedError(
            f"the network fails on chips on multiples of {stride} px while its reach is measured: {short(error)}; "
            "give another --stride"
        ) from error


def _measure(run: Run, bands: int, stride: int, notes: tuple[str, ...]) -> KnownReach:
    measured = _probe(run, bands, stride)
    reach = measured.with_margin()
    if measured.observed is None or reach is None:
        return KnownReach(stride, None, "measured", (*notes, *_infinite(None)))
    note = (
        f"its reach was measured, not proven: outputs changed with pixels up to {_sides(measured.observed)} px away "
        f"(top, bottom, left, right); with {measured.margin} px of margin it is {_sides(reach)} px"
    )
    return KnownReach(stride, reach, "measured", (*notes, note))


def _declare(run: Run, bands: int, stride: int, declared: int, notes: tuple[str, ...]) -> KnownReach:
    """Accept a declared reach, unless outputs are observed to depend on more distant pixels."""
    observed = _probe(run, bands, stride).observed
    if observed is None:
        raise NetworkRefusedError(
            f"--reach {declared} was declared, but outputs change with pixels up to the border of chips of "
            f"{LONGEST} px, or with the position of a chip; leave out --reach, and give --halo"
        )
    farthest = max(observed.top, observed.bottom, observed.left, observed.right)
    if farthest > declared:
        raise NetworkRefusedError(
            f"--reach {declared} was declared, but outputs change with pixels {farthest} px away; "
            f"give --reach {farthest + stride}, or leave it out"
        )
    note = f"its reach is {declared} px, as declared; outputs changed with pixels up to {farthest} px away"
    return KnownReach(stride, Reach(*(declared,) * 4), "declared", (*notes, note))


def _infinite(reach: Reach | None) -> tuple[str, ...]:
    if reach is not None:
        return ()
    return (
        "it has no finite reach: its outputs depend on the whole chip, so labels will depend on --tile and --halo",
    )


def _sides(reach: Reach) -> str:
    return f"{reach.top}, {reach.bottom}, {reach.left}, {reach.right}"
