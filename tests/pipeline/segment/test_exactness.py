"""Promise 1: the stitched label map equals inference on the whole raster, mirrored by the halo and up to the stride."""

from __future__ import annotations

import keras
import nets
import numpy as np
import pytest
from exact_tiles import FLOAT_NOISE, assert_exact, random_scene, reach_of, tiled, whole_logits
from keras import layers

from terraseam.models import zoo
from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.models.networks.unet import unet
from terraseam.tiles.grid.lattice import Halo, Lattice


def engine_of(folder, model, **changes):
    return Engine(nets.make_bundle(folder, model, **changes), execution_profile())


@pytest.fixture(scope="module")
def random_unet(tmp_path_factory):
    keras.utils.set_random_seed(3)
    model = unet(3, 3, decoder_width=4)
    for layer in model.layers:
        # Fresh batch normalization makes all logits nearly equal; spread them as training does.
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            rng = np.random.default_rng(len(gamma))
            layer.set_weights([gamma * 1.4, beta + rng.normal(0, 0.4, beta.shape), mean, variance])
    return engine_of(tmp_path_factory.mktemp("unet"), model)


@pytest.fixture(scope="module")
def coast():
    from terraseam.models.bundle.card import find_bundle

    return Engine(find_bundle("coast"), execution_profile())


CASES = [
    # height, width, core, strides of halo beyond the reach, cores a sheet
    (333, 211, 64, 0, 1),
    (333, 211, 128, 0, 2),
    (333, 211, 96, 1, 3),
    (150, 401, 160, 0, 1),
    (150, 401, 48, 2, 4),
    (61, 37, 128, 0, 1),
    (17, 250, 64, 0, 2),
]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["random_unet", "coast"])
@pytest.mark.parametrize("case", CASES)
def test_tiles_equal_the_whole_mirrored_raster(network, case, request):
    engine = request.getfixturevalue(network)
    height, width, core, more, sheet_cores = case
    reach = reach_of(engine)
    halo = Halo(*(side + more * engine.card.stride for side in reach.sides))
    lattice = Lattice(height, width, core, halo, sheet_cores)
    assert_exact(engine, random_scene(height, width), lattice, halo)


@pytest.mark.parametrize(
    "case", [(75, 53, 16, 0, 1), (75, 53, 32, 1, 2), (9, 90, 16, 0, 3), (5, 3, 16, 2, 1)]
)
def test_tiles_of_a_small_network_equal_the_whole_mirrored_raster(small, case):
    height, width, core, more, sheet_cores = case
    halo = Halo(*(side + more * 4 for side in reach_of(small).sides))
    assert_exact(small, random_scene(height, width, 1), Lattice(height, width, core, halo, sheet_cores), halo)


CUT = [
    # height, width, core, cores a sheet; the network's halo is larger than some of these rasters
    (1, 1, 16, 1),
    (1, 90, 32, 2),
    (5, 3, 16, 1),
    (64, 96, 32, 2),
    (65, 97, 32, 2),
    (64, 33, 32, 1),
    (75, 53, 64, 1),
    (50, 71, 48, 3),
]


@pytest.mark.parametrize("cut", [4, 8, 20])
@pytest.mark.parametrize("case", CUT)
def test_cut_tiles_equal_the_whole_mirrored_raster_and_whole_tiles(small, case, cut):
    height, width, core, sheet_cores = case
    halo, scene = reach_of(small), random_scene(height, width, 3)
    lattices = [Lattice(height, width, core, halo, sheet_cores, step) for step in (None, cut)]
    # A raster of few pixels may have ties alone: compare logits, too.
    want = whole_logits(small, scene, halo)
    (whole, whole_labels), (logits, labels) = (tiled(small, scene, lattice) for lattice in lattices)
    close = {"rtol": 0, "atol": FLOAT_NOISE * np.abs(want).max()}
    assert np.allclose(logits, want, **close) and np.allclose(logits, whole, **close)
    best = np.sort(want, axis=-1)
    clear = best[..., -1] - best[..., -2] > FLOAT_NOISE * np.abs(want).max()
    assert (labels == want.argmax(-1))[clear].all() and (labels == whole_labels)[clear].all()


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width", "core"), [(1, 300, 256), (256, 385, 256), (130, 257, 256)])
def test_cut_tiles_of_coast_equal_the_whole_mirrored_raster(coast, height, width, core):
    halo = reach_of(coast)
    scene = random_scene(height, width, 6)
    assert_exact(coast, scene, Lattice(height, width, core, halo, 2, 128), halo)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return engine_of(tmp_path_factory.mktemp("small"), nets.small_unet(seed=2))


@pytest.fixture(scope="module")
def positive(tmp_path_factory):
    """A network of stride 4 in which every pixel within reach counts."""
    chip = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 3, padding="same", use_bias=False)(chip)
    x = layers.Conv2D(2, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.Conv2D(2, 5, strides=2, padding="same", use_bias=False)(x)
    x = layers.Conv2D(2, 3, padding="same", use_bias=False)(x)
    x = layers.UpSampling2D(4)(x)
    model = keras.Model(chip, layers.Conv2D(2, 3, padding="same", use_bias=False)(x))
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(0.1, 0.3, weights.shape).astype("f4") for weights in model.get_weights()])
    return engine_of(tmp_path_factory.mktemp("positive"), model)


@pytest.mark.parametrize("side", range(4))
def test_logits_differ_where_the_halo_is_one_stride_below_the_reach(positive, side):
    scene = random_scene(64, 80, 2)
    reach = reach_of(positive)
    want = whole_logits(positive, scene, reach)
    full, _ = tiled(positive, scene, Lattice(64, 80, 16, reach, 2))
    assert np.allclose(full, want, rtol=1e-5)
    sides = list(reach.sides)
    sides[side] -= 4
    less, _ = tiled(positive, scene, Lattice(64, 80, 16, Halo(*sides), 2))
    assert not np.allclose(less, want, rtol=1e-3)


def test_labels_differ_where_windows_are_off_the_stride(small):
    scene = random_scene(64, 80, 4)
    reach = reach_of(small)
    want = whole_logits(small, scene, reach).argmax(-1)
    on, _ = tiled(small, scene, Lattice(64, 80, 16, reach, 1))
    off = Halo(reach.top + 2, reach.bottom + 2, reach.left + 2, reach.right + 2)
    shifted, _ = tiled(small, scene, Lattice(64, 80, 16, off, 1))
    assert (on.argmax(-1) != want).sum() <= 1
    assert (shifted.argmax(-1) != want).sum() > 20


EXACT = [
    (row.architecture, row.encoder)
    for row in zoo.ZOO
    if row.task == "semantic" and row.reach and (row.encoder != "resnet50" or row.architecture == "unet")
]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), EXACT, ids=[f"{a}-{e}" for a, e in EXACT])
def test_tiles_of_networks_of_finite_reach_equal_the_whole_raster(architecture, encoder, tmp_path):
    engine = engine_of(tmp_path / "tiny", nets.tiny_network(architecture, encoder))
    height, width, core = 117, 171, 64
    scene, halo = random_scene(height, width, 8), reach_of(engine)
    lattice = Lattice(height, width, core, halo, 2)
    if not architecture.startswith("segnet"):
        assert_exact(engine, scene, lattice, halo)
        return
    # Float noise moves a maximum within its window of pooling, and unpooling puts it elsewhere.
    want = whole_logits(engine, scene, halo).argmax(-1)
    _, labels = tiled(engine, scene, lattice)
    assert (labels == want).mean() >= 0.999
    assert len(np.unique(want)) > 1
