"""Memory of a call: networks that compare every place with every other take more than a constant a pixel."""

import json
import mmap
import sys

import keras
import numpy as np
import pytest
from foreign_networks import Graph, request
from nets import make_bundle, small_unet

from terraseam.models.bundle.card import Card
from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing import measure, measured_run
from terraseam.models.importing.importer import import_network
from terraseam.models.reach.call_memory import LARGE_CHIP, excess_of, fit_memory, growth_terms, round_up
from terraseam.models.reach.memory import call_memory

layers = keras.layers


@pytest.mark.parametrize("excess", [0.0, 0.5, 1.0])
def test_growth_is_bounded_on_chips_of_every_size(excess):
    linear, squared = growth_terms(1000.0, 400.0, excess)
    for side in (64, 512, 1024, 1536, 2048, 4096):
        pixels = side**2
        grown, bound = 1000 * (pixels / 400) ** (1 + excess), linear * pixels + squared * pixels**2
        assert bound >= grown * (1 - 1e-9)
        assert bound <= grown * 2 or side < 512
    assert linear * LARGE_CHIP + squared * LARGE_CHIP**2 == pytest.approx(
        1000 * (LARGE_CHIP / 400) ** (1 + excess)
    )


def test_exponents_are_rounded_up_to_whole_axes():
    tokens = [24 * 36, 36 * 36, 24 * 48]
    with_class = [
        np.log((tokens[n] + 1) ** 2 / (tokens[0] + 1) ** 2) / np.log(r) for n, r in ((1, 3 / 2), (2, 4 / 3))
    ]
    assert excess_of(*with_class) == excess_of(2, 2) == 1
    assert excess_of(2, 1) == excess_of(1.45, 1.63) == 0.5
    assert excess_of(1, 1) == excess_of(0, 0) == excess_of(1, 0) == 0


