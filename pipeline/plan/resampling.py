"""Choose the GSD at which ``--resample`` reads rasters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from terraseam.models.bundle.card import Card
from terraseam.pipeline.units import count, format_gsd
from terraseam.tiles.raster.inspect import RasterInfo
from terraseam.tiles.raster.regrid import Regrid

NEARLY = 1.01
"""Factor up to which two GSDs count as equal: resampling would only blur."""

MUCH_FINER = 2.0
"""Upsampling factor above which the user gets a note."""

FAR_FINER = 50.0
"""Upsampling factor above which a raster is refused: it would add pixels, but no detail."""


def target_gsd(cards: Iterable[Card]) -> tuple[float, float] | None:
    """Return the minimum and maximum GSD that suits all networks, in m/px; None if any does.

    Networks without a common GSD get the geometric mean.
    """
    ends = [
        card.gsd if isinstance(card.gsd, tuple) else (card.gsd,) * 2 for card in cards if card.gsd != "any"
    ]
    if not ends:
        return None
    low, high = max(float(end[0]) for end in ends), min(float(end[1]) for end in ends)
    return (low, high) if low <= high else (math.sqrt(low * high),) * 2


def regrid_of(info: RasterInfo, cards: Sequence[Card]) -> Regrid | None:
    """Return the resampling of a raster to the GSD of the networks, or the nearer end of their range.

    None if the raster's own grid suits them.

    Raises:
        ValueError: If the raster cannot be placed on the Earth.
    """
    gsd_range = target_gsd(cards)
    gsd = info.georef.gsd()
    if gsd_range is None or gsd_range[0] / NEARLY <= gsd <= gsd_range[1] * NEARLY:
        return None
    return Regrid(info.georef, (gsd_range[0] if gsd < gsd_range[0] else gsd_range[1]) / gsd)


def regrid_reasons(path: str, regrid: Regrid) -> list[str]:
    """Return the reason if resampling would leave less than a pixel, or upsample far too much."""
    if regrid.step * FAR_FINER < 1:
        return [
            f"{path} has a GSD of {format_gsd(regrid.old.gsd())}, {1 / regrid.step:,.0f} times as coarse as the "
            f"{format_gsd(regrid.new.gsd())} of the network, and --resample cannot restore detail: "
            f"more than {FAR_FINER:g} times is refused; use a network for rasters of its GSD"
        ]
    side = min(regrid.old.height, regrid.old.width)
    if regrid.step <= side:
        return []
    return [
        f"{path} is {count(side, 'pixel')} of {format_gsd(regrid.old.gsd())} on its smaller side, which is less than one "
        f"at {format_gsd(regrid.new.gsd())}; use a network for rasters of its GSD"
    ]


def resample_notes(regrids: Sequence[tuple[str, Regrid | None]]) -> list[str]:
    """Return notes on which rasters are resampled, and which are upsampled strongly."""
    changed = [(path, regrid) for path, regrid in regrids if regrid is not None]
    if not changed:
        return ["--resample changes nothing: all rasters have the GSD of the network"]
    notes = [
        f"{_listed([path for path, _ in changed])} resampled to {_gsds(regrid for _, regrid in changed)}"
    ]
    finer = [path for path, regrid in changed if regrid.step * MUCH_FINER < 1]
    if finer:
        notes.append(
            f"{_listed(finer)} read more than {MUCH_FINER:g} times finer than their own GSD: missing details cannot be found"
        )
    return notes


def _listed(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return f"{paths[0]} is"
    return f"{paths[0]} and {count(len(paths) - 1, 'other raster')} are"


def _gsds(regrids: Iterable[Regrid]) -> str:
    """Return the distinct GSDs of some grids, joined by "or"."""
    return " or ".join(dict.fromkeys(format_gsd(regrid.new.gsd()) for regrid in regrids))
