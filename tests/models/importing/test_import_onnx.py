"""ONNX networks from elsewhere: their answers as bundles, their reach, and what is refused."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import random_networks
from foreign_networks import Graph, export, pyramid, request, small
from onnx import TensorProto, helper

from terraseam.models.bundle.card import Card
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.scaling import scale
from terraseam.models.errors import CardError, NetworkRefusedError, NotUnderstoodError
from terraseam.models.importing.common.resample import Resample
from terraseam.models.importing.importer import import_network
from terraseam.models.importing.onnx.file import Session, free_sizes, read_onnx
from terraseam.models.importing.onnx.graph import read_reach
from terraseam.models.importing.onnx.network import WORKING_COPIES
from terraseam.models.importing.onnx.sizes import measure_sizes
from terraseam.models.importing.probe import probe_reach
from terraseam.models.reach.network import network_reach
from terraseam.models.reach.reach import Reach


def graph_facts(path, layout="channels_first", bands=3):
    freed = free_sizes(read_onnx(path), layout)
    return read_reach(freed, measure_sizes(freed, bands, layout, None))


def raw_chips(height=48, width=32, bands=3):
    return np.random.default_rng(5).integers(0, 256, (1, height, width, bands), dtype=np.uint8)


def run_directly(path, chips):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: chips})[0]


def test_memory_counts_the_maps_that_are_alive_at_once(tmp_path):
    """The widest moment: a map of 16 channels is read once more when one of 8 at half the size was made of it."""
    graph = Graph().conv(16)
    wide = graph.x
    graph.conv(8, strides=[2, 2]).then("Resize", "", graph.weight([1, 1, 2, 2]), mode="nearest")
    graph.x = graph.add("Concat", graph.x, wide, axis=1)
    graph.channels = 24
    card = import_network(request(graph.conv(3, 1).save(tmp_path / "wide.onnx"), tmp_path / "bundle")).card
    alive = 4 * (16 + 8 + 24)
    assert card.memory_per_pixel == math.ceil(WORKING_COPIES * alive + 4 * (3 + 3))


ENDS = {
    "logits": (3, lambda g: g, {}),
    "scores": (3, lambda g: g.then("Softmax", axis=1), {}),
    "labels": (
        3,
        lambda g: g.then("ArgMax", axis=1, keepdims=0),
        {"dtype": TensorProto.INT64, "rank": 3},
    ),
    "labels with channel": (
        3,
        lambda g: g.then("ArgMax", axis=1, keepdims=1),
        {"dtype": TensorProto.INT64, "channels": 1},
    ),
    "binary_scores": (1, lambda g: g.then("Sigmoid"), {}),
    "binary_logits": (1, lambda g: g, {}),
}


@pytest.mark.parametrize("name", ENDS)
def test_bundles_of_channels_first_networks_answer_as_their_file(tmp_path, name):
    channels, end, kind = ENDS[name]
    path = end(small(channels)).save(tmp_path / "foreign.onnx", **kind)
    made = import_network(request(path, tmp_path / "bundle", 3 if channels == 3 else 2))
    card = Card.read(tmp_path / "bundle")
    output_type = name.split()[0]
    assert made.card == card
    assert (card.network.layout, card.network.answer, card.reach_source) == (
        "channels_first",
        output_type,
        "graph",
    )
    assert (card.stride, card.reach) == (2, Reach(5, 5, 5, 5))

    raw = raw_chips()
    direct = run_directly(path, np.moveaxis(scale(raw, card.scaling), -1, 1))
    logits = Engine(tmp_path / "bundle", execution_profile(engine="onnx")).logits(raw)
    direct = direct[:, None] if direct.ndim == 3 else direct
    direct = np.moveaxis(direct, 1, -1)
    if output_type == "logits":
        np.testing.assert_allclose(logits, direct, atol=1e-4)
    elif output_type == "scores":
        np.testing.assert_allclose(np.exp(logits), direct, atol=1e-5)
    elif output_type == "labels":
        assert np.array_equal(logits.argmax(-1), direct[..., 0]) and len(np.unique(direct)) > 1
    else:
        threshold = 0.5 if output_type == "binary_scores" else 0.0
        assert (
            np.array_equal(logits.argmax(-1), direct[..., 0] > threshold)
            and len(np.unique(direct > threshold)) == 2
        )


def test_what_was_found_is_said(tmp_path):
    path = small(2).then("Softmax", axis=1).save(tmp_path / "foreign.onnx")
    notes = import_network(request(path, tmp_path / "bundle", 2)).notes
    assert any("its output type is scores: it ends in a softmax" in note for note in notes)
    assert any("bytes per pixel, from the graph" in note for note in notes)


def exported(seed, tmp_path):
    """A random Keras network and its ONNX file; None where Keras cannot export it for chips of any size."""
    inner = random_networks.random_network(seed)
    chip = keras.Input((None, None, 1))
    model = keras.Model(chip, inner(chip))
    model(np.zeros((1, 240, 240, 1), np.float32))
    try:
        return inner, export(model, tmp_path / f"{seed}.onnx", (None, None, None, 1))
    except TypeError as error:  # Bilinear upsampling has no graph for chips of unknown size.
        assert "symbolic" in str(error)
        return inner, None


def is_dilated(model):
    rates = (getattr(layer, "dilation_rate", 1) for layer in model._flatten_layers())
    return any(np.max(rate) > 1 for rate in rates)


def check_reach_of_exported_networks(seeds, tmp_path):
    """Dilated convolutions are exported as convolutions of blocks, which look up to a block farther."""
    checked = plain = 0
    for seed in seeds:
        model, path = exported(seed, tmp_path)
        if path is None:
            continue
        stride, reach = network_reach(model)
        try:
            facts = graph_facts(path, "channels_last", 1)
        except (
            NetworkRefusedError
        ):  # Pools with pads as large as their kernel; answers of five axes: mistakes of exporters.
            continue
        more = np.subtract(*([r.top, r.bottom, r.left, r.right] for r in (facts.reach, reach)))
        assert facts.stride % stride == 0 and (more >= 0).all() and (more <= 3).all(), (seed, facts, reach)
        if not is_dilated(model):
            assert facts.stride == stride and not more.any(), (seed, facts, reach)
            plain += 1
        checked += 1
    assert checked >= len(seeds) // 2 and plain >= checked // 3, (checked, plain)


@pytest.mark.slow
def test_reach_of_exported_random_networks_is_that_of_keras(tmp_path):
    check_reach_of_exported_networks(range(6), tmp_path)


@pytest.mark.slow
def test_reach_of_many_exported_random_networks_is_that_of_keras(tmp_path):
    """In a process where sets of strings have a fixed order: what tf2onnx gets wrong depends on it."""
    code = (
        "import pathlib, test_import_onnx\n"
        f"test_import_onnx.check_reach_of_exported_networks(range(6, 60), pathlib.Path({str(tmp_path)!r}))"
    )
    searched = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    variables = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": searched}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)


def one(op, *inputs, **attributes):
    return lambda g: g.then(
        op, *(g.weight(*value) if isinstance(value, tuple) else value for value in inputs), **attributes
    )


def resized(mode, place, scale=2, **more):
    def build(g):
        g.conv(2)
        g.then("MaxPool", kernel_shape=[scale] * 2, strides=[scale] * 2)
        return g.then(
            "Resize",
            "",
            g.weight([1, 1, scale, scale]),
            mode=mode,
            coordinate_transformation_mode=place,
            **more,
        )

    return build


def blocks(g):
    g.then("SpaceToDepth", blocksize=2)
    g.channels *= 4
    return g.conv(12).then("DepthToSpace", blocksize=2)


def folded(g):
    """Pixels put behind each other by reshaping, as some exporters write it: blocks of 2 x 2 become one."""
    g.conv(8).then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    size = g.add("Shape", g.x)
    height, width = (g.add("Gather", size, g.weight([place], "int64"), axis=0) for place in (2, 3))
    two = g.weight([2], "int64")
    first = g.add("Concat", g.weight([1, 2, 2, 2], "int64"), height, width, axis=0)
    g.then("Reshape", first).then("Transpose", perm=[0, 1, 4, 2, 5, 3])
    last = g.add(
        "Concat", g.weight([1, 2], "int64"), g.add("Mul", height, two), g.add("Mul", width, two), axis=0
    )
    return g.then("Reshape", last)


HAND_MADE = {
    "convolution": (lambda g: g.conv(2, 5), 1, (2, 2, 2, 2)),
    "uneven pads": (lambda g: g.conv(2, 4, pads=[1, 2, 2, 1]), 1, (1, 2, 2, 1)),
    "same upper": (lambda g: g.conv(2, 4, pads=None, auto_pad="SAME_UPPER"), 1, (1, 2, 1, 2)),
    "rows and columns changed over": (
        lambda g: (
            g.then("Transpose", perm=[0, 1, 3, 2])
            .conv(2, 4, pads=[1, 2, 2, 1])
            .then("Transpose", perm=[0, 1, 3, 2])
        ),
        1,
        (2, 1, 1, 2),
    ),
    "dilation": (lambda g: g.conv(2, 3, dilations=[3, 2], pads=[3, 2, 3, 2]), 1, (3, 3, 2, 2)),
    "reflected pads": (
        lambda g: (
            g.then("Pad", g.weight([0, 0, 1, 2, 0, 0, 3, 0], "int64"), mode="reflect")
            .conv(2, 3, pads=[0, 0, 0, 0])
            .then(
                "Slice", g.weight([0, 0], "int64"), g.weight([-2, 9999], "int64"), g.weight([2, 3], "int64")
            )
        ),
        1,
        (1, 1, 2, 0),
    ),
    "transposed": (
        lambda g: g.conv(2, 3, strides=[2, 2], pads=[1, 1, 1, 1]).then(
            "ConvTranspose", g.weight(np.ones((2, 2, 4, 4))), strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        2,
        (3, 2, 3, 2),
    ),
    "pooling with pads": (
        lambda g: g.then("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]),
        1,
        (1, 1, 1, 1),
    ),
    "nearest": (resized("nearest", "asymmetric", nearest_mode="floor"), 2, (1, 1, 1, 1)),
    "nearest half pixel": (resized("nearest", "half_pixel"), 2, (1, 1, 1, 1)),
    "linear half pixel": (resized("linear", "half_pixel"), 2, (3, 3, 3, 3)),
    "linear asymmetric": (resized("linear", "asymmetric"), 2, (1, 3, 1, 3)),
    "cubic": (resized("cubic", "half_pixel"), 2, (5, 5, 5, 5)),
    "threefold": (resized("linear", "half_pixel", 3), 3, (4, 4, 4, 4)),
    "blocks": (blocks, 2, (2, 2, 2, 2)),
    "folded": (folded, 2, (1, 1, 1, 1)),
    "pointwise": (
        lambda g: (
            g.then("Clip", g.weight(0), g.weight(6)).then("Mul", g.weight(np.ones((3, 1, 1)))).then("Exp")
        ),
        1,
        (0, 0, 0, 0),
    ),
    "channels apart": (
        lambda g: g.conv(4, 3).then("Gather", g.weight([2, 0], "int64"), axis=1),
        1,
        (1, 1, 1, 1),
    ),
    "mean of channels": (lambda g: g.conv(4, 3).then("ReduceMean", axes=[1]), 1, (1, 1, 1, 1)),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_reach_of_graphs_put_together_by_hand(tmp_path, name):
    build, stride, sides = HAND_MADE[name]
    path = build(Graph()).save(tmp_path / "hand.onnx")
    facts = graph_facts(path)
    assert (facts.stride, facts.reach) == (stride, Reach(*sides))
    session = Session(read_onnx(path))
    seen = probe_reach(
        lambda chips: np.moveaxis(session(np.moveaxis(chips, -1, 1)), 1, -1), 3, stride
    ).observed
    assert seen == Reach(*sides)


def gate(g):
    fine = g.conv(3).x
    g.then("GlobalAveragePool").conv(3, 1)
    g.x = g.add("Mul", fine, g.add("Sigmoid", g.x))
    return g


def pyramid_pooling(g):
    """Means over the chip, resized to it: sizes come from the chip's own."""
    fine = g.conv(3).x
    g.then("GlobalAveragePool")
    g.x = g.add(
        "Resize",
        g.x,
        "",
        "",
        g.add("Shape", fine),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    g.x = g.add("Concat", g.x, fine, axis=1)
    g.channels = 6
    return g.conv(3)


def coordinates(g):
    """A column number in each pixel."""
    size = g.add("Shape", g.x)
    width = g.add("Gather", size, g.weight(3, "int64"), axis=0)
    numbers = g.add("Range", g.weight(0, "int64"), width, g.weight(1, "int64"))
    return g.then("Add", g.add("Cast", numbers, to=TensorProto.FLOAT))


def masked(g):
    """Values above those of a neighbour, else zeros as large as the chip."""
    zeros = g.add("Expand", g.weight(0), g.add("Shape", g.x))
    chip = g.x
    g.conv(3)
    g.x = g.add("Where", g.add("Greater", g.x, chip), g.x, zeros)
    return g


def test_maps_of_one_value_are_no_place(tmp_path):
    assert graph_facts(masked(Graph()).save(tmp_path / "masked.onnx")).reach == Reach(1, 1, 1, 1)


INFINITE = {
    "gate": gate,
    "pyramid": pyramid_pooling,
    "coordinates": coordinates,
    "corners aligned": resized("linear", "align_corners"),
    "instance normalization": lambda g: g.then(
        "InstanceNormalization", g.weight(np.ones(3)), g.weight(np.zeros(3))
    ),
    "softmax over rows": lambda g: g.then("Softmax", axis=2),
}


@pytest.mark.parametrize("name", INFINITE)
def test_what_depends_on_the_whole_chip_or_on_the_place_has_no_reach(tmp_path, name):
    path = INFINITE[name](Graph()).save(tmp_path / "whole.onnx")
    assert graph_facts(path).reach is None


UNKNOWN = {
    "turned": (
        lambda g: g.then("Slice", *(g.weight(v, "int64") for v in ([-1], [-(2**31)], [3], [-1]))),
        "'Slice 0' is a Slice: it slices .* or backwards",
    ),
    "einsum": (
        lambda g: g.then("Einsum", equation="nchw->nchw"),
        "'Einsum 0' is a Einsum: its reach is not known",
    ),
    "indices": (
        lambda g: setattr(g, "x", g.add("MaxPool", g.x, outputs=2, kernel_shape=[1, 1])) or g,
        "is a MaxPool: it also makes indices",
    ),
    "same lower": (lambda g: g.conv(2, 2, pads=None, auto_pad="SAME_LOWER"), "auto_pad is SAME_LOWER"),
    "running sum": (lambda g: g.then("CumSum", g.weight(3, "int64")), "is a CumSum"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_nodes_that_are_not_understood_are_named(tmp_path, name):
    build, words = UNKNOWN[name]
    path = build(Graph()).save(tmp_path / "unknown.onnx")
    with pytest.raises(NotUnderstoodError, match=words):
        graph_facts(path)


def test_what_is_not_understood_is_measured(tmp_path):
    path = small(3).then("Einsum", equation="nchw->nchw").save(tmp_path / "odd.onnx")
    made = import_network(request(path, tmp_path / "bundle"))
    assert made.card.reach_source == "measured" and made.card.reach == Reach(7, 7, 7, 7)
    assert any("could not be read from the graph: node 'Einsum" in note for note in made.notes)
    assert any(
        "measured, not proven: outputs changed with pixels up to 5, 5, 5, 5 px" in note for note in made.notes
    )


def test_labels_are_measured_by_what_they_are_made_of(tmp_path):
    graph = small(3).then("Einsum", equation="nchw->nchw").then("ArgMax", axis=1, keepdims=0)
    path = graph.save(tmp_path / "labels.onnx", dtype=TensorProto.INT64, rank=3)
    assert import_network(request(path, tmp_path / "bundle")).card.reach == Reach(7, 7, 7, 7)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_networks_of_one_size_are_made_free_where_nothing_prevents_it(tmp_path, layout):
    if layout == "channels_first":
        path, fixed = small(3, size=(1, 64, 96)).save(tmp_path / "fixed.onnx"), (1, 3, 64, 96)
    else:
        layers = keras.layers
        chip = keras.Input((64, 96, 3))
        up = layers.UpSampling2D(2, interpolation="bilinear")(
            layers.Conv2D(3, 3, strides=2, padding="same")(chip)
        )
        model = keras.Model(chip, layers.Conv2D(3, 3, padding="same")(up))
        model(np.zeros((1, 64, 96, 3), np.float32))
        path, fixed = export(model, tmp_path / "fixed.onnx", (1, 64, 96, 3)), (1, 64, 96, 3)
    made = import_network(request(path, tmp_path / "bundle"))
    assert any(
        "only took chips of 64 x 96 px; its input size was made variable" in note for note in made.notes
    )
    assert made.card.network.layout == layout and made.card.reach_source == "graph"
    chips = np.random.default_rng(0).normal(size=fixed).astype(np.float32)
    freed = tmp_path / "bundle" / "model.onnx"
    np.testing.assert_allclose(run_directly(freed, chips), run_directly(path, chips), atol=1e-5)
    logits = Engine(tmp_path / "bundle", execution_profile(engine="onnx")).logits(raw_chips(128, 32))
    assert logits.shape == (1, 128, 32, 3)


def test_networks_with_their_size_written_into_the_graph_are_refused(tmp_path):
    graph = small(3, size=(1, 64, 96))
    path = graph.then("Reshape", graph.weight([1, 3, 64, 96], "int64")).save(tmp_path / "fixed.onnx")
    with pytest.raises(
        NetworkRefusedError, match="only takes chips of 64 x 96 px, a size that is fixed in its graph"
    ):
        import_network(request(path, tmp_path / "bundle"))
    assert not (tmp_path / "bundle").exists()


def test_networks_for_one_number_of_samples_are_refused_where_it_is_written_in(tmp_path):
    graph = small(3, size=(1, "h", "w"))
    size = graph.add("Shape", graph.x)
    rest = graph.add("Slice", size, graph.weight([1], "int64"), graph.weight([4], "int64"))
    graph.then("Reshape", graph.add("Concat", graph.weight([1], "int64"), rest, axis=0))
    path = graph.save(tmp_path / "one.onnx")
    with pytest.raises(NetworkRefusedError, match="only takes batches of 1"):
        import_network(request(path, tmp_path / "bundle"))


def with_input(dtype=TensorProto.FLOAT, shape=("n", 3, "h", "w"), inputs=1, outputs=1):
    chips = [helper.make_tensor_value_info(f"chip{number}", dtype, shape) for number in range(inputs)]
    nodes = [
        helper.make_node("Cast", ["chip0"], [f"out{number}"], to=TensorProto.FLOAT)
        for number in range(outputs)
    ]
    outs = [
        helper.make_tensor_value_info(f"out{number}", TensorProto.FLOAT, shape) for number in range(outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "odd", chips, outs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"inputs": 2}, "has 2 inputs (chip0, chip1); a bundle's network has one input and one output"),
        ({"outputs": 2}, "has 2 outputs (out0, out1)"),
        ({"dtype": TensorProto.UINT8}, "takes uint8, but Terraseam feeds scaled float32"),
        ({"shape": ("n", 3, "w")}, "takes ? x 3 x ?; it must take chips of four axes"),
        ({"shape": ("n", "c", "h", "w")}, "give --layout channels_last or channels_first"),
        ({"shape": ("n", 5, "h", "w")}, "takes 5 bands (shape ? x 5 x ? x ?), but 3 were given with --bands"),
    ],
)
def test_networks_that_are_not_one_chip_in_and_one_answer_out_are_refused(tmp_path, kind, words):
    onnx.save(with_input(**kind), tmp_path / "odd.onnx")
    with pytest.raises(NetworkRefusedError) as error:
        import_network(request(tmp_path / "odd.onnx", tmp_path / "bundle"))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("graph", "kind", "more", "words"),
    [
        (lambda: small(5), {}, {}, "outputs 5 channels, but --classes names 3; name 5 classes"),
        (
            lambda: small(1),
            {},
            {},
            "outputs one channel, which distinguishes two classes, but --classes names 3",
        ),
        (
            lambda: small(3).then("Sigmoid"),
            {},
            {},
            "ends in a sigmoid for each of its classes",
        ),
        (
            lambda: small(3).then("Softmax", axis=1),
            {},
            {"output_type": "logits"},
            "--output-type logits contradicts the network: it ends in a softmax; pass --output-type scores or leave it out",
        ),
        (
            lambda: small(3),
            {},
            {"output_type": "scores"},
            "do not sum to 1, so they are not scores; pass --output-type logits",
        ),
        (
            lambda: small(3),
            {},
            {"output_type": "labels"},
            "--output-type labels does not fit a network that outputs 3 channels",
        ),
        (
            lambda: small(6).then("ArgMax", axis=1, keepdims=0),
            {"dtype": TensorProto.INT64, "rank": 3},
            {},
            "but --classes names 3; name a class for each label from 0",
        ),
        (
            lambda: small(3).then("Transpose", perm=[0, 2, 3, 1]),
            {},
            {},
            "in another layout than its input; export it with one layout for both",
        ),
        (
            lambda: small(3).then("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
            {},
            {},
            "does not output a value for each pixel",
        ),
        (
            lambda: small(3),
            {},
            {"stride": 8},
            "--stride 8 is not the stride of the network: its graph has 2 px",
        ),
        (
            lambda: small(3),
            {},
            {"reach": 2},
            "--reach 2 was declared, but outputs change with pixels 5 px away",
        ),
        (
            lambda: gate(Graph()),
            {},
            {"reach": 40},
            "--reach 40 was declared, but outputs change with pixels up to the border",
        ),
    ],
)
def test_what_the_user_says_must_fit_the_network(tmp_path, graph, kind, more, words):
    path = graph().save(tmp_path / "foreign.onnx", **kind)
    with pytest.raises(NetworkRefusedError) as error:
        import_network(request(path, tmp_path / "bundle", **more))
    assert words in str(error.value)
    assert not (tmp_path / "bundle").exists()


def test_a_declared_reach_is_taken_where_nothing_looks_farther(tmp_path):
    path = small(3).save(tmp_path / "foreign.onnx")
    card = import_network(request(path, tmp_path / "bundle", reach=6)).card
    assert (card.reach, card.reach_source) == (Reach(6, 6, 6, 6), "declared")


def test_a_halo_is_kept_where_there_is_no_reach_alone(tmp_path):
    endless = import_network(request(gate(Graph()).save(tmp_path / "a.onnx"), tmp_path / "a", halo=48))
    assert endless.card.reach is None and endless.card.halo == 48
    assert any("no finite reach" in note for note in endless.notes)
    assert (
        import_network(request(small(3).save(tmp_path / "b.onnx"), tmp_path / "b", halo=48)).card.halo is None
    )


def test_operators_of_others_are_refused_by_name(tmp_path):
    path = small(3).then("Secret", domain="evil.corp").save(tmp_path / "foreign.onnx")
    with pytest.raises(
        NetworkRefusedError, match=r"needs evil.corp.Secret, which standard ONNX does not have"
    ):
        import_network(request(path, tmp_path / "bundle"))


def outside(path, location):
    """Say of the first weights that they lie in another file."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "lost.bin"])
def test_weights_outside_of_the_folder_are_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 12))
    (tmp_path / "in").mkdir()
    path = small(3).save(tmp_path / "in" / "foreign.onnx")
    outside(path, location)
    with pytest.raises(
        NetworkRefusedError, match=r"keeps weights in .*, but there is no such file in its folder"
    ):
        import_network(request(path, tmp_path / "bundle"))


def test_weights_beside_the_file_become_part_of_the_bundle(tmp_path):
    model = small(3).model()
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=300)
    assert (tmp_path / "weights.bin").exists()
    import_network(request(path, tmp_path / "bundle"))
    assert sorted(file.name for file in (tmp_path / "bundle").iterdir()) == ["card.json", "model.onnx"]
    chips = np.random.default_rng(0).normal(size=(1, 3, 16, 32)).astype(np.float32)
    assert np.array_equal(run_directly(tmp_path / "bundle" / "model.onnx", chips), run_directly(path, chips))


@pytest.mark.parametrize("data", [b"", b"no network at all", bytes(range(256)) * 4])
def test_files_that_are_no_networks_are_refused(tmp_path, data):
    (tmp_path / "foreign.onnx").write_bytes(data)
    with pytest.raises(NetworkRefusedError, match="is not an ONNX file"):
        import_network(request(tmp_path / "foreign.onnx", tmp_path / "bundle"))


def test_bundles_are_written_over_on_demand_alone(tmp_path):
    first, second = small(3).save(tmp_path / "a.onnx"), small(3, seed=1).save(tmp_path / "b.onnx")
    before = import_network(request(first, tmp_path / "bundle")).card
    with pytest.raises(CardError, match="already holds a bundle; pass --force to replace it"):
        import_network(request(second, tmp_path / "bundle"))
    assert Card.read(tmp_path / "bundle") == before
    after = import_network(request(second, tmp_path / "bundle", force=True)).card
    assert after.weights_sha256 != before.weights_sha256 and Card.read(tmp_path / "bundle") == after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "bundle"]


def test_the_same_file_gives_the_same_bundle(tmp_path):
    path = export(pyramid(), tmp_path / "p.onnx")
    cards = [import_network(request(path, tmp_path / name)).card for name in ("a", "b")]
    assert cards[0] == cards[1] and cards[0].stride == 4


NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
RESIZES = [
    *((place, how) for place in ("half_pixel", "asymmetric") for how in ("linear", "cubic", *NEAREST)),
    *(("tf_half_pixel_for_nn", how) for how in NEAREST),
]


@pytest.mark.parametrize(("place", "how"), RESIZES)
def test_resizing_reads_the_elements_that_onnxruntime_reads(tmp_path, place, how):
    """Every element is set alone in turn; ONNX Runtime says which elements of the larger map notice."""
    for factor in (2, 3, 1.5):
        rule = Resample(Fraction(factor), place, how)
        more = {} if how in ("linear", "cubic") else {"nearest_mode": how}
        graph = Graph(bands=1)
        graph.x = graph.add(
            "Resize", graph.x, "", graph.weight([1, 1, 1, factor]), coordinate_transformation_mode=place,
            mode=how if how in ("linear", "cubic") else "nearest", **more,
        )  # fmt: skip
        path = graph.save(tmp_path / "resize.onnx", channels=1)
        size = 12
        read = run_directly(path, np.eye(size, dtype=np.float32)[None, None])[0, 0] != 0
        for element in range(int(4 * factor), int(8 * factor)):
            taps = rule._taps(element)
            seen = np.flatnonzero(read[:, element])
            assert taps[0] <= seen.min() and seen.max() <= taps[-1], (factor, element, taps, seen)
            assert how != "linear" or set(seen) == set(range(taps[0], taps[-1] + 1)) or len(seen) == 1


@pytest.mark.parametrize("operator", ["Conv", "Pad", "ConvTranspose", "Add"])
def test_nodes_without_the_inputs_that_they_need_are_refused(tmp_path, operator):
    path = Graph().conv(3, 1).then(operator).save(tmp_path / "lacking.onnx")
    words = rf"lacking.onnx is not a valid ONNX file: .*{operator}.* has input size 1 .*; export the network again"
    with pytest.raises(NetworkRefusedError, match=words):
        read_onnx(path)
