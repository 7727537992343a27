"""Only a server that says so has no mask: whatever else it answers, masked pixels are never taken for measured."""

from __future__ import annotations

import pickle
import re

import nets
import numpy as np
import pytest
import rasterio
import servers
from evaluate_scenes import boxes, drawn, georef
from evaluate_scenes import write_labels as write_truth
from segment_cases import labels, segment
from train_cases import true_labels, write
from train_town import make_town
from train_town import words as train_words

from terraseam.pipeline.cli import main
from terraseam.tiles.access import web as tiles_web
from terraseam.tiles.access.sidecars import beside, candidates
from terraseam.tiles.access.web import RedirectError, check_redirect, kinds_of
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource

HEIGHT, WIDTH = 60, 70
WHOLE = Window(0, 0, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    rng = np.random.default_rng(5)
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :30] = 0
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)}
    for name, masked in (("scene", True), ("plain", False)):
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
            rasterio.open(
                folder / f"{name}.tif",
                "w",
                driver="GTiff",
                height=HEIGHT,
                width=WIDTH,
                count=3,
                dtype="uint8",
                **place,
            ) as dataset,
        ):
            dataset.write(rng.integers(1, 255, (3, HEIGHT, WIDTH)).astype(np.uint8))
            if masked:
                dataset.write_mask(mask)
    with servers.server(str(folder)) as door:
        yield folder, door, mask > 0


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch, site):
    monkeypatch.setattr(tiles_web, "WAITS_S", (0.0, 0.0))
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    yield
    site[1].rule()


def test_a_mask_beside_a_raster_is_read(site):
    _, door, measured = site
    info = inspect_raster(f"{door.url}/scene.tif")
    assert [name.rpartition("/")[2] for name in info.files] == ["scene.tif", "scene.tif.msk"]
    chip = RasterSource(info.path, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE)
    assert np.array_equal(chip.valid, measured)


@pytest.mark.parametrize("action", [500, 503, 429, 400, "cut"])
@pytest.mark.parametrize("name", ["scene.tif.msk", "scene.tif.aux.xml", "scene.tfw"])
def test_a_server_that_does_not_say_that_nothing_is_there_is_no_server_without_masks(site, action, name):
    _, door, _ = site
    if action == "cut" and name != "scene.tif.msk":
        pytest.skip("half of what is not there is nothing")
    door.rule(pattern=rf" /{name}$", actions=[action])
    with pytest.raises(RasterError, match=rf"{name} exists beside it, since its server failed: "):
        inspect_raster(f"{door.url}/scene.tif")


@pytest.mark.parametrize("name", ["scene.tif", "scene.tif.msk"])
def test_tags_that_were_cut_off_are_missed(site, name):
    """The tag that says what is nodata comes last; without it, all would be measured."""
    folder, door, _ = site
    (folder / f"half-{name}").write_bytes((folder / name).read_bytes())
    with rasterio.open(folder / f"half-{name}", "r+") as dataset:
        dataset.update_tags(LONG="x" * 40_000)
    data = (folder / f"half-{name}").read_bytes()
    (folder / f"half-{name}").write_bytes(data[: len(data) - 1000])
    with pytest.raises(RasterError, match="IO error during reading of"):
        inspect_raster(str(folder / f"half-{name}"))
    with pytest.raises(RasterError, match="IO error during reading of"):
        inspect_raster(f"{door.url}/half-{name}")


@pytest.mark.parametrize("status", [401, 403])
def test_masks_that_may_not_be_read_are_not_there_and_that_is_said(site, status, tmp_path, capsys):
    _, door, _ = site
    door.rule(pattern=r"\.(msk|aux\.xml)$", actions=[status])
    out = tmp_path / "out"
    assert main(["plan", f"{door.url}/scene.tif", "--model", "coast", "--any-gsd", "--output", str(out)]) == 0
    said = capsys.readouterr()
    assert (
        "does not reveal whether" in said.out + said.err
        and "scene.tif.msk and 1 other name" in said.out + said.err
    )


def said_of_hidden(captured):
    return re.findall(r"does not reveal whether \S*/(\S+)", captured.out + captured.err)


