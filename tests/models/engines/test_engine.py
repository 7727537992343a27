"""The engine: the same bits whoever calls, and no TensorFlow where none is needed."""

import dataclasses
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from nets import make_bundle, small_unet
from places import ROOT

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.values import Scaling
from terraseam.models.engines.engine import Engine, shared_engine
from terraseam.models.engines.profile import EngineError, Profile, execution_profile
from terraseam.models.engines.scaling import scale

PROFILE = execution_profile()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    model = small_unet(width=8)
    scaling = Scaling((1 / 127.5, 1 / 100, 2.0), (-1.0, 0.0, 0.5))
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", model, scaling=scaling)


@pytest.fixture(scope="module")
def engine(bundle):
    return shared_engine(bundle, PROFILE)


def chips(count=1, height=36, width=52, dtype="uint8"):
    made = np.random.default_rng(0).integers(0, 255, (count, height, width, 3)).astype(dtype)
    made.flags.writeable = False
    return made


def test_logits_are_those_of_the_network(engine, bundle):
    raw = chips(2)
    logits = engine.logits(raw)
    assert logits.dtype == np.float32 and logits.shape == (2, 36, 52, 3)
    card = engine.card
    expected = load_model(bundle)(raw * np.float32(card.scaling.scale) + np.float32(card.scaling.offset))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert np.ptp(logits) > 0.1


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_all_raster_types_give_the_same_bits(engine, dtype):
    assert np.array_equal(engine.logits(chips(dtype=dtype)), engine.logits(chips()))


def test_threads_at_once_give_the_bits_of_one_after_another(engine):
    raw = chips(12, 64, 44)
    alone = [engine.logits(chip[None]) for chip in raw]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda chip: engine.logits(chip[None]), list(raw) * 3))
    assert all(np.array_equal(a, b) for a, b in zip(alone * 3, together, strict=True))


def test_many_chips_give_the_bits_of_single_ones(engine):
    raw = chips(3)
    assert np.array_equal(engine.logits(raw), np.concatenate([engine.logits(chip[None]) for chip in raw]))


def test_calls_are_filled_up_without_changing_the_bits(bundle):
    engine = Engine(bundle, dataclasses.replace(PROFILE, samples=2))
    raw = chips(3)
    logits = engine.logits(raw)
    assert logits.shape[0] == 3 and engine.calls == 2
    assert np.array_equal(logits[2:], engine.logits(raw[2:]))
    assert np.array_equal(logits[2], engine.logits(raw[[2, 0]])[0])


def test_calls_are_counted_across_threads(bundle):
    engine = Engine(bundle, PROFILE)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(engine.logits, [chips(3, 8, 12)] * 8))
    assert engine.calls == 24


def test_each_size_of_chip_is_compiled_once(bundle):
    engine = Engine(bundle, PROFILE)
    for size in ((8, 12), (12, 8), (8, 12)):
        assert engine.logits(chips(1, *size)).shape == (1, *size, 3)
    assert len(engine._network._compiled) == 2


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 36, 52, 4), r"tiny expects chips \(1\+, height, width, 3\), got \(1, 36, 52, 4\)"),
        ((36, 52, 3), "expects chips"),
        ((0, 36, 52, 3), "expects chips"),
        ((1, 36, 50, 3), "expects chips on multiples of 4 px, got 36 x 50 px"),
        ((1, 0, 4, 3), "got 0 x 4 px"),
    ],
)
def test_chips_that_do_not_fit_are_refused(engine, shape, words):
    with pytest.raises(ValueError, match=words):
        engine.logits(np.zeros(shape, "uint8"))


def test_one_engine_a_process_for_a_bundle_and_a_profile(engine, bundle, monkeypatch):
    monkeypatch.chdir(bundle.parent)
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda _: shared_engine(bundle.name, PROFILE), range(8)))
    assert all(one is engine for one in engines)
    assert shared_engine(bundle, dataclasses.replace(PROFILE, samples=3)) is not engine


def test_a_gpu_profile_needs_a_gpu(bundle):
    with pytest.raises(EngineError, match="the profile requires a GPU, but TensorFlow finds none"):
        Engine(bundle, dataclasses.replace(PROFILE, device="gpu"))


def test_a_profile_is_plain_and_pins_one_thread():
    fields = execution_profile(batch_size=5).to_json()
    assert fields["samples"] == 5 and PROFILE.samples == 1
    assert fields == {**PROFILE.to_json(), "samples": 5}
    assert (PROFILE.engine, PROFILE.precision, PROFILE.device, PROFILE.threads) == (
        "tensorflow",
        "float32",
        "cpu",
        1,
    )
    assert PROFILE.instructions.startswith(platform.machine())
    assert PROFILE.engine_version[0].isdigit() and PROFILE.keras_version[0].isdigit()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": "torch"}, "no engine runs torch in float32 on a cpu"),
        ({"engine": "onnx", "device": "gpu"}, "no engine runs onnx in float32 on a gpu"),
        ({"engine": "openvino", "precision": "float16"}, "no engine runs openvino in float16 on a cpu"),
        ({"device": "tpu"}, "on a tpu"),
        ({"samples": 0}, "must be 1 or more, got 1 and 0"),
    ],
)
def test_profiles_that_nothing_runs_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Profile(**{**PROFILE.to_json(), **changes})


def run_python(code, *arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_a_profile_is_made_without_tensorflow():
    code = (
        "import sys; from terraseam.models.engines import engine, profile; profile.execution_profile();"
        "print({'tensorflow', 'keras'} & {*sys.modules})"
    )
    assert run_python(code).stdout.strip() == "set()"


@pytest.mark.slow
def test_a_context_with_other_threads_is_refused(bundle):
    code = (
        "import sys, tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(2); tf.constant(1);"
        "from terraseam.models.engines.engine import *; from terraseam.models.engines.profile import *; "
        "Engine(sys.argv[1], execution_profile())"
    )
    done = run_python(code, str(bundle))
    assert "EngineError: TensorFlow is already set up in this process, but not with 1 threads" in done.stderr


def test_scaling_makes_a_new_array():
    raw = np.array([[[[1, 2]]]], "uint16")
    raw.flags.writeable = False
    scaled = scale(raw, Scaling((0.5, 2.0), (1.0, -1.0)))
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [[[[1.5, 3.0]]]]
    floats = np.ones((1, 1, 1, 2), "f4")
    assert scale(floats, Scaling((1.0, 1.0), (0.0, 0.0))) is not floats and floats.sum() == 2
    with pytest.raises(ValueError, match="chips have 2 bands, the scaling has 1"):
        scale(raw, Scaling((1.0,), (0.0,)))