def test_memory_of_three_sizes_is_taken_apart():
    pixels = [512**2, 1024**2, 1536**2]
    assert fit_memory(pixels, [10**9 + 300 * one for one in pixels]) == pytest.approx((300, 0))
    both = fit_memory(pixels, [10**9 + 300 * one + one**2 // 1000 for one in pixels])
    assert both == pytest.approx((300, 1e-3), rel=1e-3)
    noisy = fit_memory(
        pixels, [10**9 + round(300 * one * noise) for one, noise in zip(pixels, (1.02, 1, 1.02), strict=True)]
    )
    assert noisy[1] == 0 and noisy[0] == pytest.approx(300, rel=0.03)
    assert fit_memory(pixels, [10**9, 10**9, 2 * 10**9])[1] > 0


def test_numbers_are_rounded_up_to_few_digits():
    assert round_up(1.23401e-4) == 1.235e-4 and round_up(0) == 0 and round_up(2.0) == 2.0


def attentive(**attention):
    chip = keras.Input((None, None, 3))
    tokens = layers.Conv2D(8, 16, strides=16)(chip)
    seen = layers.MultiHeadAttention(4, 2, **attention)(tokens, tokens)
    return keras.Model(chip, layers.UpSampling2D(16)(layers.Conv2D(2, 1)(seen)))


def test_attention_of_keras_networks_is_counted_in_pairs_of_places():
    memory, without = call_memory(attentive()), call_memory(attentive(attention_axes=(1,)))
    scores = 4 * 4 / 256**2
    assert 2 * scores <= memory.per_pixel_squared <= 4 * scores
    rows = 2 * 4 * 4 * (1536 / 16) ** 3
    planned = without.per_pixel * LARGE_CHIP + without.per_pixel_squared * LARGE_CHIP**2
    assert planned >= rows and without.per_pixel_squared < memory.per_pixel_squared / 50
    assert call_memory(small_unet()).per_pixel_squared == 0


def attention_graph(size=("n", "h", "w")):
    """Patches of 16 px, all compared with all, and back to pixels."""
    graph = Graph(size=size).conv(8, 16, strides=[16, 16], pads=[0] * 4)
    shape = graph.add("Shape", graph.x)
    tokens = graph.add("Reshape", graph.x, graph.weight([0, 8, -1], "int64"))
    across = graph.add("Transpose", tokens, perm=[0, 2, 1])
    scores = graph.add("Softmax", graph.add("MatMul", across, tokens), axis=-1)
    seen = graph.add("Transpose", graph.add("MatMul", scores, across), perm=[0, 2, 1])
    graph.x = graph.add("Reshape", seen, shape)
    graph.conv(3, 1)
    return graph.then("Resize", "", graph.weight([1, 1, 16, 16]), mode="nearest")


def test_attention_of_onnx_networks_is_counted_in_pairs_of_places(tmp_path):
    made = import_network(
        request(attention_graph().save(tmp_path / "net.onnx"), tmp_path / "bundle", halo=64)
    )
    scores = 4 / 256**2
    assert 2 * scores <= made.card.memory_per_pixel_squared <= 3 * scores
    assert made.card.memory_per_pixel < 150
    assert any("bytes per pixel squared, from the graph" in note for note in made.notes)
    assert Card.read(tmp_path / "bundle") == made.card


def test_doubles_are_counted_with_eight_bytes(tmp_path):
    taken = []
    for cast in (False, True):
        graph = Graph()
        graph.then("Cast", to=11 if cast else 1)
        graph.x = graph.add("Concat", *[graph.x] * 6, axis=1)
        graph.then("Abs").then("Cast", to=1)
        graph.channels = 18
        path = graph.conv(3, 1).save(tmp_path / f"{cast}.onnx")
        taken.append(import_network(request(path, tmp_path / str(cast))).card.memory_per_pixel)
    assert taken[1] > 1.4 * taken[0]
    chip = keras.Input((None, None, 3))
    single, double = (
        call_memory(keras.Model(chip, layers.Conv2D(16, 1, dtype=dtype)(chip)))
        for dtype in ("float32", "float64")
    )
    assert double.per_pixel > 1.8 * single.per_pixel


def test_cards_without_attention_are_written_as_before(tmp_path):
    folder = make_bundle(tmp_path / "plain", small_unet())
    before = (folder / "card.json").read_bytes()
    assert "memory_per_pixel_squared" not in json.loads(before)
    Card.read(folder).write(folder)
    assert (folder / "card.json").read_bytes() == before


def test_networks_whose_measuring_ends_are_refused_in_a_sentence(tmp_path, monkeypatch):
    words = "the memory of the network could not be measured: .*a machine with more memory"
    for body, why in {
        "import os; os.kill(os.getpid(), 9)": "was killed by signal 9 on a chip of 256 px",
        "print('peak 256 1000')": "a chip of 512 px would need more memory than there is",
        "raise ValueError('no such layer')": "it fails on a chip of 256 px: ValueError: no such layer",
        "": "a chip of 256 px would need more memory than there is",
    }.items():
        monkeypatch.setattr(measure, "PROGRAM", ("-c", body))
        with pytest.raises(NetworkRefusedError, match=words) as refused:
            measure.measured_memory(tmp_path / "network.keras", "model.keras", "channels_last", 3, 1)
        assert why in str(refused.value)


def test_chips_are_measured_from_small_to_large(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["", "network.keras", "model.keras", "3", "3", "64", "320", "512"])

    def outputs(chips):
        # Mapped anew: malloc may take even this much from memory that the process already holds.
        values = np.frombuffer(mmap.mmap(-1, chips.size * 20 * 8))
        values[:] = 1
        return values

    monkeypatch.setattr(measured_run, "runner", lambda *_: outputs)
    measured_run.main()
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [word[:2] for word in words] == [["peak", side] for side in ("64", "320", "512")]
    _, second, third = (int(peak) for *_, peak in words)
    assert third - second == pytest.approx((512**2 - 320**2) * 3 * (20 * 8 + 4), rel=0.2)


def test_the_network_that_is_measured_is_that_of_the_file(tmp_path):
    network, chips = small_unet(), np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    network.save(tmp_path / "network.keras")
    run = measured_run.runner(str(tmp_path / "network.keras"), "model.keras")
    assert np.array_equal(run(chips), network(chips))


def test_sides_of_chips_are_different_multiples_of_the_stride():
    assert measure.chip_sides(1) == [256, 512, 1024, 1536]
    assert measure.chip_sides(1000) == [1000, 2000, 3000, 4000]