@pytest.mark.parametrize("status", [401, 403])
def test_train_says_which_masks_may_not_be_read(site, status, make_raster, tmp_path, capsys):
    folder, door, _ = site
    town = make_town(tmp_path, make_raster)
    labels = write(folder / "labels" / "town.tif", true_labels()[..., None])
    (folder / "town.tif").write_bytes((town / "town.tif").read_bytes())
    url = f"{door.url}/town.tif"
    door.rule(pattern=r"/town\.tif\.msk$", actions=[status])
    words = ["train", *train_words(town, "--images", url, "--dry-run")]
    assert main(words) == 0
    assert said_of_hidden(capsys.readouterr()) == ["town.tif.msk"]
    words = ["train", *train_words(town, "--labels", f"{door.url}/labels/{labels.name}", "--dry-run")]
    words[words.index("--class-property") : words.index("--class-property") + 2] = []
    words[words.index("roof,pool")] = "ground,roof,pool"
    assert main(words) == 0
    assert said_of_hidden(capsys.readouterr()) == ["town.tif.msk"]


@pytest.mark.parametrize("status", [401, 403])
def test_evaluate_says_which_masks_may_not_be_read(site, status, tmp_path, capsys):
    folder, door, _ = site
    for path in (tmp_path / "map.tif", folder / "map.tif"):
        write_truth(path, drawn(boxes(1)), georef())
    door.rule(pattern=r"/map\.tif\.msk$", actions=[status])
    url = f"{door.url}/map.tif"
    words = ["evaluate", "--predicted", str(tmp_path / "map.tif"), "--truth", url]
    assert main([*words, "--json"]) == 0
    assert said_of_hidden(capsys.readouterr())[:1] == ["map.tif.msk"]
    words[-1:] = [str(tmp_path / "map.tif"), "--images", url]
    assert main(words) == 0
    assert said_of_hidden(capsys.readouterr())[:1] == ["map.tif.msk"]


@pytest.mark.parametrize(("status", "refused"), [(500, True), (400, True), (403, False), (404, False)])
def test_behind_a_query_a_mask_that_cannot_be_had_is_told_as_elsewhere(site, status, refused):
    _, door, _ = site
    door.rule(pattern=r"\?id=1\.msk$", actions=[status])
    path = f"{door.url}/plain.tif?id=1"
    if refused:
        with pytest.raises(
            RasterError, match=rf"it is not known whether \S*\?id=1\.msk exists beside it.* {status} "
        ):
            inspect_raster(path)
    else:
        assert beside(path).hidden == (f"{path}.msk",) * (status == 403)


def test_workers_see_the_files_of_the_plan_or_fail(site):
    _, door, _ = site
    scene, plain = inspect_raster(f"{door.url}/scene.tif"), inspect_raster(f"{door.url}/plain.tif")
    source = pickle.loads(pickle.dumps(RasterSource(scene.path, (1, 2, 3), (0, 0, 0), files=scene.files)))
    door.rule(pattern=r"\.msk$", actions=[500])
    with pytest.raises(RasterReadError, match=r"scene\.tif\.msk lies beside it, but cannot be read"):
        source.read(WHOLE)
    assert RasterSource(plain.path, (1, 2, 3), (0, 0, 0), files=plain.files).read(WHOLE).valid.all()


def test_local_masks_that_come_and_go_after_planning_are_seen(make_raster):
    scene = make_raster(HEIGHT, WIDTH)
    bare = inspect_raster(str(scene)).files
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(scene, "r+") as dataset:
        dataset.write_mask(np.full((HEIGHT, WIDTH), 255, np.uint8))
    masked = inspect_raster(str(scene)).files
    with pytest.raises(RasterReadError, match="is read with it now, but was not there"):
        RasterSource(str(scene), (1,), (0,), files=bare).read(WHOLE)
    assert RasterSource(str(scene), (1,), (0,), files=masked).read(WHOLE).valid.all()
    scene.with_name("scene.tif.msk").unlink()
    with pytest.raises(RasterReadError, match=r"scene\.tif\.msk lies beside it, but cannot be read"):
        RasterSource(str(scene), (1,), (0,), files=masked).read(WHOLE)


@pytest.mark.parametrize("mode", ["every name", "moved", "masks", "masks of masks", "overviews"])
def test_a_server_that_has_a_file_of_any_name_is_asked_for_few(site, mode):
    _, door, _ = site
    rules = {
        "every name": (" /", "/plain.tif"),
        "moved": (r" /(?!plain\.tif$)", f"{door.url}/plain.tif"),
        "masks": (r"(?i)\.msk$", "/plain.tif"),
        "masks of masks": (r"(?i)\.msk\.", "/scene.tif.msk"),
        "overviews": (r"(?i)\.(ovr|msk)$", "/plain.tif"),
    }
    pattern, answer = rules[mode]
    door.rule(pattern=pattern, actions=[answer])
    for path in (f"{door.url}/plain.tif", f"{door.url}/plain.tif?key=1"):
        info = inspect_raster(path)
        with open_raster(path) as dataset:
            dataset.read(out_shape=(3, 6, 7))
        assert RasterSource(path, (1, 2, 3), (0, 0, 0), files=info.files).read(WHOLE).valid.all()
    assert len(door.seen()) < 100


