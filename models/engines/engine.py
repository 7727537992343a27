"""The engine that runs a bundle: built once a process and shared by its threads."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from models.card import Card
from models.engines.profile import Profile
from models.scaling import scale


class Network(Protocol):
    """A network on some engine; several threads may call it at once."""

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips ``(samples, height, width, bands)``, float32; returns all that it makes."""


class Engine:
    """A bundle at work: raw raster values in, what its network says of them out.

    Attributes:
        card: Card of the bundle.
        profile: How the call runs.
        calls: Calls of the network so far.

    Raises:
        CardError: If the bundle is not what its card says.
        EngineError: If the engine already runs in this process in another way than the profile says.
    """

    def __init__(self, bundle: str | os.PathLike[str], profile: Profile) -> None:
        self.card = Card.read(bundle)
        self.profile = profile
        self.calls = 0
        self._lock = threading.Lock()
        self._network = _network(Path(bundle), profile)

    def logits(self, chips: np.ndarray) -> np.ndarray:
        """Run the network; several threads may do so at once.

        Args:
            chips: Raw values of any raster type, shape ``(n, height, width, bands)``, with height and width
                multiples of the stride; never written to.

        Returns:
            Logits, float32, shape ``(n, height, width, classes)``.

        Raises:
            ValueError: If there are no chips, or they do not fit the network.
        """
        self._check(chips)
        samples = self.profile.samples
        parts = []
        for first in range(0, len(chips), samples):
            (made,) = self._network(self._feed(chips[first : first + samples]))
            parts.append(made[: len(chips) - first])
            with self._lock:
                self.calls += 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _feed(self, chips: np.ndarray) -> np.ndarray:
        """Return what one call takes: chips scaled, the last repeated where there are fewer than a call takes."""
        batch = scale(chips, self.card.scaling)
        missing = self.profile.samples - len(batch)
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        return batch

    def _check(self, chips: np.ndarray) -> None:
        bands, stride = len(self.card.bands), self.card.stride
        if chips.ndim != 4 or not len(chips) or chips.shape[3] != bands:
            raise ValueError(f"{self.card.name} wants chips (1+, height, width, {bands}), got {chips.shape}")
        height, width = chips.shape[1:3]
        if height % stride or width % stride or not height or not width:
            raise ValueError(
                f"{self.card.name} wants chips on multiples of {stride} px, got {height} x {width} px"
            )


def _network(bundle: Path, profile: Profile) -> Network:
    """Load the network of a bundle on the engine of a profile."""
    from models.engines.tensorflow import TensorflowNetwork

    return TensorflowNetwork(bundle, profile)


_engines: dict[tuple[Path, Profile], Engine] = {}
_engines_lock = threading.Lock()


def shared_engine(bundle: str | os.PathLike[str], profile: Profile) -> Engine:
    """Return the one engine of this process for a bundle and a profile, made at the first call."""
    key = (Path(bundle).resolve(), profile)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(key[0], profile)
        return _engines[key]
