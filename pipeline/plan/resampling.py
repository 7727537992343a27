"""``--resample``: the GSD at which rasters are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from terraseam.models.bundle.card import Card
from terraseam.pipeline.units import count, format_gsd
from terraseam.tiles.raster.inspect import RasterInfo
from terraseam.tiles.raster.regrid import Regrid

NEARLY = 1.01
"""Factor between two GSDs that are taken for the same: resampling would only blur."""

MUCH_FINER = 2.0
"""How many times finer than it was measured a raster is read until the user is told."""

FAR_FINER = 50.0
"""How many times finer than it was measured a raster is never read: its pixels would be too many for nothing."""


def target_gsd(cards: Iterable[Card]) -> tuple[float, float] | None:
    """The least and the greatest GSD that suits all networks, in metres; None where any does.

    Networks that have none in common meet in the middle.
    """
    ends = [
        card.gsd if isinstance(card.gsd, tuple) else (card.gsd,) * 2 for card in cards if card.gsd != "any"
    ]
    if not ends:
        return None
    low, high = max(float(end[0]) for end in ends), min(float(end[1]) for end in ends)
    return (low, high) if low <= high else (math.sqrt(low * high),) * 2


def regrid_of(info: RasterInfo, cards: Sequence[Card]) -> Regrid | None:
    """The grid at which a raster has the GSD of networks, or the nearer end of their range; None for its own.

    Raises:
        ValueError: If the raster cannot be placed on the Earth.
    """
    wanted = target_gsd(cards)
    gsd = info.georef.gsd()
    if wanted is None or wanted[0] / NEARLY <= gsd <= wanted[1] * NEARLY:
        return None
    return Regrid(info.georef, (wanted[0] if gsd < wanted[0] else wanted[1]) / gsd)


def regrid_reasons(path: str, regrid: Regrid) -> list[str]:
    """A raster of which nothing would be left, or that would be read far finer than it was measured."""
    if regrid.step * FAR_FINER < 1:
        return [
            f"{path} has {format_gsd(regrid.old.gsd())}, {1 / regrid.step:,.0f} times as coarse as the "
            f"{format_gsd(regrid.new.gsd())} of the network, and --resample brings no detail back: "
            f"more than {FAR_FINER:g} times is refused; take a network for rasters of its GSD"
        ]
    side = min(regrid.old.height, regrid.old.width)
    if regrid.step <= side:
        return []
    return [
        f"{path} is {count(side, 'pixel')} of {format_gsd(regrid.old.gsd())} on its smaller side, which is less than one "
        f"at {format_gsd(regrid.new.gsd())}; take a network for rasters of its GSD"
    ]


def resample_notes(regrids: Sequence[tuple[str, Regrid | None]]) -> list[str]:
    """What is resampled, and what is read finer than it was measured."""
    changed = [(path, regrid) for path, regrid in regrids if regrid is not None]
    if not changed:
        return ["--resample changes nothing: all rasters have the GSD of the network"]
    notes = [
        f"{_listed([path for path, _ in changed])} resampled to {_gsds(regrid for _, regrid in changed)}"
    ]
    finer = [path for path, regrid in changed if regrid.step * MUCH_FINER < 1]
    if finer:
        notes.append(
            f"{_listed(finer)} read more than {MUCH_FINER:g} times finer than measured: details that are not there "
            "cannot be found"
        )
    return notes


def _listed(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return f"{paths[0]} is"
    return f"{paths[0]} and {count(len(paths) - 1, 'other raster')} are"


def _gsds(regrids: Iterable[Regrid]) -> str:
    """The GSDs of some grids, each once."""
    return " or ".join(dict.fromkeys(format_gsd(regrid.new.gsd()) for regrid in regrids))
