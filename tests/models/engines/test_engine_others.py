"""OpenVINO and ONNX Runtime say what TensorFlow says, and networks of other files run where they can."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import nets
import numpy as np
import onnx
import pytest
import tensorflow as tf
from engine_bundles import brightest_onnx, onnx_bundle, saved_model_bundle, stepped
from onnx import TensorProto
from places import ROOT
from tiers import some

from terraseam.models.bundle.card import Card, network_sha256
from terraseam.models.engines.conversion import Conversion, converted_network
from terraseam.models.engines.convert import LARGE, check_room
from terraseam.models.engines.engine import Engine, shared_engine
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.engines.workplace import Workplace
from terraseam.models.errors import CardError
from terraseam.models.layers.pooling import IndexedMaxPooling2D, Unpooling2D

OTHERS = ("openvino", "onnx")
CONVERTED = some(OTHERS, quick=1)
"""Engines of which each conversion starts TensorFlow once more: five seconds of a processor."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return Workplace(str(tmp_path_factory.mktemp("work") / "converted"), calls=2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet(width=8))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return saved_model_bundle(tmp_path_factory.mktemp("bundles") / "saved", stepped())


@pytest.fixture(scope="module")
def stepped_bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "stepped", stepped())


def chips(count=1, height=36, width=52, seed=0):
    made = np.random.default_rng(seed).integers(0, 255, (count, height, width, 3)).astype("uint8")
    made.flags.writeable = False
    return made


def engine_of(bundle, engine, workplace=None, **changes):
    profile = dataclasses.replace(execution_profile(engine=engine), **changes)
    return shared_engine(bundle, profile, workplace)


def assert_same_labels(got, want):
    assert got.dtype == np.float32 and got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-4)
    best = np.sort(want, axis=-1)
    clear = best[..., -1] - best[..., -2] > 1e-4
    assert clear.mean() > 0.99 and (got.argmax(-1) == want.argmax(-1))[clear].all()


@pytest.mark.parametrize("name", CONVERTED)
def test_logits_are_those_of_tensorflow(bundle, workplace, name):
    want = engine_of(bundle, "tensorflow").logits(chips(3))
    assert_same_labels(engine_of(bundle, name, workplace).logits(chips(3)), want)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_what_nothing_reads_is_no_output_of_a_converted_network(tmp_path, workplace, name):
    """As SegNet on ResNet50, the network takes the places of a pool and leaves its maxima."""
    keras.utils.set_random_seed(4)
    chip = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(6, 3, padding="same")(chip)
    _, places = IndexedMaxPooling2D()(features)
    pooled = keras.layers.MaxPooling2D(3, 2, padding="same")(features)
    logits = keras.layers.Conv2D(3, 3, padding="same")(Unpooling2D()([pooled, places]))
    bundle = nets.make_bundle(tmp_path / "places", keras.Model(chip, logits))
    want, got = (
        engine_of(bundle, engine, workplace).logits(chips(1, 64, 96)) for engine in ("tensorflow", name)
    )
    assert (got.argmax(-1) == want.argmax(-1)).mean() >= 0.999
    assert len(np.unique(want.argmax(-1))) > 1


@pytest.mark.parametrize("name", CONVERTED)
def test_threads_at_once_give_the_bits_of_one_after_another(bundle, workplace, name):
    engine = engine_of(bundle, name, workplace)
    raw = chips(8)
    alone = [engine.logits(chip[None]) for chip in raw]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda chip: engine.logits(chip[None]), list(raw) * 4))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 4, together, strict=True))


@pytest.mark.parametrize("name", CONVERTED)
def test_calls_at_once_change_no_bit(bundle, workplace, name):
    one = engine_of(bundle, name, dataclasses.replace(workplace, calls=1)).logits(chips())
    assert np.array_equal(engine_of(bundle, name, workplace).logits(chips()), one)


def run_python(code, *arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, env=environment)


