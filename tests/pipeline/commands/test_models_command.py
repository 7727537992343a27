"""``terraseam models`` from the command line: list, show, new and import, and a run with what they made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import pytest
import rasterio
from foreign_networks import export, pyramid, small
from nets import brightest_band, make_bundle, small_unet
from onnx import TensorProto
from places import ROOT
from tiers import some

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import SHIPPED, Card
from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.models.reach.reach import Reach
from terraseam.models.zoo import ZOO
from terraseam.pipeline.cli import main

SAID = {
    "bands": "red,green,blue",
    "classes": "land,water,lake",
    "gsd": "0.2-0.4",
    "scale": "1/127.5",
    "offset": "-1",
}


def models(*words, **said):
    """Run a command; options that are None are left out."""
    options = [
        word for name, value in said.items() if value is not None for word in (f"--{name}", str(value))
    ]
    return main(["models", *map(str, words), *options])


def imported(file, output, *flags, **changes):
    return models("import", file, *flags, **{**SAID, **changes}, output=output)


def fails(capsys, words, status, status_wanted=2):
    error = capsys.readouterr().err
    assert status == status_wanted and words in error, error
    assert error.count("\n") == 1 and error.startswith("terraseam: "), "one sentence on one line"


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    return small(3).save(tmp_path_factory.mktemp("files") / "foreign.onnx")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", small_unet())


def test_list_names_every_network_and_every_shipped_bundle(capsys):
    assert models("list") == 0
    lines = capsys.readouterr().out.splitlines()
    for row in ZOO:
        cells = next(line for line in lines if line.split()[:2] == [row.architecture, row.encoder or "none"])
        assert (
            row.paper.link in cells
            and f"{row.parameters / 1e6:,.1f} M" in cells
            and f"{row.stride} px" in cells
        )
        assert ("whole chip" in cells) == (row.reach is None)
    assert any(line.startswith("coast ") for line in lines)
    assert models("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["architecture"], row["encoder"]) for row in listed["networks"]] == [
        (row.architecture, row.encoder) for row in ZOO
    ]
    assert "coast" in {card["bundle"] for card in listed["bundles"]}


def test_show_tells_a_bundle_in_words(capsys, bundle):
    assert models("show", bundle) == 0
    told = capsys.readouterr().out
    for words in (
        "tiny 1.0.0",
        "land #c8b45a (background), water #1e5ac8",
        "red (raw * 0.00784314 - 1)",
        "GSD       any",
        "stride    4 px",
        "13 px up, 16 down, 13 left, 16 right (read from its graph)",
        "Apache-2.0",
    ):
        assert words in told
    assert models("show", bundle, "--json") == 0
    assert json.loads(capsys.readouterr().out) == Card.read(bundle).to_json()
    assert models("show", "coast") == 0 and "unet on mobilenet" in capsys.readouterr().out


def test_show_tells_an_architecture_with_its_encoders(capsys):
    assert models("show", "unet") == 0
    told = capsys.readouterr().out
    assert "1505.04597" in told and "terraseam models new --architecture unet" in told
    assert {line.split()[1] for line in told.splitlines() if line.startswith("unet ")} == {
        row.encoder or "none" for row in ZOO if row.architecture == "unet"
    }
    assert models("show", "pspnet", "--json") == 0
    assert {row["reach_px"] for row in json.loads(capsys.readouterr().out)} == {None}


NEW = [
    "new",
    "--architecture",
    "unet",
    "--encoder",
    "mobilenet",
    "--bands",
    "r,g,b",
    "--gsd",
    "1",
    "--output",
    "nowhere",
]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "unett",
            "there is no bundle or architecture 'unett'; did you mean unet? name the folder of a bundle, a shipped bundle "
            "(buildings, buildings-instances, coast",
        ),
        ("cost", "did you mean coast?"),
        ("zzz", "there is no bundle or architecture 'zzz'; name the folder of a bundle"),
        (str(ROOT / "tests"), "has no card.json"),
    ],
)
def test_unknown_names_list_the_known_ones(capsys, name, words):
    fails(capsys, words, models("show", name))


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["show", "coast"],
        ["show", "unet"],
        ["import", "--help"],
        ["import", "x"],
        [*NEW, "--classes", "a,a"],
        [*NEW, "--classes", "a,b", "--weights", "nowhere.h5"],
        [*NEW, "--classes", "a,b", "--output", str(SHIPPED / "coast")],
    ],
)
def test_what_builds_nothing_imports_neither_keras_nor_beam_and_is_quick(command):
    code = (
        f"import sys; from terraseam.pipeline.cli import main\ntry: main(['models', *{command}])\nexcept SystemExit: pass\n"
        "print(*sorted({'keras', 'tensorflow', 'apache_beam', 'onnx'} & {m.split('.')[0] for m in sys.modules}), sep='!')"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert time.monotonic() - started < 5


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "models" in capsys.readouterr().out


def new(output, *flags, **changes):
    said = {
        "architecture": "unet",
        "encoder": "mobilenet",
        "classes": "land,water",
        "bands": "r,g,b",
        "gsd": "any",
    }
    return models("new", "--set", "encoder_width=0.25", *flags, **{**said, "output": output, **changes})


def test_new_writes_an_untrained_bundle_with_the_scaling_of_its_encoder(tmp_path, capsys):
    said = {"background": "land", "gsd": 0.5, "colors": "#010203,#040506"}
    assert new(tmp_path / "start", "--set", "decoder_width=8", cut=8, **said) == 0
    card = Card.read(tmp_path / "start")
    assert "unet on mobilenet" in capsys.readouterr().out
    assert (card.name, card.architecture, card.encoder, card.gsd, card.stride) == (
        "start",
        "unet",
        "mobilenet",
        0.5,
        8,
    )
    assert card.classes == (ClassInfo("land", "#010203", True), ClassInfo("water", "#040506"))
    assert card.scaling == Scaling((1 / 127.5,) * 3, (-1.0,) * 3) and card.fill == (127.0,) * 3
    assert card.training["start"] == "random weights"
    assert card.openvino.same_labels and (tmp_path / "start" / "openvino.bin").is_file()
    model = load_model(tmp_path / "start")
    assert model(np.zeros((1, 16, 24, 3), np.float32)).shape == (1, 16, 24, 2)


@pytest.mark.slow
def test_new_is_repeatable_by_its_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert new(tmp_path / name, "--set", "decoder_width=4", cut=8, seed=seed, name="same") == 0
    digests = [Card.read(tmp_path / name).weights_sha256 for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_new_takes_encoders_of_several_bands_and_own_scaling(tmp_path, recwarn):
    assert (
        new(tmp_path / "vgg", encoder="vgg16", bands="r,g,b,nir", scale="1", offset="-100,-110,-120,-130")
        == 0
    )
    card = Card.read(tmp_path / "vgg")
    assert card.bands == ("r", "g", "b", "nir") and card.scaling.offset == (-100, -110, -120, -130)
    assert card.fill == (100, 110, 120, 130)
    assert [str(one.message) for one in recwarn if one.category is UserWarning] == []


def test_new_takes_networks_without_an_encoder(tmp_path):
    said = {
        "architecture": "segnet_basic",
        "classes": "a,b",
        "bands": "x",
        "gsd": "0.3",
        "output": tmp_path / "basic",
    }
    assert models("new", "--set", "width=4", **said) == 0
    assert (Card.read(tmp_path / "basic").encoder, Card.read(tmp_path / "basic").stride) == (None, 16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"architecture": "unett"},
            "no architecture is called 'unett'; did you mean unet? choose one of fcn32s",
        ),
        ({"encoder": "resnet"}, "unet is not built on the encoder 'resnet'; choose one of none, vgg16"),
        ({"encoder": None}, "give --encoder: unet is built on none, vgg16, resnet50, mobilenet"),
        (
            {"architecture": None, "gsd": None},
            "give --architecture (the network to build), "
            "--gsd (GSD the network was trained at, in metres per pixel, or any)",
        ),
        ({"cut": 5}, "mobilenet cannot be cut at stride 5; choose one of 2, 4, 8, 16, 32"),
        ({"weights": "nowhere.h5"}, "--weights nowhere.h5 is not a file"),
        ({"set": "wings=2"}, "unet on mobilenet takes no wings; it takes cut, decoder_width"),
        ({"set": "wings"}, "'wings' is not NAME=VALUE"),
        ({"classes": "land"}, "--classes names only land; name two or more"),
        ({"colors": "#000000"}, "--colors has 1 colours for 2 classes"),
        ({"colors": "red,#000000"}, "--colors has red; write colours as #rrggbb"),
        ({"classes": "land,land"}, "--classes names land twice; give each class a unique name"),
        ({"background": "sky"}, "--background sky is not one of --classes land,water"),
        ({"scale": "1,2"}, "--scale has 2 numbers for 3 bands; give one, or one for each"),
        ({"offset": "1"}, "--offset is given without --scale"),
        ({"scale": "abc"}, "'abc' is not a number such as 0.5 or 1/255"),
        ({"gsd": "0.4-0.2"}, "'0.4-0.2' is not a GSD such as 0.3, 0.2-0.4 or any"),
        ({"gsd": "-1"}, "'-1' is not a GSD"),
        ({"bands": "r,,b"}, "'r,,b' contains an empty name"),
        ({"halo": "-5"}, "'-5' is not a whole number of 0 or more"),
    ],
)
def test_what_new_cannot_do_is_said(tmp_path, capsys, changes, words):
    fails(capsys, words, new(tmp_path / "start", **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bundles_are_written_over_on_demand_alone(tmp_path, capsys):
    assert new(tmp_path / "start", seed=1) == 0
    before = Card.read(tmp_path / "start")
    capsys.readouterr()
    fails(capsys, "already holds a bundle; pass --force to replace it", new(tmp_path / "start", seed=2))
    assert Card.read(tmp_path / "start") == before
    assert new(tmp_path / "start", "--force", seed=2) == 0
    assert Card.read(tmp_path / "start").weights_sha256 != before.weights_sha256
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


def test_import_makes_a_bundle_of_what_is_said_and_found(tmp_path, capsys, onnx_file):
    status = imported(
        onnx_file, tmp_path / "bundle", name="lakes", version="2.1", license="CC-BY-4.0", background="land"
    )
    assert status == 0
    out, err = capsys.readouterr()
    assert "lakes 2.1" in out and "model.onnx, channels first; outputs one logit per class" in out
    assert "its output type is logits" in err and "from the graph" in err
    card = Card.read(tmp_path / "bundle")
    assert (card.name, card.version, card.license, card.gsd) == ("lakes", "2.1", "CC-BY-4.0", (0.2, 0.4))
    assert (card.stride, card.reach, card.background) == (2, Reach(5, 5, 5, 5), 0)
    assert card.scaling == Scaling((1 / 127.5,) * 3, (-1.0,) * 3) and card.fill == (127.0,) * 3
    assert card.architecture == "imported ONNX file"


def test_all_that_is_missing_is_asked_for_by_name_in_one_sentence(capsys, onnx_file):
    status = models("import", onnx_file, bands="red,green,blue")
    needed = (
        "give --classes (classes, in the order of the output channels or labels), "
        "--gsd (GSD the network was trained at, in metres per pixel, or any), "
        "--scale (network input = raw value * scale + offset), --output (folder of the bundle to write)"
    )
    fails(capsys, needed, status)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": "land,water"}, "the network outputs 3 channels, but --classes names 2; name 3 classes"),
        (
            {"bands": "red,green"},
            "the network takes 3 bands (shape ? x 3 x ? x ?), but 2 were given with --bands",
        ),
        ({"output-type": "labels"}, "--output-type labels does not fit a network that outputs 3 channels"),
        ({"output-type": "boxes"}, "invalid choice: 'boxes'"),
        ({"layout": "channels_last"}, "the network only takes chips of 3 x any px"),
        (
            {"reach": 1},
            "--reach 1 was declared, but outputs change with pixels 5 px away; give --reach 7",
        ),
        ({"stride": 5}, "--stride 5 is not the stride of the network"),
        ({"stride": 0}, "'0' is not a whole number of 1 or more"),
    ],
)
def test_what_import_cannot_do_is_said(tmp_path, capsys, onnx_file, changes, words):
    fails(capsys, words, imported(onnx_file, tmp_path / "bundle", **changes))
    assert not list(tmp_path.iterdir())


def test_import_says_what_is_no_network(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    fails(
        capsys,
        "a.txt is not a network that can be imported",
        imported(tmp_path / "a.txt", tmp_path / "bundle"),
    )
    fails(capsys, "does not exist", imported(tmp_path / "b.onnx", tmp_path / "bundle"))


def test_a_missing_package_is_named(tmp_path, onnx_file):
    code = (
        "import sys; sys.modules['onnx'] = None; from terraseam.pipeline.cli import main; "
        f"sys.exit(main({['models', 'import', str(onnx_file), '--output', str(tmp_path / 'bundle')]} + "
        f"{[word for name, value in SAID.items() for word in ('--' + name, value)]}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install 'terraseam[onnx]'" in done.stderr


@pytest.mark.slow
def test_keras_files_and_saved_models_are_imported_alike(tmp_path):
    model = pyramid(activation="softmax")
    model.save(tmp_path / "a.keras")
    export(model, tmp_path / "b")
    assert imported(tmp_path / "a.keras", tmp_path / "keras") == 0
    assert imported(tmp_path / "b", tmp_path / "saved", reach=9) == 0
    keras_card, saved = Card.read(tmp_path / "keras"), Card.read(tmp_path / "saved")
    assert keras_card.network.answer == saved.network.answer == "scores"
    assert (keras_card.reach_source, saved.reach_source) == ("graph", "declared")
    assert keras_card.openvino.same_labels and saved.openvino.same_labels


def test_convert_adds_the_converted_network_to_a_bundle(tmp_path, capsys):
    bundle = make_bundle(tmp_path / "tiny", brightest_band())
    assert models("show", bundle) == 0
    assert "engines   tensorflow\n" in capsys.readouterr().out
    assert models("convert", bundle) == 0
    version = Card.read(bundle).openvino.version
    told = capsys.readouterr().out
    assert f"engines   tensorflow; openvino, converted by version {version}, with the same labels" in told


@pytest.mark.parametrize(
    ("name", "words"),
    [("bilinear", "cannot be converted for OpenVINO for chips of any size"), ("gone", "no bundle")],
)
def test_convert_says_why_it_cannot(tmp_path, bundle, capsys, name, words):
    shutil.copytree(bundle, tmp_path / "bilinear")
    assert models("convert", tmp_path / name) == 2
    assert words in capsys.readouterr().err
    assert Card.read(tmp_path / "bilinear").openvino is None


ENDS = {
    "logits": (lambda: small(3), {}, "land,water,lake"),
    "scores": (lambda: small(3).then("Softmax", axis=1), {}, "land,water,lake"),
    "labels": (
        lambda: small(3).then("ArgMax", axis=1, keepdims=0),
        {"dtype": TensorProto.INT64, "rank": 3},
        "land,water,lake",
    ),
    "binary_scores": (lambda: small(1).then("Sigmoid"), {}, "land,water"),
}


def labels_of(path, pixels, halo):
    """Labels of the mirrored scene at once, by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    mirrored = np.pad(pixels, [(halo, halo), (halo, halo), (0, 0)], mode="reflect")
    chips = np.moveaxis(mirrored[None] * np.float32(1 / 127.5) - 1, -1, 1).astype(np.float32)
    made = session.run(None, {"chip": chips})[0]
    if made.ndim == 3:
        labels = made[0]
    elif made.shape[1] == 1:
        labels = made[0, 0] > 0.5
    else:
        labels = made[0].argmax(0)
    return labels[halo:-halo, halo:-halo]


@pytest.mark.parametrize("output_type", some(ENDS, 1))
def test_a_run_with_an_imported_network_gives_its_labels(tmp_path, make_raster, output_type):
    graph, kind, classes = ENDS[output_type]
    path = graph().save(tmp_path / "foreign.onnx", **kind)
    assert imported(path, tmp_path / "bundle", classes=classes, gsd="any") == 0
    assert Card.read(tmp_path / "bundle").network.answer == output_type
    pixels = np.random.default_rng(3).integers(0, 256, (600, 710, 3), dtype=np.uint8)
    scene = make_raster(pixels=pixels, name="scene.tif")
    command = ["segment", str(scene), "--model", str(tmp_path / "bundle"), "--output", str(tmp_path / "out")]
    assert main([*command, "--engine", "onnx", "--tile", "512"]) == 0
    with rasterio.open(tmp_path / "out" / "scene" / "labels.tif") as written:
        found = written.read(1)
    expected = labels_of(path, pixels, 8)
    assert np.mean(found == expected) > 0.9999 and len(np.unique(expected)) > 1
    shutil.rmtree(tmp_path / "out")
