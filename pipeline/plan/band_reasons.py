"""Check the chosen bands against those a network expects, and explain their order to the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terraseam.models.bundle.card import Card
from terraseam.pipeline.units import count
from terraseam.tiles.raster.band_order import PALETTE, colour_of, order_bands
from terraseam.tiles.raster.inspect import RasterInfo


def band_reasons(
    info: RasterInfo, bands: tuple[int, ...], cards: Sequence[Card], chosen: tuple[int, ...] | None
) -> list[str]:
    """Return why the bands of a raster do not fit the networks, which all expect the same number of bands.

    Args:
        info: The raster.
        bands: The bands to read.
        cards: Cards of the networks.
        chosen: The bands the user chose; None to go by the file's own band descriptions.
    """
    absent = [band for band in bands if not 1 <= band <= info.bands]
    if absent:
        missing = ", ".join(map(str, absent))
        return [f"{info.path} has no band {missing}: it has {count(info.bands, 'band')}, numbered from 1"]
    card = cards[0]
    if len(bands) != len(card.bands):
        return [] if chosen is not None else [_too_few_or_many(info, bands, card)]
    order = order_bands(info.band_descriptions, card.bands)
    if chosen is not None or not order.wrong:
        return []
    if any(word.interpretation == PALETTE for word in info.band_descriptions):
        return [
            f"{info.path} holds indices into a colour table, but {_wants(card)}; expand it with {EXPAND}, or pass "
            "--bands 1 to use the indices as they are"
        ]
    return [
        f"the bands of {info.path} are {', '.join(order.descriptions)}, by their {order.source}, and "
        f"{_wants(card)}; choose them with --bands, such as --bands {','.join(map(str, bands))} to use these in order"
    ]


def order_notes(infos: Iterable[RasterInfo], card: Card) -> list[str]:
    """Return notes on rasters whose bands are reordered, or selected from more."""
    read: dict[tuple[tuple[int, ...], str], list[str]] = {}
    for info in infos:
        order = order_bands(info.band_descriptions, card.bands)
        if order.descriptions and not order.wrong and len(order.bands) == len(card.bands):
            read.setdefault((order.bands, order.source), []).append(info.path)
    return [
        f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: bands {', '.join(map(str, bands))} are "
        f"read as {', '.join(card.bands)}, by their {source}; --bands chooses others"
        for (bands, source), paths in read.items()
    ]


def order_mismatches(cards: Sequence[Card]) -> list[str]:
    """Return why networks that expect different colours in the same position cannot share bands."""
    first = cards[0]
    return [
        f"{first.name} {first.version} and {card.name} {card.version} cannot be averaged: one expects the bands "
        f"{', '.join(first.bands)}, the other {', '.join(card.bands)}"
        for card in cards[1:]
        if any(
            None not in (colour, other) and colour != other
            for colour, other in zip(map(colour_of, first.bands), map(colour_of, card.bands), strict=False)
        )
    ]


EXPAND = "gdal_translate -expand rgb (rgba where colours may be transparent, gray where all are grey)"


def number_reason(chosen: Sequence[int], card: Card) -> str:
    """Return the reason why the user's ``--bands`` are too few or too many, whatever the raster."""
    return f"{_wants(card)}; --bands {','.join(map(str, chosen))} names {len(chosen)}"


def _too_few_or_many(info: RasterInfo, bands: Sequence[int], card: Card) -> str:
    mismatch = f"{_wants(card)}, but {info.path} has {len(bands)}"
    if any(word.interpretation == PALETTE for word in info.band_descriptions):
        return f"{mismatch} with a colour table; expand it with {EXPAND}"
    return f"{mismatch}; choose with --bands" if len(bands) > len(card.bands) else mismatch


def _wants(card: Card) -> str:
    return f"{card.name} expects {count(len(card.bands), 'band')} ({', '.join(card.bands)})"
