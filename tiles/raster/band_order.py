"""Match the bands of a raster to the bands that are wanted, by its metadata.

A file names the colours of its bands by their descriptions, written by people, or else by their colour
interpretation, which also determines how they are displayed. Band numbers mean different colours on different
satellites: each entry of `SENSORS` is one way to interpret them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

ALPHA, PALETTE = "alpha", "palette"
SILENT = frozenset({"undefined", "gray", ALPHA})
"""Colour interpretations that name no colour."""

WORDS = {
    "red": "red", "r": "red", "green": "green", "g": "green", "blue": "blue", "b": "blue",
    "nir": "nir", "infrared": "nir", "ir": "nir", "coastal": "coastal", "aerosol": "coastal", "rededge": "rededge",
    "swir": "swir", "swir1": "swir1", "swir2": "swir2", "tir": "tir", "thermal": "tir", "lwir": "tir", "cirrus": "cirrus",
    "pan": "pan", "panchromatic": "pan",
}  # fmt: skip
"""Words in descriptions and names -> the colours that they mean."""

SENSORS = {
    "Sentinel-2": {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge", "6": "rededge6", "7": "rededge7",
        "8": "nir", "8a": "nir8a", "9": "vapour", "10": "cirrus", "11": "swir1", "12": "swir2",
    },
    "Landsat 8 and 9": {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir1", "7": "swir2", "8": "pan",
        "9": "cirrus", "10": "tir", "11": "tir11",
    },
    "Landsat 4 to 7": {
        "1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir1", "6": "tir", "7": "swir2", "8": "pan",
    },
}  # fmt: skip
"""Satellites -> band numbers -> colours."""

_NUMBERED = re.compile(r"(?:sr_|toa_)?b(0?)(\d{1,2}a?)", re.IGNORECASE)
_INFRARED = re.compile(r"infra[\W_]+red")
_IR = re.compile(r"near[\W_]*infra[\W_]*red|near[\W_]*ir\b|\bvnir\b")
_RED_EDGE = re.compile(r"red[\W_]*edge")
_SHORT_IR = re.compile(r"short[\W_]*wave(?:[\W_]*infra[\W_]*red)?")
_LONG_IR = re.compile(r"thermal[\W_]*infra[\W_]*red")


@dataclass(frozen=True, slots=True)
class BandDescription:
    """The metadata of one band.

    Attributes:
        description: Its description; empty if there is none.
        interpretation: Its colour interpretation, by its GDAL name.
    """

    description: str
    interpretation: str


@dataclass(frozen=True, slots=True)
class BandOrder:
    """The bands to read, and how they were chosen.

    Attributes:
        bands: Their numbers from 1, in the wanted order.
        descriptions: The file's name for each of its bands; empty if names made no difference.
        source: Origin of these names: ``descriptions`` or ``colour interpretation``.
        wrong: Whether names are ambiguous or contradict the wanted bands, so that `bands` are in file order.
    """

    bands: tuple[int, ...]
    descriptions: tuple[str, ...] = ()
    source: str = ""
    wrong: bool = False


def colour_of(text: str) -> str | None:
    """Return the colour that a band description or name means; None for none or several."""
    plain = _INFRARED.sub("infrared", text.casefold().strip())
    if len(plain) == 1:
        return WORDS.get(plain)
    for pattern, word in ((_RED_EDGE, "rededge"), (_IR, "nir"), (_SHORT_IR, "swir"), (_LONG_IR, "tir")):
        plain = pattern.sub(f" {word} ", plain)
    tokens = re.findall(r"[a-z]+\d*", plain.replace("_", " "))
    colours = {WORDS[word] for word in tokens if len(word) > 1 and word in WORDS}
    return colours.pop() if len(colours) == 1 else None


def order_bands(band_descriptions: Sequence[BandDescription], band_names: Sequence[str]) -> BandOrder:
    """Choose the wanted bands, in order, by a file's metadata.

    Args:
        band_descriptions: The metadata of each band.
        band_names: Names of the wanted bands; compared by colour if they have one, otherwise literally.

    Returns:
        The order; if the metadata does not mention them, all bands but alpha in file order.
    """
    return _order(tuple(band_descriptions), tuple(band_names))


@lru_cache(256)
def _order(band_descriptions: tuple[BandDescription, ...], band_names: tuple[str, ...]) -> BandOrder:
    """Choose the bands once for all rasters of the same metadata; see `order_bands`."""
    plain = tuple(number for number, band in enumerate(band_descriptions, 1) if band.interpretation != ALPHA)
    keys = [colour_of(name) or name.casefold().strip() for name in band_names]
    # The file cannot come from a satellite without the wanted colours.
    readings = _readings(band_descriptions, keys)
    chosen = {bands for names in readings if (bands := _chosen(names, plain, keys)) is not None}
    if plain in chosen:
        return BandOrder(plain)
    bands = chosen.pop() if len(chosen) == 1 else None
    described = any(band.description for band in band_descriptions)
    descriptions = tuple(
        (described and band.description) or band.interpretation for band in band_descriptions
    )
    source = "descriptions" if described else "colour interpretation"
    if bands is not None:
        return BandOrder(bands, descriptions, source)
    colours = [colour_of(name) for name in band_names]
    wrong = len(plain) == len(keys) and all(_contradicts(names, plain, colours) for names in readings)
    return BandOrder(plain, descriptions, source, wrong)


def _contradicts(names: Sequence[str | None], plain: Sequence[int], colours: Sequence[str | None]) -> bool:
    """Check whether a band is a palette or has another colour than the one wanted; unknown names do not count."""
    band_colours = [names[number - 1] for number in plain]
    pairs = zip(band_colours, colours, strict=True)
    return "palette" in band_colours or any(None not in pair and pair[0] != pair[1] for pair in pairs)


def colours_of_bands(band_descriptions: Sequence[BandDescription]) -> tuple[str | None, ...]:
    """Return the colour of each band by its metadata; None where it is unknown or ambiguous."""
    readings = _readings(band_descriptions, [])
    return readings[0] if len(readings) == 1 else (None,) * len(band_descriptions)


def _readings(
    band_descriptions: Sequence[BandDescription], keys: Sequence[str]
) -> list[tuple[str | None, ...]]:
    """Return the possible names of the bands: one set, or one for each satellite that has all of their numbers."""
    names = [_name(band, keys) for band in band_descriptions]
    numbers = [_NUMBERED.fullmatch(band.description.strip()) for band in band_descriptions]
    if not any(numbers) or any(band.description.casefold().strip() in keys for band in band_descriptions):
        return [tuple(names)]
    padded = any(match[1] for match in numbers if match)
    tables = [SENSORS["Sentinel-2"]] if padded else list(SENSORS.values())
    known = [
        table
        for table in tables
        if all(match[2].casefold() in table for match in numbers if match is not None)
    ]
    if not known:
        return [tuple(names)]
    return [
        tuple(
            table[match[2].casefold()] if match else name for match, name in zip(numbers, names, strict=True)
        )
        for table in known
    ]


def _name(word: BandDescription, keys: Sequence[str]) -> str | None:
    """Return the name of a band: the wanted name that it matches, or its colour."""
    written = word.description.casefold().strip()
    if written in keys:
        return written
    colour = colour_of(word.description)
    if colour is not None or word.interpretation in SILENT:
        return colour
    return word.interpretation.casefold()


def _chosen(
    names: Sequence[str | None], plain: tuple[int, ...], keys: Sequence[str]
) -> tuple[int, ...] | None:
    """Return the bands that match names, in order; all in file order if nothing contradicts, otherwise None."""
    matches = [[band for band, name in enumerate(names, 1) if name == key] for key in keys]
    if all(len(bands) == 1 for bands in matches) and len(set(keys)) == len(keys):
        return tuple(bands[0] for bands in matches)
    if len(plain) != len(keys):
        return None
    colours = set(WORDS.values())
    for band, key in zip(plain, keys, strict=True):
        name = names[band - 1]
        if name is None or name == key:
            continue
        if key in colours or name in keys or name == PALETTE:
            return None
    return plain
