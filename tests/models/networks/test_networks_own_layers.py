"""Terraseam's own layers: each a real one, each allowed into bundles, and nothing like them."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from nets import make_bundle
from places import ROOT

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import SHIPPED
from terraseam.models.bundle.own_layers import OWN_LAYERS, import_own_layers
from terraseam.models.errors import CardError
from terraseam.models.layers.bilinear import BilinearKernel, EnlargeLike2D
from terraseam.models.layers.pooling import BinMean2D, IndexedMaxPooling2D, Unpooling2D

layers = keras.layers


def with_own_layers() -> keras.Model:
    """A network of the layers of semantic networks; it sees the whole chip."""
    chip = keras.Input((None, None, 2))
    maxima, places = IndexedMaxPooling2D()(chip)
    maxima = layers.Conv2D(2, 3, padding="same", kernel_initializer=BilinearKernel())(maxima)
    means = EnlargeLike2D()([BinMean2D(3)(maxima), chip])
    return keras.Model(chip, layers.Add()([Unpooling2D()([maxima, places]), means]))


def config_of(bundle: Path, change: Callable[[dict], None]) -> None:
    """Rewrite the config of a bundle's network, and state the new file in its card."""
    path = bundle / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Unpooling2D"))
    members["config.json"] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    path.write_bytes(buffer.getvalue())
    card = json.loads((bundle / "card.json").read_text())
    card["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("registered", OWN_LAYERS)
def test_every_row_names_a_class_that_keras_knows_by_that_name(registered: str) -> None:
    module = importlib.import_module(OWN_LAYERS[registered].module)
    own = getattr(module, registered.removeprefix("terraseam>"))
    assert keras.saving.get_registered_object(registered) is own
    assert issubclass(own, keras.layers.Layer | keras.initializers.Initializer)


@pytest.mark.slow
def test_bundles_of_own_layers_are_loaded_where_nothing_was_imported_before(tmp_path: Path) -> None:
    model = with_own_layers()
    bundle = make_bundle(tmp_path / "own", model)
    chips = np.random.default_rng(0).normal(size=(1, 10, 14, 2)).astype("f4")
    np.save(tmp_path / "chips.npy", chips)
    code = (
        "import sys, numpy as np; from terraseam.models.bundle.archive import load_model; "
        f"made = load_model({str(bundle)!r})(np.load({str(tmp_path / 'chips.npy')!r})); "
        f"np.save({str(tmp_path / 'made.npy')!r}, np.asarray(made))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    assert np.array_equal(np.load(tmp_path / "made.npy"), model(chips))


@pytest.mark.parametrize(
    "change",
    [
        {"module": "os"},
        {"class_name": "BinMean2D"},
        {"registered_name": "terraseam>Other"},
        {"registered_name": "tests>Mystery", "module": "keras.layers", "class_name": "ReLU"},
        {"registered_name": ["terraseam>Unpooling2D"]},
        {"module": None, "registered_name": None},
    ],
)
def test_what_only_resembles_an_own_layer_is_refused(tmp_path: Path, change: dict) -> None:
    bundle = make_bundle(tmp_path / "own", with_own_layers())
    config_of(bundle, lambda layer: layer.update(change))
    with pytest.raises(CardError, match="which runs code from outside Keras"):
        load_model(bundle)


def test_names_that_are_not_of_the_table_import_nothing() -> None:
    import_own_layers(["os>system", None, {}, "terraseam>Nothing"])


@pytest.mark.parametrize("name", ["segnet", "pspnet"])
def test_bundles_of_the_time_when_layers_lay_elsewhere_answer_as_they_did(name: str) -> None:
    bundle = Path(__file__).with_name("bundles") / name
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        assert b'"models.networks.pooling"' in archive.read("config.json")
    chips = np.random.default_rng(5).normal(size=(1, 64, 96, 3)).astype("f4")
    assert np.asarray(load_model(bundle)(chips)) == pytest.approx(np.load(bundle / "logits.npy"), abs=1e-3)


def test_the_shipped_detector_names_its_layers_by_a_former_module() -> None:
    with zipfile.ZipFile(SHIPPED / "buildings-instances" / "model.keras") as archive:
        assert b'"models.detection.layers"' in archive.read("config.json")
    assert load_model(SHIPPED / "buildings-instances").outputs


@pytest.mark.parametrize(
    "module", ["models.networks", "models.networks.pooling.x", "pooling", "terraseam.models.layers"]
)
def test_a_former_module_is_no_prefix(tmp_path: Path, module: str) -> None:
    bundle = make_bundle(tmp_path / "own", with_own_layers())
    config_of(bundle, lambda layer: layer.update(module=module))
    with pytest.raises(CardError, match="which runs code from outside Keras"):
        load_model(bundle)
