"""Cards: what they hold, and what they say when something is wrong."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from places import ROOT

import terraseam.models.bundle.card
from terraseam.models.bundle.card import Card, check_weights, find_bundle, network_sha256, shipped_bundles
from terraseam.models.bundle.values import ClassInfo, ConvertedNetwork, NetworkFile, Scaling
from terraseam.models.errors import CardError
from terraseam.models.reach.reach import Reach


def make_card(**changes):
    fields = {
        "format": 2,
        "name": "coast",
        "version": "1.0.0",
        "architecture": "unet",
        "encoder": "mobilenet",
        "task": "semantic",
        "network": NetworkFile(),
        "classes": (ClassInfo("land", "#aabbcc"), ClassInfo("see", "#0000FF", background=True)),
        "bands": ("red", "green", "blue"),
        "gsd": (0.5, 2.0),
        "scaling": Scaling((0.5, 1.0, 2.0), (-1.0, 0.0, 0.25)),
        "fill": (0.0, 0, 127.5),
        "stride": 16,
        "reach": Reach(1, 20, 3, 40),
        "reach_source": "graph",
        "halo": None,
        "memory_per_pixel": 144,
        "weights_sha256": "0a" * 32,
        "training": {"seed": 7},
        "metrics": {"iou": {"see": 0.96}},
        "license": "Apache-2.0",
    }
    return Card(**{**fields, **changes})


def network(classes=2, **changes):
    """Changes of a card on disk: its network, and its number of classes."""
    kinds = [{"name": str(n), "color": "#000000"} for n in range(classes)]
    return {"network": {**asdict(NetworkFile()), **changes}, "classes": kinds}


def named(name):
    """Changes of a card on disk: the name of its second class."""
    return {"classes": [{"name": one, "color": "#000000"} for one in ("land", name)]}


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "coast"
    make_card().write(folder)
    (folder / "model.keras").write_bytes(b"weights")
    return folder


def edit(bundle, **changes):
    """Change fields of a card on disk; None takes one away."""
    path = bundle / "card.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))


@pytest.mark.parametrize(
    "changes", [{}, {"reach": None, "encoder": None}, {"gsd": "any"}, {"gsd": 0.3}, {"license": "Lizenz ©"}]
)
def test_a_card_is_read_as_it_was_written(tmp_path, changes):
    card = make_card(**changes)
    card.write(tmp_path)
    (tmp_path / "model.keras").touch()
    assert Card.read(tmp_path) == card
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["card.json", "model.keras"]


def test_a_card_of_the_first_format_is_read_as_what_it_meant(bundle):
    edit(bundle, format=1, network=..., reach_source=..., halo=...)
    assert Card.read(bundle) == make_card()


def test_the_network_of_a_card_may_be_a_folder(bundle):
    edit(bundle, network=asdict(NetworkFile("saved_model")))
    with pytest.raises(CardError, match="has no saved_model"):
        Card.read(bundle)
    (bundle / "saved_model" / "variables").mkdir(parents=True)
    (bundle / "saved_model" / "variables" / "a").write_bytes(b"1")
    card = Card.read(bundle)
    before = network_sha256(bundle / "saved_model")
    with pytest.raises(CardError, match=r"saved_model of bundle .* does not match its card"):
        check_weights(bundle, card)
    (bundle / "saved_model" / "b").write_bytes(b"2")
    assert network_sha256(bundle / "saved_model") != before


def test_a_card_that_cannot_be_written_leaves_the_old_one(bundle):
    before = (bundle / "card.json").read_bytes()
    card = make_card(training={"data": object()})
    with pytest.raises(TypeError):
        card.write(bundle)
    assert (bundle / "card.json").read_bytes() == before
    assert len(list(bundle.iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride": ...}, "has no field 'stride'; add it"),
        ({"strid": 3}, "unknown field 'strid'; .*'stride'"),
        ({"format": 3}, "has format 3, but this version of Terraseam reads 1, 2"),
        ({"format": True}, "has format True"),
        ({"name": " "}, "has ' ' as 'name'; it must be a non-empty string"),
        ({"encoder": 3}, "has 3 as 'encoder'"),
        ({"task": "detection"}, "has 'detection' as 'task'; it must be 'semantic' or 'instances'"),
        ({"network": {"name": "model.keras"}}, "an object with name, layout, answer"),
        (network(name="model.pt"), "whose name is 'model.keras' or 'model.onnx' or 'saved_model'"),
        (network(answer="instances"), "as 'network'; it must be one whose answer fits the task"),
        (network(answer="binary_scores", classes=3), "is binary only for two classes"),
        ({"reach_source": "guessed"}, "it must be 'graph' or 'measured' or 'declared'"),
        ({"halo": -1}, "has -1 as 'halo'; it must be null, or a whole number of pixels"),
        ({"classes": []}, "has \\[\\] as 'classes'"),
        ({"classes": [{"name": "a", "color": "red"}]}, "its color is not #rrggbb"),
        ({"classes": [{"name": "a"}]}, "but class 0 is {'name': 'a'}"),
        ({"classes": [{"name": "a", "color": "#000000"}] * 2}, "unique names; a occurs more than once"),
        (
            {"classes": [{"name": str(n), "color": "#000000"} for n in range(255)]},
            "at most 254 classes, not 255",
        ),
        (
            {"classes": [{"name": n, "color": "#000000", "background": True} for n in "ab"]},
            "at most one background, not 2",
        ),
        ({"bands": []}, "'bands'; it must be a list of band names"),
        ({"gsd": 0}, "has 0 as 'gsd'; it must be metres per pixel above 0"),
        ({"gsd": [2, 1]}, "has \\[2, 1\\] as 'gsd'"),
        ({"gsd": "some"}, "has 'some' as 'gsd'"),
        (
            {"scaling": {"scale": [1], "offset": [0, 0, 0]}},
            "'scaling'; it must be .* whose scale .*: 3, one per band",
        ),
        ({"scaling": {"scale": [1, 1, 1]}}, "an object with scale and offset"),
        ({"fill": [0, 0]}, "has \\[0, 0\\] as 'fill'; it must be a list of numbers: 3, one per band"),
        ({"fill": [0, "0", 0]}, "as 'fill'"),
        ({"stride": 0}, "has 0 as 'stride'; it must be a whole number of pixels"),
        ({"stride": 1.5}, "has 1.5 as 'stride'"),
        ({"reach": {"top": 1}}, "null, or top, bottom, left and right"),
        ({"reach": {"top": 1, "bottom": -1, "left": 0, "right": 0}}, "whole pixels, 0 to 1,000,000"),
        (
            {"reach": dict.fromkeys(("top", "bottom", "left", "right"), 10**18)},
            "whole pixels, 0 to 1,000,000",
        ),
        (
            {"halo": 10**7},
            "has 10000000 as 'halo'; it must be null, or a whole number of pixels, 0 to 1,000,000",
        ),
        ({"stride": 10**9}, "a whole number of pixels, 1 to 1,000,000"),
        ({"memory_per_pixel": 10**12}, "a whole number of bytes, 1 to 100,000,000"),
        ({"memory_per_pixel_squared": -1}, "bytes per pixel squared, 0 to 100,000"),
        ({"gsd": 10**400}, "has an integer of more than 63 bits"),
        ({"training": {"a": [10**30]}}, "has an integer of more than 63 bits"),
        ({"gsd": 1e300}, "has 1e\\+300 as 'gsd'; it must be metres"),
        ({"fill": [0, 0, 1e300]}, "as 'fill'; it must be a list of numbers"),
        ({"training": {"a": nested(900)}}, "has more than 50 nested lists and objects"),
        ({"name": "a\nb"}, "as 'name'; it must be a single-line string without control characters"),
        ({"bands": ["r", "g\n", "b"]}, "as 'bands'; it must be a list of band names without control"),
        ({"license": "a\x1b[31m"}, "has 'a\\\\x1b\\[31m', a string with the forbidden character U\\+001B"),
        (
            {"metrics": {"\ud800": 1}},
            "a string with the forbidden character U\\+D800",
        ),
        ({"version": "a\u202eb"}, "a string with the forbidden character U\\+202E"),
        (named("nul\x00class"), "a string with the forbidden character U\\+0000"),
        (named("two\nlines"), "its name has control characters"),
        ({"memory_per_pixel": -3}, "has -3 as 'memory_per_pixel'; it must be a whole number of bytes"),
        ({"weights_sha256": "abc"}, "has 'abc' as 'weights_sha256'; it must be the SHA-256"),
        ({"training": "none"}, "has 'none' as 'training'"),
        ({"license": None}, "has None as 'license'"),
    ],
)
def test_a_wrong_field_is_named_with_bundle_and_value(bundle, changes, words):
    edit(bundle, **changes)
    with pytest.raises(CardError, match=words) as caught:
        Card.read(bundle)
    assert str(bundle) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_without_end_are_a_sentence(bundle):
    (bundle / "card.json").write_text("[" * 200_000 + "]" * 200_000)
    with pytest.raises(CardError, match=r"card.json of bundle .* nests lists or objects too deeply"):
        Card.read(bundle)


@pytest.mark.parametrize("name", ["card.json", "model.keras"])
def test_files_that_are_none_are_not_waited_for(bundle, name):
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)
    with pytest.raises(
        CardError, match=r"card\.json; make one|model\.keras of bundle .* is not a regular file"
    ):
        Card.read(bundle)


def test_classes_whose_names_steer_terminals_are_not_made():
    with pytest.raises(
        CardError, match=r"the class 'wa\\x1bter' has forbidden characters in its name \(U\+001B\)"
    ):
        ClassInfo("wa\x1bter", "#000000")


def test_a_card_is_checked_where_it_is_made():
    with pytest.raises(CardError, match="the card of bundle coast has 0 as 'stride'"):
        make_card(stride=0)
    with pytest.raises(CardError, match="2 scales but 1 offsets"):
        Scaling((1.0, 1.0), (0.0,))
    with pytest.raises(CardError, match="reach to the left must be 0 px or more, got -1"):
        Reach(0, 0, -1, 0)


def test_a_missing_folder_or_file_is_one_sentence(bundle):
    with pytest.raises(CardError, match="nowhere does not exist; pass a folder"):
        Card.read(bundle / "nowhere")
    (bundle / "card.json").write_text("{")
    with pytest.raises(CardError, match=r"card.json of bundle .*coast is not JSON"):
        Card.read(bundle)
    (bundle / "card.json").write_text("[]")
    with pytest.raises(CardError, match="is not a JSON object"):
        Card.read(bundle)
    make_card().write(bundle)
    (bundle / "model.keras").unlink()
    with pytest.raises(CardError, match=r"coast has no model.keras; copy the network's file"):
        Card.read(bundle)
    (bundle / "card.json").unlink()
    with pytest.raises(CardError, match=r"coast has no card.json; make one"):
        Card.read(bundle)


def test_a_file_that_cannot_be_put_in_place_leaves_nothing(tmp_path):
    (tmp_path / "card.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"card\.json"):
        make_card().write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


SCORES = {
    "network": NetworkFile(layout="channels_first"),
    "scaling": Scaling((0.5, 1.0, 2.0), (-1.0, 0.0, 0.5)),
    "fill": (1, 0, 127.5),
    "stride": 8,
    "weights_sha256": "0b" * 32,
    "classes": (ClassInfo("land", "#aabbcc"), ClassInfo("see", "#0000FF"), ClassInfo("ice", "#000000")),
}
NO_SCORES = {
    "openvino": ConvertedNetwork(
        "2026.4.1", "tensorflow 2.21.0", "3.15.1", "0" * 64, "1" * 64, "2" * 64, True
    ),
    "name": "coast2",
    "version": "2",
    "architecture": "fcn",
    "encoder": None,
    "classes": (ClassInfo("earth", "#000000", background=True), ClassInfo("sea", "#0000FE")),
    "bands": ("r", "g", "b"),
    "gsd": "any",
    "reach": None,
    "reach_source": "measured",
    "halo": 64,
    "memory_per_pixel": 1,
    "memory_per_pixel_squared": 1e-4,
    "training": {},
    "metrics": {},
    "license": "MIT",
}


def test_score_fields_are_those_that_change_scores():
    before = json.dumps(make_card().score_fields())
    for name, value in SCORES.items():
        assert json.dumps(make_card(**{name: value}).score_fields()) != before, name
    for name, value in NO_SCORES.items():
        assert json.dumps(make_card(**{name: value}).score_fields()) == before, name
    assert json.loads(before)["task"] == "semantic"
    assert {*SCORES, *NO_SCORES, "task", "format"} == set(terraseam.models.bundle.card.FIELDS)


def test_background_is_a_label_or_nothing():
    assert make_card().background == 1
    assert make_card(classes=(ClassInfo("all", "#000000"),)).background is None


@pytest.mark.parametrize(
    ("gsd", "inside", "outside"),
    [
        (0.5, (0.42, 0.5, 0.6), (0.41, 0.61)),
        ((0.5, 2.0), (0.42, 1.0, 2.4), (0.41, 2.41)),
        ("any", (1e-3, 1e4), ()),
    ],
)
def test_gsd_matches_within_a_fifth(gsd, inside, outside):
    card = make_card(gsd=gsd)
    assert all(card.gsd_matches(value) for value in inside)
    assert not any(card.gsd_matches(value) for value in outside)


def test_bundles_are_found_by_path_and_by_name(bundle, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    make_card().write(shipped / "roofs")
    monkeypatch.setattr(terraseam.models.bundle.card, "SHIPPED", shipped)
    monkeypatch.chdir(tmp_path)
    assert find_bundle(str(bundle)) == bundle
    assert find_bundle("coast") == Path("coast")
    assert find_bundle("roofs") == shipped / "roofs"
    assert shipped_bundles() == ["roofs"]
    (tmp_path / "roofs").mkdir()
    assert find_bundle("roofs") == shipped / "roofs"
    with pytest.raises(CardError, match=r"no bundle 'rofs': .*did you mean roofs.*shipped bundles: roofs"):
        find_bundle("rofs")
    with pytest.raises(CardError, match=r"neither a folder nor the name"):
        find_bundle("../shipped/roofs/x")


def test_reading_cards_imports_no_heavy_module():
    code = "import sys, terraseam.models.bundle.card; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "keras", "tensorflow", "h5py"} & set(done.stdout.split())
