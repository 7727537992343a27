import json

import numpy as np
import pytest
import zstandard

from terraseam.pipeline.segment.content_keys import recipe_digest, sheet_key
from terraseam.pipeline.segment.prediction_store import PredictionStore, StoreError, decode, encode
from terraseam.pipeline.vectorize.feature_files import merge_features, read_features, write_features
from terraseam.tiles.features.features import Feature
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref, SheetInstances, TileInstance
from terraseam.tiles.labels.stitch import LabelMap, stitcher
from terraseam.tiles.raster.source import Chip


def random_map(height=37, width=53, seed=0):
    rng = np.random.default_rng(seed)
    return LabelMap(*(rng.integers(0, 256, (height, width)).astype(np.uint8) for _ in range(2)))


def test_entries_read_back_as_they_were_put(tmp_path):
    store = PredictionStore(str(tmp_path / "store"))
    assert store.get("ab12") is None
    store.put("ab12", random_map())
    found = store.load("ab12", LabelMap)
    assert (found.labels == random_map().labels).all() and (found.scores == random_map().scores).all()
    assert (store.load_labels("ab12") == random_map().labels).all()
    assert [p.name for p in (tmp_path / "store" / "ab").iterdir()] == ["ab12.sheet"]


@pytest.mark.parametrize(
    "damage", [lambda e: e[:-1], lambda e: e[:40], lambda e: e[:0], lambda e: e[:-9] + b"\0" + e[-8:]]
)
def test_damaged_entries_are_none_and_said_to_be_damaged(tmp_path, damage):
    store = PredictionStore(str(tmp_path))
    store.put("ab12", random_map())
    entry = tmp_path / "ab" / "ab12.sheet"
    entry.write_bytes(damage(entry.read_bytes()))
    assert store.get("ab12") is None
    with pytest.raises(StoreError, match="missing or damaged; run the same command again"):
        store.load("ab12", LabelMap)
    with pytest.raises(StoreError, match="missing or damaged; run the same command again"):
        store.load_labels("ab12")


def test_labels_alone_of_an_entry_that_is_not_there_are_missing(tmp_path):
    with pytest.raises(StoreError, match=r"ab12\.sheet is missing or damaged; run the same command again"):
        PredictionStore(str(tmp_path)).load_labels("ab12")


def test_instances_read_back_and_are_not_taken_for_labels(tmp_path):
    store = PredictionStore(str(tmp_path))
    valid = np.random.default_rng(0).random((37, 53)) < 0.5
    mask = np.array([[True, False, True], [False, True, True]])
    found = TileInstance(Ref(2, 3, 4), Window(5, 6, 2, 3), mask, 1, 200, 17)
    store.put("ab12", SheetInstances(valid, (found,)))
    (back,) = store.load("ab12", SheetInstances).instances
    assert (back.ref, back.window, back.label, back.score, back.room) == ((2, 3, 4), found.window, 1, 200, 17)
    assert (back.mask == mask).all() and (store.load("ab12", SheetInstances).valid == valid).all()
    with pytest.raises(StoreError, match="missing or damaged"):
        store.load("ab12", LabelMap)
    with pytest.raises(StoreError, match="missing or damaged"):
        store.load_labels("ab12")


def test_entries_of_the_same_map_have_the_same_bytes():
    assert encode(random_map(), "a") == encode(random_map(), "a") != encode(random_map(seed=1), "a")
    assert (decode(encode(random_map(1, 9), "a"), "a").labels == random_map(1, 9).labels).all()


def test_a_valid_entry_under_another_key_is_damage(tmp_path):
    store = PredictionStore(str(tmp_path))
    store.put("ab12", random_map())
    store.put("ab34", random_map(seed=1))
    (tmp_path / "ab" / "ab34.sheet").write_bytes((tmp_path / "ab" / "ab12.sheet").read_bytes())
    assert store.intact("ab12", (37, 53)) and not store.intact("ab34", (37, 53))
    assert store.get("ab34") is None
    with pytest.raises(StoreError, match=r"ab34\.sheet is missing or damaged; run the same command again"):
        store.load("ab34", LabelMap)


def test_an_entry_of_another_shape_is_damage(tmp_path):
    store = PredictionStore(str(tmp_path))
    store.put("ab12", random_map(37, 53))
    assert not store.intact("ab12", (53, 37))


def test_entries_of_format_1_which_say_no_key_stay_valid(tmp_path):
    store = PredictionStore(str(tmp_path))
    head, packed = encode(random_map(), "ab12").split(b"\n", 1)
    said = {name: value for name, value in json.loads(head).items() if name != "key"} | {"format": 1}
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "ab12.sheet").write_bytes(json.dumps(said).encode() + b"\n" + packed)
    assert store.intact("ab12", (37, 53))
    assert (store.load("ab12", LabelMap).labels == random_map().labels).all()
    assert (store.load_labels("ab12") == random_map().labels).all()