ENDED = """
import gc, signal, sys, numpy as np
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.workplace import Workplace
engines = [Engine(sys.argv[1], execution_profile(engine="openvino"), Workplace(sys.argv[2])) for _ in range(2)]
for engine in engines:
    engine.logits(np.zeros((1, 36, 52, 3), "uint8"))
while engines:
    del engine
    engine = engines.pop(0)
del engine
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_run_can_be_interrupted_after_its_openvino_networks_have_ended(tmp_path):
    bundle = onnx_bundle(tmp_path / "bundle", brightest_onnx(), "logits", "channels_first")
    done = run_python(ENDED, bundle, tmp_path / "converted")
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


LOADED = """
import sys, numpy as np
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.workplace import Workplace
engine = Engine(sys.argv[1], execution_profile(engine=sys.argv[2]), Workplace(sys.argv[3]))
engine.logits(np.zeros((1, 36, 52, 3), "uint8"))
print(*sorted({"tensorflow", "keras", "openvino", "onnxruntime"} & {*sys.modules}))
"""


@pytest.mark.parametrize(
    ("name", "module"), some([("openvino", "openvino"), ("onnx", "onnxruntime")], quick=1)
)
def test_tensorflow_stays_out_of_the_process_that_infers(bundle, workplace, name, module):
    engine_of(bundle, name, workplace).logits(chips())
    assert run_python(LOADED, bundle, name, workplace.converted).stdout.split() == [module]


TOLD = """
import sys, tensorflow as tf
from pathlib import Path
from terraseam.models.engines.convert import CONVERTERS
CONVERTERS["openvino"](lambda x: [x * 2], [], tf.TensorSpec((1, 4)), Path(sys.argv[1]))
from openvino.tools.ovc import telemetry_utils
print(telemetry_utils.tm.__name__)
"""


@pytest.mark.slow
def test_converting_tells_nobody(tmp_path):
    assert run_python(TOLD, tmp_path / "network.xml").stdout.split()[-1].endswith("telemetry_stub")
    assert (tmp_path / "network.bin").exists()


def conversion(bundle, name, shape=(1, 36, 52, 3)):
    return Conversion.of(bundle, Card.read(bundle), execution_profile(engine=name), shape)


@pytest.mark.slow
def test_a_conversion_is_kept_and_made_again_where_it_is_damaged(bundle, workplace):
    want = engine_of(bundle, "openvino", workplace).logits(chips())
    kept = converted_network(conversion(bundle, "openvino"), workplace.converted)
    inode = kept.stat().st_ino
    assert converted_network(conversion(bundle, "openvino"), workplace.converted).stat().st_ino == inode
    weights = kept.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-4])
    left = kept.parent.with_name(f".{kept.parent.name}.0000.draft")
    left.mkdir()
    again = Engine(bundle, execution_profile(engine="openvino"), workplace)
    assert np.array_equal(again.logits(chips()), want)
    assert not left.exists() and not list(Path(workplace.converted).glob(".*.draft"))
    assert sorted(file.name for file in kept.parent.iterdir()) == [
        "checksums.json",
        "network.bin",
        "network.xml",
    ]


CONVERT = """
import sys, json
from terraseam.models.engines.conversion import *
values = json.loads(sys.argv[1])
network = converted_network(Conversion(**{**values, "versions": tuple(values["versions"])}), sys.argv[2])
print(network.stat().st_ino)
"""


@pytest.mark.slow
def test_processes_that_want_the_same_conversion_share_one(bundle, tmp_path):
    wanted = json.dumps(dataclasses.asdict(conversion(bundle, "openvino")))
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda _: run_python(CONVERT, wanted, tmp_path / "shared"), range(3)))
    assert [one.returncode for one in done] == [0, 0, 0], done[0].stderr
    assert len({one.stdout for one in done}) == 1
    assert len([folder for folder in (tmp_path / "shared").iterdir() if folder.is_dir()]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"weights_sha256": "1" * 64}, {"engine": "onnx"}, {"versions": ("1",)}, {"shape": (1, 36, 56, 3)}],
)
def test_conversions_have_names_of_what_they_depend_on(bundle, change):
    made = conversion(bundle, "openvino")
    assert dataclasses.replace(made, **change).name != made.name
    assert dataclasses.replace(made, bundle="elsewhere").name == made.name


@pytest.mark.slow
def test_large_weights_are_constants_of_the_converted_file(tmp_path, workplace):
    keras.utils.set_random_seed(6)
    chip = keras.Input((None, None, 3))
    wide = keras.layers.Conv2D(400, 5, padding="same", activation="relu")(chip)
    wide = keras.layers.BatchNormalization()(
        keras.layers.Conv2D(200, 3, padding="same", use_bias=False)(wide)
    )
    bundle = nets.make_bundle(tmp_path / "wide", keras.Model(chip, keras.layers.Conv2D(3, 1)(wide)))
    want = engine_of(bundle, "tensorflow").logits(chips(1, 8, 12))
    assert_same_labels(engine_of(bundle, "onnx", workplace).logits(chips(1, 8, 12)), want)
    converted = converted_network(conversion(bundle, "onnx", (1, 8, 12, 3)), workplace.converted)
    graph = onnx.load(converted).graph
    assert [one.name for one in graph.input] == ["chips"]
    assert max(np.prod(one.dims) for one in graph.initializer) == 400 * 9 * 200 >= LARGE


@pytest.mark.slow
def test_what_cannot_be_converted_is_said_in_a_sentence(bundle, tmp_path):
    wrong = dataclasses.replace(conversion(bundle, "onnx"), bundle=str(tmp_path))
    with pytest.raises(EngineError, match=r"cannot be converted for onnx \(bundle .* has no card.json"):
        converted_network(wrong, str(tmp_path / "converted"))
    left = [path.name for path in (tmp_path / "converted").iterdir()]
    assert left == [f".{wrong.name}.lock"]


@pytest.fixture
def small_disk(tmp_path):
    """A function that gives a disk of some size, such as ``64k``."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def make(size):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        return disk

    yield make
    subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def test_more_than_a_disk_takes_is_not_converted(tmp_path):
    needs = r"it takes about 1,000,000\.0 MB, and [0-9,.]+ MB are free; free some space"
    words = f"not enough space for it in {tmp_path}: {needs}"
    with pytest.raises(EngineError, match=words):
        check_room(tmp_path, 10**12)
    check_room(tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "size", "why"),
    [
        ("onnx", "8k", r"it takes about 0\.0 MB, and 0\.0 MB are free"),
        ("openvino", "8k", r"it takes about 0\.0 MB, and 0\.0 MB are free"),
        ("onnx", "24k", "no space left on device"),
    ],
)
def test_a_disk_that_is_too_small_for_a_converted_network_is_named(bundle, small_disk, engine, size, why):
    place = small_disk(size) / "converted"
    with pytest.raises(
        EngineError,
        match=rf"converted for {engine} \(there is not enough space for it in {place}: {why}; free some space",
    ):
        converted_network(conversion(bundle, engine), str(place))
    assert [path.name for path in place.iterdir()] == [f".{conversion(bundle, engine).name}.lock"]


