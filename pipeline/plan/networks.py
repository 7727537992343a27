"""Read the networks of a run: their cards, the combined card, and the engine that runs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from terraseam.models.bundle.card import Card, check_weights
from terraseam.models.bundle.combined import combined_card
from terraseam.models.engines.choice import chosen_engine
from terraseam.models.errors import CardError, NetworkRefusedError
from terraseam.models.saved_models.facts import SAVED_MODEL, check_saved_model
from terraseam.pipeline.inputs.bundles import bundle_folder, known_as
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.model_reasons import model_reasons


@dataclass(frozen=True)
class Networks:
    """The networks of a run; see `terraseam.pipeline.plan.plan.Plan`."""

    bundles: tuple[str, ...]
    cards: tuple[Card, ...]
    card: Card
    engine: str


def read_networks(options: SegmentOptions) -> tuple[Networks | None, list[str]]:
    """Read the cards of all bundles and choose the engine.

    Returns:
        The networks, or None if one is unreadable or they are incompatible; and every reason for that.
    """
    bundles: dict[str, Path] = {}
    cards: list[Card] = []
    reasons: list[str] = []
    for name in options.models:
        try:
            bundle = bundle_folder(name)
            card = Card.read(bundle)
            check_weights(bundle, card)
            if card.network.name == SAVED_MODEL:
                check_saved_model(bundle / SAVED_MODEL)
        except (CardError, NetworkRefusedError) as error:
            reasons.append(str(error))
            continue
        if any(bundle.samefile(other) for other in bundles.values()):
            reasons.append(f"--model {name} is given twice; give each bundle once")
        bundles[known_as(name, bundle)] = bundle
        cards.append(card)
    if reasons:
        return None, reasons
    engine = chosen_engine(options.engine, [card.network.name for card in cards])
    reasons = model_reasons(options, cards, engine)
    if reasons:
        return None, reasons
    return Networks(tuple(bundles), tuple(cards), combined_card(cards, options.augment), engine), []
