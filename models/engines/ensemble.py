"""Ensembles and test-time augmentation: average the scores of several engines and of flipped and rotated chips."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from terraseam.models.bundle.combined import combined_card, mismatches
from terraseam.models.engines.engine import Engine, shared_engine
from terraseam.models.engines.outputs import logits_of_scores, scores_of
from terraseam.models.engines.profile import EngineError, Profile
from terraseam.models.engines.symmetry import SYMMETRIES
from terraseam.models.engines.workplace import Workplace


class Ensemble:
    """Engines whose scores are averaged, optionally with test-time augmentation.

    The mean is taken pixel by pixel and in a fixed order, which preserves what the engines guarantee: the same bits
    for the same chip, and tiles that equal the whole raster if they are read with the reach of its card.

    Args:
        engines: The members; each scales chips according to its own card.
        augment: Whether each member sees every chip in all eight symmetries of the square.

    Attributes:
        card: Combined card of the members.

    Raises:
        EngineError: If the members' outputs cannot be averaged.
    """

    def __init__(self, engines: Sequence[Engine], augment: bool) -> None:
        cards = [engine.card for engine in engines]
        reasons = mismatches(cards)
        if augment and cards[0].task != "semantic":
            reasons.append(
                f"{cards[0].name} finds instances, which cannot be averaged over rotated and flipped chips"
            )
        if reasons:
            raise EngineError("; ".join(reasons))
        self.card = combined_card(cards, augment)
        self._engines = tuple(engines)
        self._symmetries = SYMMETRIES if augment else SYMMETRIES[:1]

    @property
    def calls(self) -> int:
        """Number of calls of all networks so far."""
        return sum(engine.calls for engine in self._engines)

    def logits(self, chips: np.ndarray) -> np.ndarray:
        """Run all networks on all transformed chips; thread-safe.

        Args:
            chips: Raw values of any raster type, shape ``(n, height, width, bands)``, with height and width
                multiples of the stride; not modified.

        Returns:
            Logarithms of the mean scores, float32, shape ``(n, height, width, classes)``.

        Raises:
            ValueError: If there are no chips, or they do not fit the networks.
        """
        scores = self._scores(chips)
        total = next(scores).copy()
        for others in scores:
            total += others
        total /= len(self._symmetries) * len(self._engines)
        return logits_of_scores(total)

    def _scores(self, chips: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the scores of every network on every transformed chip, transformed back."""
        for symmetry in self._symmetries:
            turned = np.ascontiguousarray(symmetry.turned(chips))
            for engine in self._engines:
                yield symmetry.turned_back(scores_of(engine.logits(turned)))


def shared_ensemble(
    bundles: Sequence[str | os.PathLike[str]], profile: Profile, workplace: Workplace, augment: bool = False
) -> Engine | Ensemble:
    """Return the engine of a single bundle, or an ensemble of engines shared by this process."""
    engines = [shared_engine(bundle, profile, workplace) for bundle in bundles]
    return engines[0] if len(engines) == 1 and not augment else Ensemble(engines, augment)
