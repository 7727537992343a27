"""Read the networks of a run: their cards, the combined card, and the engine that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from terraseam.models.bundle.card import Card, check_converted, check_weights
from terraseam.models.bundle.combined import combined_card
from terraseam.models.engines.choice import AUTO, PRECISIONS, EngineChoice, automatic_engine
from terraseam.models.engines.profile import may_have_gpu
from terraseam.models.errors import CardError, NetworkRefusedError
from terraseam.models.saved_models.facts import SAVED_MODEL, check_saved_model
from terraseam.pipeline.inputs.bundles import bundle_folder, known_as
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.model_reasons import model_reasons
from terraseam.pipeline.plan.plan import score_fields
from terraseam.pipeline.storage.choices import Choices
from terraseam.pipeline.storage.kept_choices import kept_choices


@dataclass(frozen=True)
class Networks:
    """The networks of a run; see `terraseam.pipeline.plan.plan.Plan`.

    Attributes:
        choice: The engine that runs them.
        kept: Choices with which the work folder was begun for these networks; None if it is new for them.
    """

    bundles: tuple[str, ...]
    cards: tuple[Card, ...]
    card: Card
    choice: EngineChoice
    kept: Choices | None


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
    kept = _kept_choices(options, cards)
    choice = _choose_engine(options, cards, kept)
    reasons = model_reasons(options, cards, choice.engine)
    if choice.engine == "openvino":
        reasons += _converted_reasons(bundles.values(), cards)
    if reasons:
        return None, reasons
    return Networks(tuple(bundles), tuple(cards), combined_card(cards, options.augment), choice, kept), []


def _kept_choices(options: SegmentOptions, cards: Sequence[Card]) -> Choices | None:
    """Return the choices of earlier runs with the same networks in the work folder."""
    try:
        return kept_choices(options.work_folder, options.output, score_fields(cards, options.augment))
    except OSError:
        # Folders that cannot be read are reported with all other reasons.
        return None


def _choose_engine(options: SegmentOptions, cards: Sequence[Card], kept: Choices | None) -> EngineChoice:
    """Return the engine that was requested, that earlier runs used, or that suits bundles and machine."""
    if options.engine != AUTO:
        return EngineChoice(options.engine)
    if options.precision != PRECISIONS[0]:
        return EngineChoice("tensorflow", f"it computes in {options.precision}")
    suits = automatic_engine(cards, on_cpu=options.runs_here and not may_have_gpu())
    if kept is None or not options.runs_here or suits.engine in (kept.engine, "onnx"):
        return suits
    return EngineChoice(kept.engine, "as in earlier runs in this work folder")


def _converted_reasons(bundles: Iterable[Path], cards: Iterable[Card]) -> list[str]:
    """Return which bundles do not hold the converted network that their cards describe."""
    reasons = []
    for bundle, card in zip(bundles, cards, strict=True):
        try:
            check_converted(bundle, card)
        except CardError as error:
            reasons.append(str(error))
    return reasons
