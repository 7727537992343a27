"""Networks that their engine cannot build: one sentence that names them, and no chip to blame."""

import dataclasses
import json
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from engine_bundles import onnx_bundle
from foreign_networks import Graph
from nets import brightest_band, make_bundle
from places import ROOT

from terraseam.models.bundle.card import Card, network_sha256
from terraseam.models.engines.building import building
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.errors import CardError


def of_keras(folder):
    """A Keras network that names an activation that Keras does not have."""
    bundle = make_bundle(folder, brightest_band())
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for layer in config["config"]["layers"]:
        if "activation" in layer["config"]:
            layer["config"]["activation"] = "no_such_activation"
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(bundle / "model.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    sha256 = network_sha256(bundle / "model.keras")
    dataclasses.replace(Card.read(bundle), weights_sha256=sha256).write(bundle)
    return bundle


def of_onnx(operator, **attributes):
    """An ONNX network that names an operator that ONNX does not have, or one without what it needs."""

    def make(folder):
        graph = Graph().conv(3, 1)
        graph.then(operator, **attributes)
        return onnx_bundle(folder, graph.model(), "logits", "channels_first")

    return make


@pytest.mark.parametrize(
    ("engine", "make", "words"),
    [
        ("tensorflow", of_keras, r"tensorflow cannot build the network of .* \(.*no_such_activation"),
        ("onnx", of_onnx("NoSuchOperator"), "ONNX Runtime cannot load model.onnx of .*NoSuchOperator"),
        ("onnx", of_onnx("Conv"), "ONNX Runtime cannot load model.onnx of "),
        ("openvino", of_onnx("NoSuchOperator"), r"the network of .*NoSuchOperator"),
        ("openvino", of_onnx("Softmax", axis=9), "the network of .*Softmax"),
    ],
)
def test_a_network_that_cannot_be_built_is_named_in_a_sentence(tmp_path, engine, make, words):
    bundle = make(tmp_path / "bundle")
    with pytest.raises(EngineError, match=words) as refused:
        Engine(bundle, execution_profile(engine=engine)).logits(np.zeros((1, 16, 16, 3), np.uint8))
    said = str(refused.value)
    assert "\n" not in said and len(said) < 600 and "recreate the bundle" in said


LOGITS = """
import sys
import numpy as np
from pathlib import Path
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import EngineError, execution_profile
for bundle in sys.argv[1:]:
    try:
        Engine(Path(bundle), execution_profile(engine="openvino")).logits(np.zeros((1, 16, 16, 3), np.uint8))
    except EngineError as error:
        print(error, flush=True)
"""


def test_nodes_without_their_inputs_are_refused_before_openvino_reads_them(tmp_path):
    """A segmentation fault otherwise, at least of a Conv without weights and of a Pad without widths."""
    operators = ("Conv", "Pad", "BatchNormalization")
    bundles = [str(of_onnx(name)(tmp_path / name)) for name in operators]
    run = subprocess.run(
        [sys.executable, "-c", LOGITS, *bundles], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for line, name in zip(run.stdout.splitlines(), operators, strict=True):
        assert re.fullmatch(
            rf"the network of tiny is not a valid ONNX file \(.*{name}.* has input size 1 .*\); recreate the bundle",
            line,
        )


def test_what_engines_raise_while_they_build_becomes_a_sentence(tmp_path):
    card = Card.read(make_bundle(tmp_path / "bundle", brightest_band()))
    with pytest.raises(EngineError) as refused, building(card, "openvino"):
        raise RuntimeError("a\nlong story " * 100 + "Exception encountered: Unknown\n layer: Odd")
    assert str(refused.value) == (
        f"openvino cannot build the network of {card.name} (Unknown layer: Odd); recreate the bundle, or pass another "
        "--engine"
    )
    with pytest.raises(EngineError, match=r"\(ZeroDivisionError\)"), building(card, "openvino"):
        raise ZeroDivisionError
    for own in (CardError("c"), EngineError("e"), OSError("o"), MemoryError("m"), ImportError("i")):
        with pytest.raises(type(own)) as kept, building(card, "openvino"):
            raise own
        assert kept.value is own
