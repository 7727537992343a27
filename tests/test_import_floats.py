"""ONNX networks that take halves: fed as they want."""

import numpy as np
import onnx
import pytest
from onnx import helper

from models.importing.onnx_network import open_onnx


@pytest.mark.parametrize(("kind", "dtype"), [("FLOAT16", "f2"), ("FLOAT", "f4")])
def test_networks_get_the_floats_that_they_take(tmp_path, kind, dtype):
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
    network = open_onnx(path, 3, None, None)
    chips = np.random.default_rng(1).random((1, 3, 32, 32)).astype("f4")
    middle = sum((weights[:, band, 1, 1].astype("f4")[:, None, None] * chips[0, band]) for band in range(3))
    around = network.run(chips)[0] - middle
    assert network.run(chips).dtype == dtype
    assert np.abs(around).max() < np.abs(weights.astype("f4")).sum()
    assert network.read_graph().reach.top == 1
