"""Networks that take halves or doubles: fed as they want, or refused where that cannot be."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from foreign_networks import request
from onnx import helper
from tiers import some

from terraseam.models.bundle.values import Scaling
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.importer import import_network
from terraseam.models.importing.onnx.network import open_onnx

layers = keras.layers


@pytest.mark.parametrize(("kind", "dtype"), [("FLOAT16", "f2"), ("FLOAT", "f4")])
def test_networks_get_the_floats_that_they_take(tmp_path, kind, dtype):
    path, weights = convolution(tmp_path, kind, dtype)
    network = open_onnx(path, 3, None, None)
    chips = np.random.default_rng(1).random((1, 3, 32, 32)).astype("f4")
    middle = sum((weights[:, band, 1, 1].astype("f4")[:, None, None] * chips[0, band]) for band in range(3))
    around = network.run(chips)[0] - middle
    assert network.run(chips).dtype == dtype
    assert np.abs(around).max() < np.abs(weights.astype("f4")).sum()
    assert network.read_graph().reach.top == 1


def convolution(tmp_path, kind, dtype):
    """An ONNX file of one convolution, and its weights."""
    weights = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype("f2")
    number = getattr(onnx.TensorProto, kind)
    ends = [
        helper.make_tensor_value_info(name, number, ["n", size, "h", "w"])
        for name, size in (("chips", 3), ("out", 2))
    ]
    node = helper.make_node("Conv", ["chips", "k"], ["out"], pads=[1] * 4)
    kernel = onnx.numpy_helper.from_array(weights.astype(dtype), "k")
    graph = helper.make_graph([node], "net", ends[:1], ends[1:], [kernel])
    path = tmp_path / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path, weights


def network_of(dtype, path):
    """One convolution that takes chips of a type, as a file."""
    chip = keras.Input((None, None, 3), dtype=dtype)
    model = keras.Model(chip, layers.Conv2D(2, 3, padding="same", dtype=dtype)(chip))
    model.set_weights([np.random.default_rng(0).normal(size=one.shape) / 4 for one in model.weights])
    if path.suffix == ".keras":
        model.save(path)
        return path
    serve = tf.function(
        lambda chips: {"out": model(chips)}, input_signature=[tf.TensorSpec((None, None, None, 3), dtype)]
    )
    module = tf.Module()
    module.model, module.serve = model, serve
    tf.saved_model.save(module, str(path), {"serving_default": serve})
    return path


@pytest.mark.parametrize("name", some(["network.keras", "saved"], quick=1))
def test_halves_and_doubles_of_tensorflow_answer_as_float32(tmp_path, name):
    chips = np.random.default_rng(1).integers(0, 256, (1, 24, 40, 3), dtype=np.uint8)
    answers = {}
    for dtype in ("float32", "float16", "float64"):
        folder = tmp_path / dtype
        folder.mkdir()
        path = network_of(dtype, folder / name)
        made = import_network(request(path, folder / "bundle", classes=2, reach=1, stride=1))
        answers[dtype] = Engine(folder / "bundle", execution_profile()).logits(chips)
        assert answers[dtype].dtype == np.float32 and made.card.reach is not None
    spread = np.abs(answers["float32"]).max()
    assert np.abs(answers["float64"] - answers["float32"]).max() < 1e-5 * spread
    assert 0 < np.abs(answers["float16"] - answers["float32"]).max() < 4e-3 * spread


def test_scales_that_float16_does_not_hold_are_refused(tmp_path):
    path, _ = convolution(tmp_path, "FLOAT16", "f2")

    def imported(number, scale, offset=0.0):
        said = request(path, tmp_path / f"bundle{number}", classes=2)
        return import_network(
            said.__class__(
                said.file,
                said.output,
                {**said.card_fields, "scaling": Scaling((1.0, scale, 1.0), (0.0, offset, 0.0))},
            )
        )

    for scale, offset in ((300.0, 0.0), (-300.0, 0.0), (0.0, 70_000.0), (1.0, 65_400.0)):
        with pytest.raises(
            NetworkRefusedError, match=r"takes float16, whose maximum is 65,504, .* a smaller scale"
        ):
            imported(0, scale, offset)
    assert any("raw values above 6,550 cannot be fed to it" in note for note in imported(1, 10.0).notes)
    high = np.full((1, 16, 16, 3), 6_600, np.uint16)
    for engine in ("onnx", "openvino"):
        network = Engine(tmp_path / "bundle1", execution_profile(engine=engine))
        with pytest.raises(
            EngineError, match="whose maximum is 65,504, but scaled pixels have values up to 66,000"
        ):
            network.logits(high)
        assert np.isfinite(network.logits(high // 200)).all()