def key(stitch="crop", lattice=None, sheet=(0, 0), change=None, with_position=False, **recipe):
    lattice = lattice or Lattice(100, 90, 32, Halo(16, 16, 16, 16), 1)
    window = lattice.sheet_read_window(*sheet, ring=stitch == "blend")
    pixels = np.full((*window.shape, 3), 9, np.uint8)
    valid = np.ones(window.shape, bool)
    if change:
        change(pixels, valid)
    fields = {
        "score_fields": {"weights": "a"},
        "profile": {"threads": 1},
        "core": 32,
        "halo": lattice.halo,
        **recipe,
    }
    chip = Chip(window, pixels, valid)
    return sheet_key(
        recipe_digest(**fields, stitch=stitch), chip, lattice, sheet, stitch, with_position=with_position
    )


def test_keys_depend_on_pixels_validity_network_profile_and_tiling():
    def brighter(pixels, _):
        pixels[-1, -1, -1] += 1

    def hidden(_, valid):
        valid[0, 0] = False

    keys = [
        key(),
        key(change=brighter),
        key(change=hidden),
        key(score_fields={"weights": "b"}),
        key(profile={"threads": 2}),
        key(core=64),
        key(cut=8),
        key(cut=16),
        key(halo=Halo(16, 16, 16, 32)),
        key(stitch="blend"),
        key(lattice=Lattice(100, 90, 32, Halo(16, 16, 16, 16), 2)),
        key(lattice=Lattice(31, 90, 32, Halo(16, 16, 16, 16), 1)),
    ]
    assert len(set(keys)) == len(keys)


def test_keys_of_runs_that_do_not_cut_are_those_of_earlier_versions():
    fields = {"weights": "a"}, {"threads": 1}, 32, Halo(16, 16, 16, 32), "crop"
    assert recipe_digest(*fields) == recipe_digest(*fields, None) == RECIPE


RECIPE = "69e820b4012cbb3b53868b76340e4aadf5e9ea96d6ea2b7c6d98ae48b10cbf25"


def test_equal_sheets_share_a_key_wherever_they_lie_unless_blending_stops_at_the_edge():
    assert key(sheet=(0, 0)) == key(sheet=(1, 1))
    assert key("blend", sheet=(1, 1)) != key("blend", sheet=(0, 1))


def test_sheets_whose_entries_say_where_things_lie_share_no_key():
    assert key(sheet=(0, 0), with_position=True) != key(sheet=(1, 1), with_position=True)
    assert key(sheet=(1, 1), with_position=True) == key(sheet=(1, 1), with_position=True) != key(sheet=(1, 1))


GOLDEN = {
    "crop": ("016116818250eedc", 1),
    "blend": ("ed473d1bf50dd6cc", 1),
}


@pytest.mark.parametrize("method", GOLDEN)
def test_the_labels_of_version_1_stay_what_they_are(method):
    """Where this fails, labels of unchanged sheets have changed: raise LABELS_VERSION, and take the new digest."""
    import hashlib

    from terraseam.pipeline.segment.content_keys import LABELS_VERSION

    lattice = Lattice(70, 90, 32, Halo(16, 16, 16, 16), 3)
    stitch = stitcher(method, lattice, (0, 0), 3)
    for number, tile in enumerate(lattice.sheet_tiles(0, 0)):
        rows, cols = np.indices(lattice.chip_shape)
        wave = np.stack([(rows * 3 + cols * k + number * 5) % 17 for k in (1, 2, 5)], -1)
        stitch.add(tile, (wave / 2).astype(np.float32))
    label_map = stitch.label_map(np.arange(70 * 90).reshape(70, 90) % 11 > 0)
    assert (hashlib.sha256(label_map.labels).hexdigest()[:16], LABELS_VERSION) == GOLDEN[method]


def test_features_are_merged_in_the_order_of_their_first_pixels(tmp_path):
    rng = np.random.default_rng(0)
    everything = sorted(
        Feature((r, c), f"{number}", {"class": "roof"}, f"{r},{c}".encode() * 50, b"")
        for number, (r, c) in enumerate(rng.integers(0, 500, (3000, 2)).tolist())
    )
    paths = []
    for number in range(7):
        paths.append(str(tmp_path / f"{number}.features"))
        write_features(paths[-1], everything[number::7])
    assert list(read_features(paths[2])) == everything[2::7]
    for at_once in (2, 3, 100):
        assert list(merge_features(paths, tmp_path, at_once)) == everything


def test_a_file_of_features_that_is_cut_is_an_error(tmp_path):
    path = tmp_path / "cut.features"
    for left in (b"\3", b"\3" + b"\0" * 7, b"\3" + b"\0" * 9):
        path.write_bytes(zstandard.compress(left))
        with pytest.raises(EOFError, match="ends in the middle"):
            list(read_features(str(path)))
