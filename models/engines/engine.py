"""The engine of a bundle: checks and scales chips, calls the network, and converts its outputs to logits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.detection.instances import ChipDetections
from terraseam.models.engines.building import building
from terraseam.models.engines.outputs import logits_of
from terraseam.models.engines.profile import EngineError, Profile
from terraseam.models.engines.scaling import in_layout, scale
from terraseam.models.engines.workplace import Workplace


class Network(Protocol):
    """A network on some engine; thread-safe."""

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips ``(samples, height, width, bands)``, float32, and return all outputs."""


class Engine:
    """A bundle ready to run: maps raw raster values to logits or instances.

    Args:
        bundle: Folder of the bundle.
        profile: Execution profile.
        workplace: Folder for converted networks, and number of concurrent calls.

    Attributes:
        card: Card of the bundle.
        profile: Execution profile.
        calls: Calls of the network so far.

    Raises:
        CardError: If the bundle does not match its card.
        EngineError: If the engine is not installed, cannot run the network, or already runs in this process
            with settings other than the profile's.
    """

    def __init__(
        self, bundle: str | os.PathLike[str], profile: Profile, workplace: Workplace | None = None
    ) -> None:
        self.card = Card.read(bundle)
        self.profile = profile
        self.calls = 0
        self._lock = threading.Lock()
        with building(self.card, profile.engine):
            self._network = _network(Path(bundle), self.card, profile, workplace or Workplace())

    def logits(self, chips: np.ndarray) -> np.ndarray:
        """Run the network; thread-safe.

        Args:
            chips: Raw values of any raster type, shape ``(n, height, width, bands)``, with height and width
                multiples of the stride; not modified.

        Returns:
            Logits, float32, shape ``(n, height, width, classes)``.

        Raises:
            ValueError: If there are no chips, or they do not fit the network.
            EngineError: If the network finds instances, or its output does not match its card.
        """
        self._check(chips, "semantic")
        height, width = chips.shape[1:3]
        parts = []
        for outputs, count in self._outputs(chips):
            if len(outputs) != 1:
                raise EngineError(
                    f"the network of {self.card.name} outputs {len(outputs)} arrays; it must output one map of "
                    f"{self.card.network.answer}"
                )
            parts.append(logits_of(outputs[0], self.card, height, width)[:count])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def instances(self, chips: np.ndarray) -> list[ChipDetections]:
        """Run a detector; thread-safe.

        Args:
            chips: As for `logits`.

        Returns:
            The instances of each chip.

        Raises:
            ValueError: If there are no chips, or they do not fit the network.
            EngineError: If the network labels pixels, or its output does not match its card.
        """
        from terraseam.models.detection.paste import chip_instances

        self._check(chips, "instances")
        height, width = chips.shape[1:3]
        detections = []
        for outputs, count in self._outputs(chips):
            if len(outputs) != 4:
                raise EngineError(
                    f"the network of {self.card.name} outputs {len(outputs)} arrays; a detector outputs four: "
                    f"boxes, labels, "
                    "scores, masks"
                )
            for boxes, labels, scores, masks in islice(zip(*outputs, strict=True), count):
                instances = chip_instances(boxes, labels, scores, masks, height, width)
                detections.append(ChipDetections(tuple(instances), full=bool((scores > 0).all())))
        return detections

    def _outputs(self, chips: np.ndarray) -> Iterator[tuple[tuple[np.ndarray, ...], int]]:
        """Yield outputs of batches of the profile's size, each with its number of requested chips."""
        samples = self.profile.samples
        for first in range(0, len(chips), samples):
            batch = chips[first : first + samples]
            yield self._network(self._feed(batch)), len(batch)
            with self._lock:
                self.calls += 1

    def _feed(self, chips: np.ndarray) -> np.ndarray:
        """Return the input of one call: scaled chips, the last repeated to fill the batch."""
        batch = scale(chips, self.card.scaling)
        missing = self.profile.samples - len(batch)
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        return in_layout(batch, self.card.network.layout)

    def _check(self, chips: np.ndarray, task: str) -> None:
        if self.card.task != task:
            raise EngineError(
                f"{self.card.name} is for {self.card.task}, not for {task}; use it for {self.card.task}"
            )
        bands, stride = len(self.card.bands), self.card.stride
        if chips.ndim != 4 or not len(chips) or chips.shape[3] != bands:
            raise ValueError(
                f"{self.card.name} expects chips (1+, height, width, {bands}), got {chips.shape}"
            )
        height, width = chips.shape[1:3]
        if height % stride or width % stride or not height or not width:
            raise ValueError(
                f"{self.card.name} expects chips on multiples of {stride} px, got {height} x {width} px"
            )


def _network(bundle: Path, card: Card, profile: Profile, workplace: Workplace) -> Network:
    """Load the network of a bundle on the engine of a profile."""
    if profile.engine == "openvino":
        from terraseam.models.engines.openvino import OpenvinoNetwork

        return OpenvinoNetwork(bundle, card, profile, workplace)
    if profile.engine == "onnx":
        from terraseam.models.engines.onnx import OnnxNetwork

        return OnnxNetwork(bundle, card, profile, workplace)
    from terraseam.models.engines.tensorflow import TensorflowNetwork

    return TensorflowNetwork(bundle, card, profile)


_engines: dict[tuple[Path, Profile, Workplace], Engine] = {}
_engines_lock = threading.Lock()


def shared_engine(
    bundle: str | os.PathLike[str], profile: Profile, workplace: Workplace | None = None
) -> Engine:
    """Return this process's shared engine for a bundle, a profile and a workplace, built on first use."""
    key = (Path(bundle).resolve(), profile, workplace or Workplace())
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(*key)
        return _engines[key]
