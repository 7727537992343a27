"""The engine that suits bundles and machine."""

import importlib.util

import nets
import pytest

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import ConvertedNetwork, NetworkFile
from terraseam.models.engines.choice import automatic_engine, missing_packages
from terraseam.models.reach.reach import Reach

SAME = ConvertedNetwork("2026.4.1", "tensorflow 2.21.0", "3.15.1", "0" * 64, "1" * 64, "2" * 64, True)
OTHER = ConvertedNetwork("2026.4.1", "tensorflow 2.21.0", "3.15.1", "0" * 64, "1" * 64, "2" * 64, False)
ONNX = NetworkFile("model.onnx")


def card(**changes):
    fields = {
        "format": 2,
        "encoder": None,
        "task": "semantic",
        "network": NetworkFile(),
        "stride": 4,
        "reach": Reach(4, 4, 4, 4),
        "reach_source": "graph",
        "halo": None,
        "memory_per_pixel": 4,
        "weights_sha256": "0" * 64,
        "training": {},
        "metrics": {},
    }
    return Card(**{**fields, **nets.card_fields(3, 3), **changes})


@pytest.fixture
def without(monkeypatch):
    """Return a function that hides packages."""
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))

    return hide


DETECTOR = {"task": "instances", "network": NetworkFile(answer="instances"), "openvino": SAME}


@pytest.mark.parametrize(
    ("cards", "on_cpu", "engine"),
    [
        ([{"openvino": SAME}], True, "openvino"),
        ([{"openvino": SAME}], False, "tensorflow"),
        ([{"openvino": OTHER}], True, "tensorflow"),
        ([{}], True, "tensorflow"),
        ([{"openvino": SAME}, {"openvino": SAME}], True, "openvino"),
        ([{"openvino": SAME}, {"openvino": OTHER}], True, "tensorflow"),
        ([{"openvino": SAME}, {}], True, "tensorflow"),
        ([DETECTOR], True, "tensorflow"),
        ([{"network": ONNX}], True, "onnx"),
        ([{"network": ONNX}], False, "onnx"),
    ],
)
def test_openvino_runs_what_it_labels_alike_on_a_cpu(cards, on_cpu, engine):
    chosen = automatic_engine([card(**changes) for changes in cards], on_cpu=on_cpu)
    assert chosen.engine == engine and chosen.why and not chosen.openvino_would_suit


def test_without_openvino_tensorflow_runs_and_the_loss_is_known(without):
    without("openvino")
    chosen = automatic_engine([card(openvino=SAME)], on_cpu=True)
    assert (chosen.engine, chosen.openvino_would_suit) == ("tensorflow", True)
    assert not automatic_engine([card(openvino=OTHER)], on_cpu=True).openvino_would_suit


def test_converted_networks_need_no_tensorflow(without):
    without("tensorflow", "openvino")
    assert missing_packages("openvino", [card(openvino=SAME)]) == ["openvino"]
    assert missing_packages("openvino", [card(openvino=SAME), card()]) == ["openvino", "tensorflow"]
    assert missing_packages("tensorflow", [card(openvino=SAME)]) == ["tensorflow"]
    assert missing_packages("onnx", [card(network=ONNX)]) == []