def test_a_folder_for_conversions_that_others_may_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_to_all = tmp_path / f"terraseam-converted-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(EngineError, match="can be written to by other users"):
        converted_network(Conversion("none", "0", "onnx", (), (1,)), None)


def test_a_saved_model_gives_the_logits_of_its_keras_network(stepped_bundle, saved):
    want = engine_of(stepped_bundle, "tensorflow").logits(chips(2))
    np.testing.assert_allclose(engine_of(saved, "tensorflow").logits(chips(2)), want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_saved_models_are_converted(stepped_bundle, saved, workplace, name):
    want = engine_of(stepped_bundle, "tensorflow").logits(chips())
    assert_same_labels(engine_of(saved, name, workplace).logits(chips()), want)


def test_a_saved_model_without_a_signature_is_refused(tmp_path):
    saved = saved_model_bundle(tmp_path / "saved", nets.brightest_band())
    bare = tf.Module()
    bare.run = tf.function(lambda chip: chip, input_signature=[tf.TensorSpec([None, None, None, 3])])
    tf.saved_model.save(bare, str(tmp_path / "bare"), signatures={"train": bare.run})
    rewritten(saved, tmp_path / "bare")
    with pytest.raises(EngineError, match=r"has no signature 'serving_default' \(its signatures: train\)"):
        Engine(saved, execution_profile())


def test_a_saved_model_that_reads_files_is_refused(tmp_path):
    saved = saved_model_bundle(tmp_path / "saved", nets.brightest_band())
    sly = tf.Module()
    sly.run = tf.function(
        lambda chip: chip + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
        input_signature=[tf.TensorSpec([None, None, None, 3])],
    )
    tf.saved_model.save(sly, str(tmp_path / "sly"), signatures=sly.run)
    rewritten(saved, tmp_path / "sly")
    with pytest.raises(EngineError, match="ReadFile"):
        Engine(saved, execution_profile())


def rewritten(bundle, folder):
    """Put another SavedModel into a bundle, with a card that fits."""
    shutil.rmtree(bundle / "saved_model")
    folder.rename(bundle / "saved_model")
    card = Card.read(bundle)
    dataclasses.replace(card, weights_sha256=network_sha256(bundle / "saved_model")).write(bundle)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("output_type", ["logits", "scores", "labels"])
def test_onnx_files_run_as_they_are_whatever_they_answer(tmp_path, name, output_type):
    bundle = onnx_bundle(tmp_path / "bright", brightest_onnx(output_type), output_type, "channels_first")
    engine = engine_of(bundle, name, Workplace(str(tmp_path / "converted")))
    raw = chips(2, 10, 14)
    logits = engine.logits(raw)
    assert logits.shape == (2, 10, 14, 3) and (logits.argmax(-1) == raw.argmax(-1)).all()
    if output_type != "labels":
        scaled = (raw / 127.5 - 1) * 4
        np.testing.assert_allclose(np.diff(logits), np.diff(scaled), atol=1e-4)
    assert not (tmp_path / "converted").exists()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_onnx_files_get_the_type_of_number_that_they_take(tmp_path, name, kind):
    bundle = onnx_bundle(tmp_path / "bright", brightest_onnx(kind=kind), "logits", "channels_first")
    raw = chips(1, 10, 14)
    assert (engine_of(bundle, name).logits(raw).argmax(-1) == raw.argmax(-1)).mean() > 0.99


@pytest.mark.parametrize("name", OTHERS)
def test_networks_that_do_not_answer_as_their_card_says_are_said_to_be_so(tmp_path, name):
    many = onnx_bundle(tmp_path / "many", brightest_onnx(outputs=2), "logits", "channels_first")
    with pytest.raises(EngineError, match="outputs 2 arrays; it must output one map of logits"):
        engine_of(many, name).logits(chips(1, 10, 14))
    last = onnx_bundle(tmp_path / "last", brightest_onnx(), "logits", "channels_last")
    with pytest.raises(EngineError, match=r"does not run on chips of shape \(1, 10, 14, 3\)"):
        engine_of(last, name).logits(chips(1, 10, 14))


@pytest.mark.parametrize("name", OTHERS)
def test_another_file_than_the_cards_is_refused(tmp_path, name):
    bundle = onnx_bundle(tmp_path / "bright", brightest_onnx(), "logits", "channels_first")
    (bundle / "model.onnx").write_bytes(b"something else")
    with pytest.raises(CardError, match="weights_sha256 differs"):
        engine_of(bundle, name)


def test_tensorflow_does_not_run_onnx_files(tmp_path):
    bundle = onnx_bundle(tmp_path / "bright", brightest_onnx(), "logits", "channels_first")
    with pytest.raises(EngineError, match=r"does not run model.onnx of tiny; pass --engine onnx or openvino"):
        engine_of(bundle, "tensorflow")


def test_profiles_name_engine_and_converter():
    profiles = {name: execution_profile(engine=name) for name in ("tensorflow", *OTHERS)}
    assert profiles["tensorflow"].converter == "" and profiles["openvino"].converter.startswith(
        "tensorflow 2"
    )
    assert ", tf2onnx 1" in profiles["onnx"].converter
    assert len({profile.engine_version for profile in profiles.values()}) == 3


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_an_engine_that_is_not_installed_says_how_to_install_it(bundle, monkeypatch, name, package):
    profile = execution_profile(engine=name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        EngineError, match=rf"not installed here; install it with pip install 'terraseam\[{name}\]'"
    ):
        Engine(bundle, profile)
