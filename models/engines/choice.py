"""Choose the engine that runs a bundle, and list the packages it needs, without importing any."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from terraseam.models.bundle.card import Card

ENGINES = ("tensorflow", "openvino", "onnx")
PRECISIONS = ("float32", "bfloat16", "float16")
RUNTIMES = {"tensorflow": "tensorflow", "openvino": "openvino", "onnx": "onnxruntime"}
CHECKERS = {"tensorflow": (), "openvino": ("onnx",), "onnx": ()}
"""Packages that check ONNX files before an engine that some invalid files would crash."""
CONVERTERS = {"tensorflow": (), "openvino": ("tensorflow",), "onnx": ("tensorflow", "onnx", "tf2onnx")}
ONNX_FILE = "model.onnx"


AUTO = "auto"
"""Name of the choice of an engine by what suits bundles and machine."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine of a run.

    Attributes:
        engine: Its name.
        why: Why it runs, as a phrase; empty if it was requested.
        openvino_would_suit: Whether OpenVINO would have been chosen if it were installed.
    """

    engine: str
    why: str = ""
    openvino_would_suit: bool = False


def automatic_engine(cards: Sequence[Card], *, on_cpu: bool) -> EngineChoice:
    """Choose the engine that suits bundles and machine.

    OpenVINO runs networks on a CPU if it is installed and all their bundles hold them converted, compared, and with the
    same labels; ONNX Runtime runs them if any is an ONNX file; TensorFlow runs all others.

    Args:
        cards: Cards of the bundles.
        on_cpu: Whether networks run on this machine, and on its CPU.
    """
    if any(card.network.name == ONNX_FILE for card in cards):
        return EngineChoice("onnx", f"the bundle holds a {ONNX_FILE}")
    if not on_cpu:
        return EngineChoice("tensorflow", "on GPUs and other machines")
    if any(card.task != "semantic" for card in cards):
        return EngineChoice("tensorflow", "for networks that find instances")
    if not all(card.openvino and card.openvino.same_labels for card in cards):
        return EngineChoice("tensorflow", "no other engine is known to give the same labels")
    if importlib.util.find_spec(RUNTIMES["openvino"]) is None:
        return EngineChoice("tensorflow", "OpenVINO is not installed", openvino_would_suit=True)
    return EngineChoice("openvino", "the fastest engine with the same labels")


def missing_packages(engine: str, cards: Sequence[Card]) -> list[str]:
    """Return the packages an engine needs to run the networks of bundles that are not installed here."""
    checks = any(card.network.name == ONNX_FILE for card in cards)
    converts = any(
        card.network.name != ONNX_FILE and not (engine == "openvino" and card.openvino) for card in cards
    )
    needed = [
        RUNTIMES[engine],
        *(CHECKERS[engine] if checks else ()),
        *(CONVERTERS[engine] if converts else ()),
    ]
    return [name for name in needed if importlib.util.find_spec(name) is None]
