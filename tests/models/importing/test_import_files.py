"""Keras files and SavedModels from elsewhere: their answers as bundles, and what is refused."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from foreign_networks import export, pyramid, request, small
from places import ROOT

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import Card
from terraseam.models.bundle.writing import fill_bundle, replace_folder
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.scaling import scale
from terraseam.models.errors import CardError, NetworkRefusedError
from terraseam.models.importing.importer import import_network
from terraseam.models.importing.saved_model import copy_saved_model
from terraseam.models.reach.network import network_reach
from terraseam.models.reach.reach import Reach
from terraseam.models.saved_models.facts import check_saved_model, graph_facts
from terraseam.models.saved_models.graph import calls_of, read_graph, refuse_operations
from terraseam.models.saved_models.operations import ALLOWED, CHECKPOINT

layers = keras.layers


def raw_chips(height=48, width=32, bands=3):
    return np.random.default_rng(5).integers(0, 256, (1, height, width, bands), dtype=np.uint8)


def scaled(raw, card):
    return scale(raw, card.scaling)


def softmax_then_argmax(model):
    return keras.Model(model.inputs, keras.ops.argmax(model.outputs[0], axis=-1))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_bundles_of_keras_files_answer_as_their_file(tmp_path, suffix):
    model = pyramid()
    model.save(tmp_path / f"foreign{suffix}")
    made = import_network(request(tmp_path / f"foreign{suffix}", tmp_path / "bundle"))
    card = made.card
    assert (card.stride, card.reach, card.reach_source) == (*network_reach(model), "graph")
    assert (card.network.name, card.network.answer) == ("model.keras", "logits")
    chips = scaled(raw_chips(), card)
    assert np.array_equal(load_model(tmp_path / "bundle")(chips), model(chips))
    logits = Engine(tmp_path / "bundle", execution_profile()).logits(raw_chips())
    np.testing.assert_allclose(logits, model(chips), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "classes", "output_type"),
    [
        (lambda: pyramid(activation="softmax"), 3, "scores"),
        (lambda: pyramid(1, activation="sigmoid"), 2, "binary_scores"),
        (lambda: pyramid(1), 2, "binary_logits"),
        (lambda: softmax_then_argmax(pyramid(activation="softmax")), 3, "labels"),
    ],
)
def test_what_keras_networks_answer_is_found_and_run(tmp_path, network, classes, output_type):
    model = network()
    model.save(tmp_path / "foreign.keras")
    card = import_network(request(tmp_path / "foreign.keras", tmp_path / "bundle", classes)).card
    assert (card.network.answer, card.reach_source, card.reach) == (output_type, "graph", Reach(5, 7, 5, 7))
    made = np.asarray(model(scaled(raw_chips(), card)))
    logits = Engine(tmp_path / "bundle", execution_profile()).logits(raw_chips())
    expected = {
        "scores": lambda: made.argmax(-1),
        "binary_scores": lambda: made[..., 0] > 0.5,
        "binary_logits": lambda: made[..., 0] > 0,
        "labels": lambda: made,
    }[output_type]()
    assert np.array_equal(logits.argmax(-1), expected) and len(np.unique(expected)) > 1


def test_keras_networks_of_one_size_are_made_free(tmp_path):
    model = pyramid(size=64)
    model.save(tmp_path / "fixed.keras")
    made = import_network(request(tmp_path / "fixed.keras", tmp_path / "bundle"))
    assert made.notes[0].startswith("it only took chips of 64 x 64 px; its input size was made variable")
    loaded = load_model(tmp_path / "bundle")
    chips = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(loaded(chips), model(chips))
    assert loaded(np.zeros((2, 32, 100, 3))).shape == (2, 32, 100, 3)


def flattened():
    chip = keras.Input((16, 16, 3))
    x = layers.Dense(16 * 16 * 2)(layers.Flatten()(chip))
    return keras.Model(chip, layers.Reshape((16, 16, 2))(x))


def test_keras_networks_that_need_their_size_are_refused(tmp_path):
    flattened().save(tmp_path / "fixed.keras")
    with pytest.raises(
        NetworkRefusedError, match=r"only takes chips of 16 x 16 px, and a layer needs that size"
    ):
        import_network(request(tmp_path / "fixed.keras", tmp_path / "bundle", 2))


@pytest.mark.slow
def test_layers_that_are_not_known_are_measured(tmp_path):
    chip = keras.Input((None, None, 3))
    x = layers.Conv2D(3, 5, padding="same")(chip)
    model = keras.Model(chip, keras.ops.flip(keras.ops.flip(x, 3), 3))
    model.save(tmp_path / "odd.keras")
    made = import_network(request(tmp_path / "odd.keras", tmp_path / "bundle"))
    assert (made.card.reach, made.card.reach_source) == (Reach(3, 3, 3, 3), "measured")
    assert any("is a Flip: its reach is not known" in note for note in made.notes)
    assert any("measured on chips of" in note for note in made.notes)
    assert load_model(tmp_path / "bundle").count_params() == model.count_params()


class Own(layers.Layer):
    def call(self, x):
        return x


def lambda_network():
    chip = keras.Input((None, None, 3))
    return keras.Model(chip, layers.Lambda(lambda x: x + 0.0)(chip))


def own_network():
    chip = keras.Input((None, None, 3))
    return keras.Model(chip, Own()(chip))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda_network, "has a Lambda"),
        (own_network, "has a Own of test_import_files, which runs code from outside Keras"),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_networks_that_bring_code_are_refused(tmp_path, network, words, suffix):
    network().save(tmp_path / f"foreign{suffix}")
    with pytest.raises(
        NetworkRefusedError, match=words.replace(" of test_import_files", ".*") if suffix == ".h5" else words
    ):
        import_network(request(tmp_path / f"foreign{suffix}", tmp_path / "bundle"))


def test_weights_in_other_hdf5_files_are_refused(tmp_path):
    pyramid().save(tmp_path / "foreign.h5")
    with h5py.File(tmp_path / "foreign.h5", "r+") as file:
        file["stolen"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(NetworkRefusedError, match=r"has weights in other files .*/etc/hostname"):
        import_network(request(tmp_path / "foreign.h5", tmp_path / "bundle"))


def test_weights_alone_are_refused(tmp_path):
    pyramid().save_weights(tmp_path / "foreign.weights.h5")
    with pytest.raises(NetworkRefusedError, match="holds weights without a network; save the whole network"):
        import_network(request(tmp_path / "foreign.weights.h5", tmp_path / "bundle"))


def two_heads():
    model = pyramid()
    return keras.Model(model.inputs, [model.outputs[0], model.layers[1].output])


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (two_heads, "has 2 outputs"),
        (lambda: keras.Sequential([keras.Input((8, 3)), layers.Dense(3)]), "takes [?] x 8 x 3; it must"),
        (lambda: keras.Model(*[keras.Input((None, None, 3), dtype="uint8")] * 2), "takes uint8"),
        (pyramid, "outputs 3 channels, but --classes names 4; name 3 classes"),
        (
            lambda: keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, strides=2, padding="same")]),
            "elements from chips of 2",
        ),
    ],
)  # fmt: skip
def test_keras_networks_that_do_not_fit_are_refused(tmp_path, network, words):
    network().save(tmp_path / "foreign.keras")
    with pytest.raises(NetworkRefusedError, match=words):
        import_network(request(tmp_path / "foreign.keras", tmp_path / "bundle", 4))
    assert not (tmp_path / "bundle").exists()


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return export(pyramid(activation="softmax"), tmp_path_factory.mktemp("saved") / "foreign")


@pytest.mark.slow
def test_bundles_of_saved_models_answer_as_their_signature(tmp_path, saved_model):
    made = import_network(request(saved_model, tmp_path / "bundle"))
    card = Card.read(tmp_path / "bundle")
    assert card == made.card and (card.network.name, card.network.answer) == ("saved_model", "scores")
    assert (card.stride, card.reach_source) == (4, "measured")
    seen = (5, 7, 5, 7)
    assert card.reach == Reach(*(side + 4 for side in seen))
    assert 64 < card.memory_per_pixel < 1000
    serve = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    direct = serve(tf.constant(scaled(raw_chips(), card)))["output_0"].numpy()
    logits = Engine(tmp_path / "bundle", execution_profile()).logits(raw_chips())
    np.testing.assert_allclose(np.exp(logits), direct, atol=1e-5)


@pytest.mark.slow
def test_bundles_of_saved_models_are_not_loaded_as_keras_networks(tmp_path, saved_model):
    import_network(request(saved_model, tmp_path / "bundle", reach=8))
    with pytest.raises(
        CardError, match=r"holds saved_model instead of model.keras, so it is not a Keras network"
    ):
        load_model(tmp_path / "bundle")
    with (tmp_path / "bundle" / "saved_model" / "variables" / "variables.index").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CardError, match=r"saved_model of bundle .* does not match its card"):
        Engine(tmp_path / "bundle", execution_profile())


def module_with(body, shape=(None, None, None, 3)):
    class Network(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
        def serve(self, chips):
            return {"out": body(chips)}

    network = Network()
    return network, {"serving_default": network.serve}


def python(chips):
    made = tf.py_function(lambda x: x, [chips], tf.float32)
    return tf.ensure_shape(made, (None, None, None, 3))


def reads_file(chips):
    return chips + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32) * 0


def writes_file(chips):
    with tf.control_dependencies([tf.io.write_file("/tmp/terraseam-was-here", "x")]):
        return tf.identity(chips)


def restores(chips):
    return (
        chips
        + tf.raw_ops.RestoreV2(
            prefix="/tmp/x", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
        )[0]
    )


def prints(chips):
    tf.print("x", output_stream="file:///tmp/terraseam-was-here")
    return chips


def branches(chips):
    """The operation lies in a function of a function."""
    return tf.cond(tf.reduce_sum(chips) > 0, lambda: reads_file(chips), lambda: chips)


def ends(chips):
    with tf.control_dependencies([tf.raw_ops.Abort(error_msg="the end", exit_without_error=True)]):
        return tf.identity(chips)


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        (python, "EagerPyFunc"),
        (reads_file, "ReadFile"),
        (writes_file, "WriteFile"),
        (restores, "RestoreV2"),
        (prints, "PrintV2"),
        (branches, "ReadFile"),
        (ends, "Abort"),
    ],
)
def test_saved_models_that_run_code_or_touch_files_are_refused(tmp_path, body, operation):
    network, signatures = module_with(body)
    tf.saved_model.save(network, str(tmp_path / "foreign"), signatures)
    with pytest.raises(
        NetworkRefusedError,
        match=f"has the operations? .*{operation}.*, and a SavedModel may only have operations",
    ):
        import_network(request(tmp_path / "foreign", tmp_path / "bundle"))
    assert not Path("/tmp/terraseam-was-here").exists()


def calls(graph, function, branches):
    """Let a node of the graph call a function, by itself or as one of several branches."""
    node = graph.graph_def.node.add(name="stolen", op="Case" if branches else "StatefulPartitionedCall")
    called = node.attr["branches"].list.func.add() if branches else node.attr["f"].func
    called.name = function


def test_what_a_saved_model_does_is_read_as_tensorflow_reads_it(saved_model, tmp_path):
    check_saved_model(saved_model)
    graph = read_graph(saved_model)
    facts = graph_facts(memoryview(graph.SerializeToString()))
    inner = [(function.signature.name, function.node_def) for function in graph.graph_def.library.function]
    assert [(name, [node.name for node in nodes]) for name, nodes in facts.functions] == [
        (name, [node.name for node in nodes]) for name, nodes in inner
    ]
    known = {node.name: tuple(calls_of(node)) for node in graph.graph_def.node}
    assert {node.name: node.functions for node in facts.nodes} == known
    assert (
        facts.concrete == set(graph.object_graph_def.concrete_functions)
        and "serving_default" in facts.signatures
    )
    network, signatures = module_with(branches)
    tf.saved_model.save(network, str(tmp_path / "foreign"), signatures)
    with pytest.raises(NetworkRefusedError, match=r"has the operations? .*ReadFile"):
        check_saved_model(tmp_path / "foreign")


@pytest.mark.parametrize("branches", [False, True])
def test_saver_functions_may_be_called_by_the_saver_alone(saved_model, branches):
    graph = read_graph(saved_model)
    refuse_operations(graph, saved_model)
    saver = next(
        f.signature.name for f in graph.graph_def.library.function if "traced_save" in f.signature.name
    )
    calls(graph, saver, branches)
    with pytest.raises(
        NetworkRefusedError,
        match="has the operations MergeV2Checkpoints, SaveV2, ShardedFilename, StaticRegex",
    ):
        refuse_operations(graph, saved_model)


NOT_ALLOWED = (
    "Abort",
    "DecodeProtoV2",
    "EncodeProto",
    "CopyHost",
    "ReadFile",
    "RemoteCall",
    "LoadDataset",
    "OwnOperation",
)


@pytest.mark.parametrize("operation", NOT_ALLOWED)
@pytest.mark.parametrize("inside", ["graph", "function"])
def test_operations_that_are_not_listed_are_refused_wherever_they_are(saved_model, operation, inside):
    graph = read_graph(saved_model)
    library = graph.graph_def.library
    nodes = graph.graph_def.node if inside == "graph" else library.function[0].node_def
    nodes.add(name="sly", op=operation)
    with pytest.raises(
        NetworkRefusedError, match=f"has the operation {operation}, and a SavedModel may only have"
    ):
        refuse_operations(graph, saved_model)


def test_a_function_is_no_way_around_the_list(saved_model):
    """An operation may be the name of a function; that of a function may be that of an operation."""
    graph = read_graph(saved_model)
    library = graph.graph_def.library
    names = [function.signature.name for function in library.function]
    graph.graph_def.node.add(name="calls", op=next(name for name in names if "signature_wrapper" in name))
    refuse_operations(graph, saved_model)
    library.function.add().signature.name = "Abort"
    graph.graph_def.node.add(name="sly", op="Abort")
    with pytest.raises(NetworkRefusedError, match="has the operation Abort"):
        refuse_operations(graph, saved_model)


def test_what_is_allowed_are_operations_of_tensorflow_that_touch_nothing_else():
    assert [name for name in sorted(ALLOWED | CHECKPOINT) if not hasattr(tf.raw_ops, name)] == []
    touching = r"File|Save|Restore|Reader|Dataset|Iterator|Summary|Debug|Print|Send|Recv|Rpc|Remote|Py|Abort|Proto|Host"
    assert [name for name in sorted(ALLOWED) if re.search(touching, name)] == []


@pytest.mark.parametrize(
    ("shape", "body", "words"),
    [
        (
            (None, 64, 64, 3),
            lambda x: x,
            "only takes chips of 64 x 64 px .*, a size that cannot be changed in a SavedModel",
        ),
        ((1, None, None, 3), lambda x: x, "only takes batches of 1"),
        ((None, None, None, 5), lambda x: x, "takes 5 bands .*, but 3 were given"),
        (
            (None, None, None, 3),
            lambda x: tf.argmax(x, -1),
            "outputs labels, which change too rarely .*; give --reach",
        ),
        ((None, None, None, 3), lambda x: x[:, ::2], "answers|no stride was found"),
    ],
)
def test_saved_models_that_do_not_fit_are_refused(tmp_path, shape, body, words):
    network, signatures = module_with(body, shape)
    tf.saved_model.save(network, str(tmp_path / "foreign"), signatures)
    with pytest.raises(NetworkRefusedError, match=words):
        import_network(request(tmp_path / "foreign", tmp_path / "bundle"))


def test_a_stride_that_a_network_does_not_take_is_refused(tmp_path):
    def halved(chips):
        return tf.reshape(chips, tf.concat([tf.shape(chips)[:1], tf.shape(chips)[1:3] // 48 * 48, [3]], 0))

    network, signatures = module_with(halved)
    tf.saved_model.save(network, str(tmp_path / "foreign"), signatures)
    with pytest.raises(NetworkRefusedError, match=r"fails on (a chip|chips) .*; give (another )?--stride"):
        import_network(request(tmp_path / "foreign", tmp_path / "bundle", stride=32))


def test_saved_models_with_other_signatures_are_refused(tmp_path):
    network, signatures = module_with(lambda x: x)
    tf.saved_model.save(network, str(tmp_path / "foreign"), {"predict": signatures["serving_default"]})
    with pytest.raises(
        NetworkRefusedError, match=r"has no signature 'serving_default' \(its signatures: predict\)"
    ):
        import_network(request(tmp_path / "foreign", tmp_path / "bundle"))


def test_links_out_of_a_saved_model_are_not_followed(tmp_path, saved_model):
    shutil.copytree(saved_model, tmp_path / "foreign")
    (tmp_path / "foreign" / "assets" / "secret").symlink_to("/etc/hostname")
    with pytest.raises(NetworkRefusedError, match="is a link to a file outside of"):
        copy_saved_model(tmp_path / "foreign", tmp_path / "copy")


def test_damaged_saved_models_are_refused(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "saved_model.pb").write_bytes(b"\xff" * 64)
    with pytest.raises(NetworkRefusedError, match="is not a SavedModel"):
        import_network(request(tmp_path / "foreign", tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.onnx", "does not exist; name a .keras, .h5 or .onnx file, or the folder of a SavedModel"),
        ("text.txt", "is not a network that can be imported"),
        ("folder", "is a folder without saved_model.pb"),
    ],
)
def test_paths_that_hold_no_network_are_refused(tmp_path, name, words):
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NetworkRefusedError, match=words):
        import_network(request(tmp_path / name, tmp_path / "bundle"))


@pytest.mark.parametrize("fails", ["network", "card"])
def test_bundles_are_written_whole_or_not_at_all(tmp_path, fails):
    path = small(3).save(tmp_path / "foreign.onnx")
    card = import_network(request(path, tmp_path / "bundle")).card
    before = {file.name: file.read_bytes() for file in (tmp_path / "bundle").iterdir()}

    def save(folder):
        (folder / "model.onnx").write_bytes(b"half")
        if fails == "network":
            raise OSError("the disk is full")

    fields = {
        name: getattr(card, name)
        for name in card.__dataclass_fields__
        if name not in ("format", "weights_sha256")
    }
    with pytest.raises((OSError, CardError)):
        changed = {**fields, "stride": 0 if fails == "card" else 2}
        replace_folder(tmp_path / "bundle", lambda staging: fill_bundle(staging, changed, save), force=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "bundle").iterdir()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bundle", "foreign.onnx"]


def test_folders_that_hold_other_things_are_left_alone(tmp_path):
    path = small(3).save(tmp_path / "foreign.onnx")
    with pytest.raises(CardError, match="holds files that are not a bundle"):
        import_network(request(path, tmp_path, force=True))
    with pytest.raises(CardError, match="is a file; name a folder"):
        import_network(request(path, path, force=True))


def test_onnx_files_are_imported_without_keras_and_tensorflow(tmp_path):
    path = small(3).save(tmp_path / "foreign.onnx")
    code = (
        "import sys; from pathlib import Path; "
        "from terraseam.models.bundle.card import Scaling, ClassInfo; "
        "from terraseam.models.importing.importer import ImportRequest, import_network; "
        f"words = dict(name='x', version='1', license='x', gsd='any', fill=(0, 0, 0), bands=('r', 'g', 'b'), "
        "scaling=Scaling((1,) * 3, (0,) * 3), classes=tuple(ClassInfo(c, '#000000') for c in 'abc')); "
        f"import_network(ImportRequest(Path({str(path)!r}), Path({str(tmp_path / 'bundle')!r}), words)); "
        "print(*sorted({'keras', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (
        done.stdout.strip() == ""
        and json.loads((tmp_path / "bundle" / "card.json").read_text())["stride"] == 2
    )
