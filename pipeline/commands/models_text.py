"""Describe the networks of the zoo and the cards of bundles as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from terraseam.models.bundle.card import Card, shipped_bundles
from terraseam.models.engines.choice import ONNX_FILE
from terraseam.models.reach.reach import Reach
from terraseam.models.zoo import Row
from terraseam.pipeline.units import format_bytes, format_gsd, table

SOURCES = {
    "graph": "read from its graph",
    "measured": "measured, not proven",
    "declared": "as declared by its author",
}
OUTPUT_TYPES = {
    "logits": "one logit per class",
    "scores": "one score per class",
    "labels": "labels",
    "binary_logits": "one logit, for the second class",
    "binary_scores": "one score, for the second class",
    "instances": "boxes, labels, scores and masks of instances",
}


def zoo_table(rows: Iterable[Row]) -> str:
    """Return a table of the networks that can be built."""
    head = ("architecture", "encoder", "parameters", "stride", "reach", "paper")
    cells = [
        (
            row.architecture,
            row.encoder or "none",
            f"{row.parameters / 1e6:,.1f} M",
            f"{row.stride} px",
            _reach(row.reach),
            row.paper.link,
        )
        for row in rows
    ]
    return table([head, *cells], right={2, 3})


def bundle_table(cards: Sequence[tuple[str, Card]]) -> str:
    """Return a table of the built-in bundles."""
    head = ("bundle", "version", "network", "classes", "bands", "GSD")
    cells = [
        (
            name,
            card.version,
            card.architecture + (f" on {card.encoder}" if card.encoder else ""),
            ", ".join(info.name for info in card.classes),
            ", ".join(card.bands),
            _gsd(card),
        )
        for name, card in cards
    ]
    return table([head, *cells], right=set())


def rows_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return networks as JSON values."""
    return [
        {
            "architecture": row.architecture,
            "encoder": row.encoder,
            "task": row.task,
            "parameters": row.parameters,
            "stride_px": row.stride,
            "reach_px": asdict(row.reach) if row.reach else None,
            "paper": asdict(row.paper),
        }
        for row in rows
    ]


def shipped_cards() -> list[tuple[str, Card]]:
    """Return names and cards of the built-in bundles."""
    from terraseam.models.bundle.card import SHIPPED

    return [(name, Card.read(SHIPPED / name)) for name in shipped_bundles()]


def describe_architecture(rows: Sequence[Row]) -> str:
    """Describe an architecture, with all its encoders."""
    first = rows[0]
    finds = "instances, each with a mask" if first.task == "instances" else "one label for each pixel"
    return "\n".join(
        [
            f"{first.architecture}: {first.paper.title}, {first.paper.link}",
            f"outputs {finds}; build it with `terraseam models new --architecture {first.architecture}`",
            "",
            zoo_table(rows),
        ]
    )


def describe_card(card: Card, bundle: Path) -> str:
    """Describe a card."""
    network = card.network
    lines = [
        f"bundle    {card.name} {card.version} ({bundle})",
        f"network   {card.architecture}{f' on {card.encoder}' if card.encoder else ''}, in {network.name}, "
        f"{network.layout.replace('_', ' ')}; outputs {OUTPUT_TYPES[network.answer]}",
        f"classes   {', '.join(map(_class, card.classes))}",
        f"bands     {', '.join(map(_band, card.bands, card.scaling.scale, card.scaling.offset))}",
        f"fill      {', '.join(f'{value:g}' for value in card.fill)} for invalid pixels",
        f"GSD       {_gsd(card)}",
        f"stride    {card.stride} px",
        f"reach     {_describe_reach(card)}",
        f"memory    about {card.memory_per_pixel} bytes for each pixel of a chip{_squared(card)}",
        *_record("training", card.training),
        *_record("metrics", card.metrics),
        f"license   {card.license}",
        f"engines   {_engines(card)}",
        f"sha256    {card.weights_sha256}",
    ]
    return "\n".join(lines)


def _engines(card: Card) -> str:
    """Describe the engines that run a network without converting it first."""
    if card.network.name == ONNX_FILE:
        return "onnx, openvino"
    if card.openvino is None:
        return "tensorflow"
    compared = "with the same labels" if card.openvino.same_labels else "labels differ or were not compared"
    return f"tensorflow; openvino, converted by version {card.openvino.version}, {compared}"


def _squared(card: Card) -> str:
    """Describe the memory of attention, which grows with the square of the chip's pixels."""
    if not card.memory_per_pixel_squared:
        return ""
    whole = format_bytes(card.call_memory(512**2))
    return f", and {card.memory_per_pixel_squared:g} for each pixel squared: {whole} for 512 x 512 px"


def _class(info: Any) -> str:
    return f"{info.name} {info.color}{' (background)' if info.background else ''}"


def _band(name: str, scale: float, offset: float) -> str:
    return f"{name} (raw * {scale:.6g} {'-' if offset < 0 else '+'} {abs(offset):g})"


def _gsd(card: Card) -> str:
    if card.gsd == "any":
        return "any"
    ends = card.gsd if isinstance(card.gsd, tuple) else (card.gsd,)
    return " to ".join(format_gsd(float(end)) for end in ends)


def _reach(reach: Reach | None) -> str:
    """Format a reach for a table: top, bottom, left, right, or one number if all are equal."""
    if reach is None:
        return "whole chip"
    sides = (reach.top, reach.bottom, reach.left, reach.right)
    return f"{sides[0]} px" if len(set(sides)) == 1 else f"{', '.join(map(str, sides))} px"


def _describe_reach(card: Card) -> str:
    source = SOURCES[card.reach_source]
    if card.reach is None:
        halo = f", and needs a halo of {card.halo} px" if card.halo is not None else ""
        return f"not finite ({source}): it sees the whole chip{halo}"
    sides = (
        f"{card.reach.top} px up, {card.reach.bottom} down, {card.reach.left} left, {card.reach.right} right"
    )
    return f"{sides} ({source})"


def _record(name: str, values: Mapping[str, Any]) -> list[str]:
    """Return a record of the card as lines, one for each entry."""
    lines = [f"{key}: {_short(value)}" for key, value in values.items()]
    return [f"{name if number == 0 else '':<9} {line}" for number, line in enumerate(lines)]


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_short(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value))
    return str(value)
