"""Measure rates of some networks on one device, in a separate process: part of gpu.py.

For each chip size everything is compiled; then the process prints `ready` and waits for a line before timing
anything, so that processes compiling at the same time do not disturb it. It prints each result as one line of JSON,
and `done` at the end of a size.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from jitted import MODES, flops, lowered, seconds_a_call, weights_of

from terraseam.models.bundle.card import find_bundle
from terraseam.models.zoo import build

Result = dict[str, Any]
THREADS = 4
"""Number of calls that a process compiles at the same time."""


@contextmanager
def drawn_by_numpy() -> Iterator[None]:
    """Draw random weights with numpy: JAX would first compile a kernel for each shape."""
    import keras

    def draw(_: Any, shape: Sequence[int], **__: Any) -> np.ndarray:
        inputs = max(1, int(np.prod(shape[:-1])))
        return np.random.default_rng(7).normal(0, inputs**-0.5, shape).astype(np.float32)

    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", draw):
        yield


def network_of(name: str, classes: int) -> Any:
    """Return a bundle's network, or one of the zoo with random weights, built on the CPU."""
    import jax

    from terraseam.models.bundle.archive import load_model

    with jax.default_device(jax.devices("cpu")[0]):
        if ":" not in name:
            return load_model(find_bundle(name))
        architecture, encoder = name.split(":")
        with drawn_by_numpy():
            return build(architecture, encoder, 3, classes)


@dataclass
class Subject:
    """A network to be timed.

    Attributes:
        name: Name of its bundle, or architecture and encoder.
        classes: Number of classes, for networks with random weights.
    """

    name: str
    classes: int
    model: Any = field(init=False)
    weights: Any = field(init=False)
    lock: Any = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        import jax

        self.model = network_of(self.name, self.classes)
        self.weights = weights_of(self.model, jax.devices()[0])

    def compiled(self, mode: str, shape: tuple[int, ...], deadline: float) -> Any:
        """Return a compiled call and its costs, an error message, or None if it is too late."""
        if time.monotonic() > deadline:
            return None
        start = time.monotonic()
        try:
            with self.lock:
                traced = lowered(self.model, mode, self.weights, shape)
            call = traced.compile()
            with self.lock:
                counted = flops(self.model, shape)
        except Exception as error:
            return first_line(error)
        return call, {"flops": counted, "compile_seconds": time.monotonic() - start, **costs(call)}

    def timed(
        self, call: Any, about: Mapping[str, float], chips: Sequence[np.ndarray], least: float
    ) -> Result:
        """Return the timing of a call, or why it failed."""
        import jax

        there = [jax.device_put(one) for one in chips]
        try:
            seconds = seconds_a_call(lambda one: call(self.weights, one), there, least)
            back = seconds_a_call(
                lambda one: jax.tree.map(np.asarray, call(self.weights, jax.device_put(one))), chips, 0
            )
        except Exception as error:
            return {**about, "error": first_line(error)}
        pixels = chips[0].size / 3
        return {
            **about,
            "seconds": seconds,
            "megapixels_per_second": pixels / seconds / 1e6,
            "megapixels_per_second_and_back": pixels / back / 1e6,
            "megaflop_per_pixel": about["flops"] / pixels / 1e6,
            "teraflops": about["flops"] / seconds / 1e12,
            "gigabytes_per_second": about["bytes"] / seconds / 1e9,
            "bytes_of_memory_per_pixel": about["temporary_bytes"] / pixels,
        }


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def costs(call: Any) -> dict[str, float]:
    """Return the compiler's costs of a call: FLOPs, bytes read and written, and temporary bytes."""
    analysis, memory = call.cost_analysis() or {}, call.memory_analysis()
    return {
        "compiled_flops": analysis.get("flops", 0),
        "bytes": analysis.get("bytes accessed", 0),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", 0),
    }


def main(asked: Mapping[str, Any]) -> None:
    """Compile and time networks, given their names, chip sizes, classes, and limits in seconds."""
    deadline = time.monotonic() + (asked["seconds"] or float("inf"))
    subjects = [Subject(name, asked["classes"]) for name in asked["networks"]]
    for side, count in asked["chips"]:
        shape = (count, side, side, 3)
        # Mode by mode: if time runs out, all networks have some results.
        wanted = [(subject, mode) for mode in MODES for subject in subjects]
        with ThreadPoolExecutor(THREADS) as pool:
            made = list(pool.map(lambda one, shape=shape: one[0].compiled(one[1], shape, deadline), wanted))
        chips = [np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32) for seed in (1, 2)]
        print("ready", flush=True)
        sys.stdin.readline()
        for (subject, mode), one in zip(wanted, made, strict=True):
            if one is None:
                continue
            figures = {"error": one} if isinstance(one, str) else subject.timed(*one, chips, asked["series"])
            told = {"network": subject.name, "mode": mode, "side": side, "count": count, **figures}
            print(json.dumps(told), flush=True)
        print("done", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    main(json.loads(sys.argv[1]))
