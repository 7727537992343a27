"""Fields of a card, of what the user says on the command line."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.palette import PALETTE

ASKED = {
    "architecture": "the network to build",
    "bands": "band names, in the network's order",
    "classes": "classes, in the order of the output channels or labels",
    "gsd": "GSD the network was trained at, in metres per pixel, or any",
    "scale": "network input = raw value * scale + offset",
    "output": "folder of the bundle to write",
}
"""What must be said, and what it is."""


def check_fields(arguments: argparse.Namespace, needed: Sequence[str]) -> None:
    """Check that the arguments that only the user knows are given.

    Raises:
        ArgumentError: If something is missing; one sentence that asks for all of it by name.
    """
    missing = [name for name in needed if getattr(arguments, name) is None]
    if missing:
        raise ArgumentError(f"give {', '.join(f'--{name} ({ASKED[name]})' for name in missing)}")


def card_fields_of(arguments: argparse.Namespace, scaling: Scaling | None = None) -> dict[str, Any]:
    """Return the fields of a card that only the user knows.

    Args:
        arguments: The arguments.
        scaling: Scaling where the user gives none.

    Raises:
        ArgumentError: If classes, colours or numbers do not fit each other.
    """
    bands = len(arguments.bands)
    if arguments.scale is not None:
        offset = arguments.offset or (0.0,)
        scaling = Scaling(_each(arguments.scale, bands, "--scale"), _each(offset, bands, "--offset"))
    elif arguments.offset is not None:
        raise ArgumentError("--offset is given without --scale; give both")
    if scaling is None:
        raise ArgumentError(f"give --scale: {ASKED['scale']}")
    return {
        "name": arguments.name or Path(arguments.output).resolve().name,
        "version": arguments.version,
        "classes": _classes(arguments),
        "bands": arguments.bands,
        "gsd": arguments.gsd,
        "scaling": scaling,
        "fill": _each(arguments.fill, bands, "--fill-value") if arguments.fill else _zeros(scaling),
        "license": arguments.license,
        "halo": arguments.halo,
    }


def _classes(arguments: argparse.Namespace) -> tuple[ClassInfo, ...]:
    names, colors = arguments.classes, arguments.colors
    if len(names) < 2:
        raise ArgumentError(
            f"--classes names only {', '.join(names)}; name two or more, including the background"
        )
    if colors is not None and len(colors) != len(names):
        raise ArgumentError(f"--colors has {len(colors)} colours for {len(names)} classes; give one for each")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ArgumentError(f"--classes names {', '.join(twice)} twice; give each class a unique name")
    wrong = [color for color in colors or () if not re.fullmatch(r"#[0-9a-fA-F]{6}", color)]
    if wrong:
        raise ArgumentError(f"--colors has {', '.join(wrong)}; write colours as #rrggbb, such as #2b6cb0")
    if arguments.background is not None and arguments.background not in names:
        raise ArgumentError(f"--background {arguments.background} is not one of --classes {','.join(names)}")
    colors = colors or [PALETTE[number % len(PALETTE)] for number in range(len(names))]
    return tuple(
        ClassInfo(name, color, name == arguments.background)
        for name, color in zip(names, colors, strict=True)
    )


def _each(numbers: tuple[float, ...], bands: int, option: str) -> tuple[float, ...]:
    """Return one number for each band.

    Raises:
        ArgumentError: If there is neither one nor one for each.
    """
    if len(numbers) not in (1, bands):
        raise ArgumentError(
            f"{option} has {len(numbers)} numbers for {bands} bands; give one, or one for each"
        )
    return numbers * bands if len(numbers) == 1 else numbers


def _zeros(scaling: Scaling) -> tuple[float, ...]:
    """Return the raw values that are scaled to 0, rounded down to whole numbers if larger than 10."""
    pairs = zip(scaling.scale, scaling.offset, strict=True)
    zeros = (-offset / scale + 0.0 if scale else 0.0 for scale, offset in pairs)
    return tuple(float(math.floor(zero + 1e-9)) if abs(zero) > 10 else round(zero, 6) for zero in zeros)
