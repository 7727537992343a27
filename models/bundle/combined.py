"""Several bundles as one, and chips seen from all sides: what a plan must know of them, from their cards alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import astuple, replace

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.reach.reach import Reach

MEAN_BYTES = 12
"""Bytes for each class and pixel of the chip that averaging takes: logits, scores and their sum, float32."""


def combined_card(cards: Sequence[Card], augment: bool = False) -> Card:
    """The card of what several bundles say together: the mean of their scores.

    A single bundle that is not augmented keeps its card.

    Args:
        cards: Cards of the members; `mismatches` finds nothing wrong with them.
        augment: Whether every chip is also seen turned and mirrored: then the network's reach to one side is one
            to every side.

    Returns:
        A card with the names, versions and licences of all; with a stride and a reach that hold for each; with
        the memory of all. Its bands, scaling and fill value are those of the first.
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
    )


CERTAINTY = ("graph", "measured", "declared")
"""Where a reach is known from, the surest first."""


def mismatches(cards: Sequence[Card]) -> list[str]:
    """Why bundles cannot be averaged, one sentence a reason; none where they can, or where there is only one."""
    if len(cards) == 1:
        return []
    first, reasons = cards[0], []
    for card in cards:
        if card.task != "semantic":
            reasons.append(
                f"{_called(card)} finds instances, and an ensemble averages scores of pixels; run it alone"
            )
    for card in cards[1:]:
        pair = f"{_called(first)} and {_called(card)} cannot be averaged"
        names = [[info.name for info in one.classes] for one in (first, card)]
        if names[0] != names[1]:
            reasons.append(
                f"{pair}: the one has the classes {', '.join(names[0])}, the other {', '.join(names[1])}"
            )
        if len(first.bands) != len(card.bands):
            reasons.append(f"{pair}: the one wants {len(first.bands)} bands, the other {len(card.bands)}")
    return reasons


def _called(card: Card) -> str:
    return f"{card.name} {card.version}"


def _joined(texts: Sequence[str]) -> str:
    """Texts in order, each once."""
    return " + ".join(dict.fromkeys(texts))


def _reach(cards: Sequence[Card], augment: bool) -> Reach | None:
    """The most that a member looks to each side; None where one sees the whole chip."""
    reaches = [astuple(card.reach) for card in cards if card.reach is not None]
    if len(reaches) < len(cards):
        return None
    sides = [max(side) for side in zip(*reaches, strict=True)]
    return Reach(*([max(sides)] * 4 if augment else sides))


def _halo(cards: Sequence[Card]) -> int | None:
    """The context that all members have enough of, where some have no finite reach and say what they want."""
    wanted = [card.halo for card in cards if card.reach is None and card.halo is not None]
    finite = [max(astuple(card.reach)) for card in cards if card.reach is not None]
    return max([*wanted, *finite]) if wanted else None
