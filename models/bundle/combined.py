"""Combine the cards of several bundles into that of their ensemble, with or without test-time augmentation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple, replace

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.reach.reach import Reach

MEAN_BYTES = 12
"""Bytes per class and pixel of the chip used by averaging: logits, scores and their sum, float32."""


def combined_card(cards: Sequence[Card], augment: bool = False) -> Card:
    """Return the card of an ensemble that averages the scores of several bundles.

    A single bundle without augmentation keeps its card.

    Args:
        cards: Cards of the members, for which `mismatches` is empty.
        augment: Whether test-time augmentation is used (flips and rotations of every chip): then the reach to every
            side is the largest of all sides.

    Returns:
        A card with the names, versions and licences of all members, a stride and a reach valid for each, and
        the memory of all. Bands, scaling and fill value are those of the first.
    """
    first = cards[0]
    if len(cards) == 1 and not augment:
        return first
    digests = "".join(card.weights_sha256 for card in cards)
    return replace(
        first,
        name=_joined([card.name for card in cards]),
        version=_joined([card.version for card in cards]),
        architecture=_joined([card.architecture for card in cards]),
        encoder=_joined([card.encoder for card in cards if card.encoder]) or None,
        network=NetworkFile(),
        stride=math.lcm(*(card.stride for card in cards)),
        reach=_reach(cards, augment),
        reach_source=max((card.reach_source for card in cards), key=CERTAINTY.index),
        halo=_halo(cards),
        memory_per_pixel=sum(card.memory_per_pixel for card in cards) + MEAN_BYTES * len(first.classes),
        memory_per_pixel_squared=sum(card.memory_per_pixel_squared for card in cards),
        weights_sha256=hashlib.sha256(digests.encode()).hexdigest(),
        license=_joined([card.license for card in cards]),
        openvino=None,
    )


CERTAINTY = ("graph", "measured", "declared")
"""Sources of a reach, most reliable first."""


def mismatches(cards: Sequence[Card]) -> list[str]:
    """Return the reasons why bundles cannot be averaged, one sentence each; empty if they can."""
    if len(cards) == 1:
        return []
    first, reasons = cards[0], []
    for card in cards:
        if card.task != "semantic":
            reasons.append(
                f"{_called(card)} finds instances, but an ensemble averages pixel scores; run it alone"
            )
    for card in cards[1:]:
        pair = f"{_called(first)} and {_called(card)} cannot be averaged"
        names = [[info.name for info in member.classes] for member in (first, card)]
        if names[0] != names[1]:
            reasons.append(
                f"{pair}: one has the classes {', '.join(names[0])}, the other {', '.join(names[1])}"
            )
        if len(first.bands) != len(card.bands):
            reasons.append(f"{pair}: one expects {len(first.bands)} bands, the other {len(card.bands)}")
    return reasons


def _called(card: Card) -> str:
    return f"{card.name} {card.version}"


def _joined(texts: Sequence[str]) -> str:
    """Join texts in order, without duplicates."""
    return " + ".join(dict.fromkeys(texts))


def _reach(cards: Sequence[Card], augment: bool) -> Reach | None:
    """Return the largest reach of the members to each side; None if that of any is the whole chip."""
    reaches = [astuple(card.reach) for card in cards if card.reach is not None]
    if len(reaches) < len(cards):
        return None
    sides = [max(side) for side in zip(*reaches, strict=True)]
    return Reach(*([max(sides)] * 4 if augment else sides))


def _halo(cards: Sequence[Card]) -> int | None:
    """Return a halo sufficient for all members, if some have no finite reach but state a halo; else None."""
    halos = [card.halo for card in cards if card.reach is None and card.halo is not None]
    finite = [max(astuple(card.reach)) for card in cards if card.reach is not None]
    return max([*halos, *finite]) if halos else None
