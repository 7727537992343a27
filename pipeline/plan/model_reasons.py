"""Check that bundles, engine and options are compatible, and note what the user should know about them."""

from __future__ import annotations

from collections.abc import Sequence

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.combined import mismatches
from terraseam.models.engines.choice import AUTO, ONNX_FILE, EngineChoice, missing_packages
from terraseam.models.engines.profile import may_have_gpu
from terraseam.pipeline.machines import NO_ACCELERATOR
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.band_reasons import order_mismatches


def model_reasons(options: SegmentOptions, cards: Sequence[Card], engine: str) -> list[str]:
    """Return why bundles, engine and options are incompatible, one sentence each."""
    return [
        *mismatches(cards),
        *order_mismatches(cards),
        *_augment_reasons(options, cards),
        *_stitch_reasons(options, cards),
        *_engine_reasons(options, cards, engine),
        *_precision_reasons(options, cards, engine),
        *_accelerator_reasons(options, engine),
    ]


def model_notes(options: SegmentOptions, cards: Sequence[Card], choice: EngineChoice) -> list[str]:
    """Return notes on the engine, precision and the members of an ensemble."""
    notes = []
    if choice.openvino_would_suit:
        notes.append(
            "OpenVINO would give the same labels in about two thirds of the CPU time; install it with "
            "pip install 'terraseam[openvino]'"
        )
    if options.precision != "float32" and options.runs_here and not may_have_gpu():
        notes.append(
            f"--precision {options.precision} is meant for GPUs: on a CPU it is slower than float32, and less precise"
        )
    if len({card.fill for card in cards}) > 1:
        fill = ", ".join(f"{value:g}" for value in cards[0].fill)
        notes.append(
            f"invalid pixels are fed to all networks with the fill values of {cards[0].name}: {fill}"
        )
    return notes


def _augment_reasons(options: SegmentOptions, cards: Sequence[Card]) -> list[str]:
    return [
        f"--augment averages pixel scores, but {card.name} finds instances; leave it out"
        for card in cards
        if options.augment and card.task != "semantic"
    ]


def _stitch_reasons(options: SegmentOptions, cards: Sequence[Card]) -> list[str]:
    return [
        f"--stitch blend averages pixel scores, but {card.name} finds instances; leave it out"
        for card in cards
        if options.stitch == "blend" and card.task != "semantic"
    ]


def _engine_reasons(options: SegmentOptions, cards: Sequence[Card], engine: str) -> list[str]:
    """Return which networks an engine cannot run, or which packages it lacks for a local run."""
    if engine == "tensorflow":
        return [
            f"{card.name} is a {ONNX_FILE}, which TensorFlow does not run; pass --engine onnx or --engine openvino"
            for card in cards
            if card.network.name == ONNX_FILE
        ]
    missing = missing_packages(engine, cards) if options.runs_here else []
    if not missing:
        return []
    lacks = f"the engine {engine} needs {' and '.join(missing)}, which {_is(missing)} not installed here"
    remedy = f"install with pip install 'terraseam[{engine}]'"
    if options.engine == AUTO and engine != "onnx":
        return [
            f"earlier runs in {options.work_folder} used {engine}, and {lacks}; {remedy}, or pass --engine tensorflow "
            "to infer everything again"
        ]
    return [f"{lacks}; {remedy}"]


def _accelerator_reasons(options: SegmentOptions, engine: str) -> list[str]:
    """Return the reason if an accelerator is requested for a CPU-only engine."""
    if engine == "tensorflow" or options.accelerator in (None, NO_ACCELERATOR):
        return []
    return [f"--engine {engine} runs on the CPU; leave --accelerator out"]


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _precision_reasons(options: SegmentOptions, cards: Sequence[Card], engine: str) -> list[str]:
    option = f"--precision {options.precision}"
    if options.precision == "float32":
        return []
    if engine != "tensorflow":
        return [
            f"{option} is for the engine tensorflow, but {engine} computes in float32; leave one of them out"
        ]
    return [
        f"{option} is for Keras networks, and {card.name} is a SavedModel, which has a fixed precision; leave it out"
        for card in cards
        if card.network.name == "saved_model"
    ]
