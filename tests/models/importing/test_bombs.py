"""Files that ask for far more memory than they have bytes are refused by what they say, before it is taken."""

import json
import os
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
from foreign_networks import Graph, request

from terraseam.models.bundle.archive import archive_of
from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.importer import import_network
from terraseam.models.importing.keras_network import free_size, read_network
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.state import Progress, load_best, save_state

layers = keras.layers
MOST = 400_000_000


def peak_of(call):
    """Highest memory that Python and numpy take while a call is refused, and what it says."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as refused:
            call()
        return tracemalloc.get_traced_memory()[1], str(refused.value)
    finally:
        tracemalloc.stop()


def resident():
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )


def edited(config, units):
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dense":
            layer["config"]["units"] = units
            layer.pop("build_config", None)
    return config


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["keras", "h5", "old h5"])
def test_layers_far_larger_than_the_weights_are_not_made(tmp_path, kind):
    chip = keras.Input((None, None, 3))
    model = keras.Model(
        chip, layers.Dense(4)(layers.Dense(4)(layers.BatchNormalization()(layers.Dropout(0.5)(chip))))
    )
    path = tmp_path / ("network.keras" if kind == "keras" else "network.h5")
    if kind == "keras":
        with zipfile.ZipFile(path, "w") as target:
            path.with_suffix(".whole").write_bytes(archive_of(model))
            with zipfile.ZipFile(path.with_suffix(".whole")) as whole:
                for name in whole.namelist():
                    data = whole.read(name)
                    if name == "config.json":
                        data = json.dumps(edited(json.loads(data), 30_000)).encode()
                    target.writestr(name, data)
    else:
        model.save(path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(edited(json.loads(file.attrs["model_config"]), 30_000))
            if kind == "old h5":
                file.attrs["keras_version"] = "2.15.0"
    before = resident()
    with pytest.raises(
        NetworkRefusedError, match=r"describes layers with 3,60\d MB of weights but holds 0 MB"
    ):
        read_network(path)
    assert resident() - before < MOST
    after = resident()
    with keras.StatelessScope():
        pass
    assert resident() - after < MOST, "weights that were never wanted got values"


@pytest.mark.parametrize("size", [(10**5, 10**5), (None, 10**8)])
def test_chips_of_one_huge_size_are_not_tried(size):
    chip = keras.Input((*size, 3))
    model = keras.Model(chip, layers.Conv2D(2, 1)(chip))
    peak, words = peak_of(lambda: free_size(model, 3))
    assert peak < MOST and "at most 16,777,216 px" in words


def claims(graph):
    weights = graph.conv(3).weights[0]
    weights.ClearField("raw_data")
    weights.dims[:] = [10**6, 10**6, 3, 3]
    return "declares 36,000,000 MB of weights 'w0' but holds 0.0 MB"


def made_of_nothing(graph):
    shape = graph.weight([30_000, 30_000], "int64")
    total = graph.add("ReduceSum", graph.add("ConstantOfShape", shape), keepdims=0)
    graph.then("Add", total)
    return "creates 3,600 MB of constants, most of it as 'constantofshape0_0'; the limit for a file of its size is 500 MB"


def expanded(graph):
    wide = graph.add("Expand", graph.weight([1.0]), graph.weight([30_000, 30_000], "int64"))
    graph.then("Add", graph.add("ReduceSum", wide, keepdims=0))
    return "creates 3,600 MB of constants"


def sparse(graph):
    values = onnx.helper.make_tensor("values", onnx.TensorProto.FLOAT, [1], [1.0])
    places = onnx.helper.make_tensor("places", onnx.TensorProto.INT64, [1], [0])
    graph.sparse = onnx.helper.make_sparse_tensor(values, places, [30_000, 30_000])
    graph.then("Add", graph.add("ReduceSum", "values", keepdims=0))
    return "creates 3,600 MB of constants, most of it as 'sparse weights'"


@pytest.mark.parametrize("bomb", [claims, made_of_nothing, expanded, sparse])
def test_onnx_files_that_unfold_are_refused_by_what_they_say(tmp_path, bomb):
    graph = Graph()
    words = bomb(graph)
    model = graph.model()
    if hasattr(graph, "sparse"):
        model.graph.sparse_initializer.append(graph.sparse)
    onnx.save(model, tmp_path / "bomb.onnx")
    before = resident()
    with pytest.raises(NetworkRefusedError) as refused:
        import_network(request(tmp_path / "bomb.onnx", tmp_path / "bundle"))
    assert words in str(refused.value) and resident() - before < MOST


@pytest.mark.parametrize(
    ("size", "part", "words"),
    [
        (3 * 10**9, {}, "have 3.0 GB, but a bundle can hold at most 2 GB"),
        (3 * 10**9, {"length": "324"}, None),
        (100, {"length": "324"}, "are incomplete: weights.bin has 100 bytes"),
        (100, {"offset": "-1"}, "are incomplete"),
        (100, {}, "declares 0 MB of weights 'w0' but holds 0.0 MB of them"),
    ],
)
def test_weights_beside_an_onnx_file_are_refused_by_their_sizes(tmp_path, size, part, words):
    model = Graph().conv(3).model()
    (weights,) = model.graph.initializer
    with (tmp_path / "weights.bin").open("wb") as file:
        file.write(weights.raw_data[:size])
        file.truncate(size)
    if words and "0 MB" in words:
        weights.dims[0] = 100
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", **part}.items():
        weights.external_data.add(key=key, value=value)
    onnx.save(model, tmp_path / "net.onnx")
    before = resident()
    if words is None:
        assert import_network(request(tmp_path / "net.onnx", tmp_path / "bundle")).card.stride == 1
    else:
        with pytest.raises(NetworkRefusedError) as refused:
            import_network(request(tmp_path / "net.onnx", tmp_path / "bundle"))
        assert words in str(refused.value)
    assert resident() - before < MOST


def test_onnx_files_that_are_larger_than_they_can_be_are_not_read(tmp_path):
    with (tmp_path / "net.onnx").open("wb") as file:
        file.truncate(5 * 10**9)
    with pytest.raises(NetworkRefusedError, match=r"has 5\.0 GB, but one ONNX file can hold at most 2 GB"):
        import_network(request(tmp_path / "net.onnx", tmp_path / "bundle"))


def deflated(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("v00000.npy", "w") as part:
        np.lib.format.write_array_header_1_0(
            part, {"descr": "<f4", "fortran_order": False, "shape": (150_000_000,)}
        )
        for _ in range(600):
            part.write(bytes(1_000_000))
    return "would unpack to 600 MB and has 0.6 MB"


def claimed(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("v00000.npy", "w") as part:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**9)}
        np.lib.format.write_array_header_1_0(part, header)
    return r"v00000.npy would be of 1000000x1000000000 values and has \d+ bytes"


def fifo(path):
    os.mkfifo(path)
    return "not a regular file"


def empty(path):
    path.touch()
    return "File is not a zip file"


@pytest.mark.slow
@pytest.mark.parametrize("bomb", [deflated, claimed, fifo, empty])
@pytest.mark.parametrize("name", ["state.npz", "best-00001.npz"])
def test_files_of_a_training_that_unfold_are_refused_by_their_sizes(tmp_path, bomb, name):
    if name != "state.npz":
        save_state(tmp_path, {}, Progress(1, 1, 0.5, ({"loss": 1.0},)), [])
    words = bomb(tmp_path / name)
    before = resident()
    with pytest.raises(
        TrainingError, match=f"{name} is not the (state|weights) of a training .*{words}.*--restart"
    ):
        load_best(tmp_path, keras.Sequential([keras.Input((1,))]))
    assert resident() - before < MOST