def test_a_mask_of_a_server_that_has_a_file_of_any_name_is_read(site):
    _, door, measured = site
    door.rule(pattern=r" /scene\.tif\.(?!msk$)", actions=["/plain.tif"])
    info = inspect_raster(f"{door.url}/scene.tif")
    assert len(info.files) == 2
    assert np.array_equal(RasterSource(info.path, (1,), (0,), files=info.files).read(WHOLE).valid, measured)


def test_names_beside_a_raster_are_those_that_gdal_makes():
    assert [name.rpartition("/")[2] for name in candidates("https://h.example/a.b/c.tif")] == [
        "c.tif.msk", "c.tif.aux.xml", "c.tfw", "c.tifw", "c.wld",
    ]  # fmt: skip
    assert candidates("https://h.example/get?id=c.tif") == (
        "https://h.example/get?id=c.tif.msk",
        "https://h.example/get?id=c.tif.aux.xml",
    )


@pytest.mark.slow
def test_a_mask_that_fails_after_planning_puts_its_sheets_into_quarantine(site, tmp_path):
    _, door, _ = site
    bundle = nets.make_bundle(tmp_path / "brightest", nets.brightest_band())
    assert segment(f"{door.url}/scene.tif", bundle, tmp_path / "right") == 0
    assert (labels(tmp_path / "right")[:, :30] == 255).all()
    door.rule(pattern=r"GET .*\.msk$", actions=[None, None, 500, 500, 500, 500, 500, 500, 500, 500, 500])
    assert segment(f"{door.url}/scene.tif", bundle, tmp_path / "wrong") in (2, 3)
    assert not (tmp_path / "wrong" / "scene" / "labels.tif").exists()


PUBLIC, PRIVATE, HERE, LINK = (
    "http://93.184.216.34/",
    "http://10.1.2.3/",
    "http://127.0.0.1:80/",
    "http://169.254.169.254/",
)


@pytest.mark.parametrize(
    ("asked", "sent_to", "followed"),
    [
        (PUBLIC, PUBLIC, True),
        (PUBLIC, PRIVATE, False),
        (PUBLIC, HERE, False),
        (PUBLIC, LINK, False),
        (PUBLIC, "http://[::1]/", False),
        (PUBLIC, "http://[::ffff:169.254.169.254]/", False),
        (PUBLIC, "http://0.0.0.0/", False),
        (PUBLIC, "http://localhost/", False),
        (PRIVATE, PRIVATE, True),
        (PRIVATE, HERE, False),
        (PRIVATE, LINK, False),
        (HERE, "http://localhost:81/", True),
        (HERE, LINK, False),
        (LINK, LINK, True),
    ],
)
def test_redirections_lead_to_no_part_of_the_network_that_was_not_named(asked, sent_to, followed):
    if followed:
        check_redirect(asked, sent_to)
    else:
        with pytest.raises(RedirectError, match="which is not followed; name that address instead"):
            check_redirect(asked, sent_to)


def test_every_redirection_of_a_raster_is_looked_at(site, capsys, tmp_path):
    _, door, _ = site
    door.rule(pattern=" /moved", actions=[f"{door.url}/plain.tif"])
    assert inspect_raster(f"{door.url}/moved.tif").files
    door.rule(pattern=" /moved", actions=[f"{LINK}latest/meta-data.tif"])
    out = str(tmp_path / "out")
    assert main(["plan", f"{door.url}/moved.tif", "--model", "coast", "--any-gsd", "--output", out]) == 2
    words = f"moved.tif is redirected to {LINK}latest/meta-data.tif, a link-local address"
    assert words in capsys.readouterr().err
    for name in ("msk", "aux.xml"):
        door.rule(pattern=rf"\.{name}$", actions=[LINK])
        with pytest.raises(
            RasterError, match=rf"plain\.tif\.{name} is redirected to {LINK}, a link-local address"
        ):
            inspect_raster(f"{door.url}/plain.tif")
    source = "<SourceFilename relativeToVRT='1'>moved.tif</SourceFilename>"
    (site[0] / "moved.vrt").write_text(f"<VRTDataset>{source}</VRTDataset>")
    door.rule(pattern=" /moved.tif", actions=[LINK])
    with pytest.raises(RasterError, match=rf"is redirected to {LINK}, a link-local address"):
        inspect_raster(f"{door.url}/moved.vrt")


def test_hosts_are_known_by_what_they_resolve_to():
    assert kinds_of("http://localhost:1/a") == {"loopback"}
    assert kinds_of("http://no-such-host.invalid/a") == {"public"}
