import json

import nets
import numpy as np
import pytest
import servers
from segment_cases import manifest

from terraseam.pipeline.cli import main
from terraseam.pipeline.inputs.expand import expand, raster_ids
from terraseam.pipeline.secrets import unsigned, without_secrets
from terraseam.pipeline.storage.errors import file_name, host_of

HOST = "https://host.example/scenes/a.tif"
AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261126&X-Amz-Date=20261126T000000Z&X-Amz-Expires=900"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=0badc0de"
)
SIGNED = [
    AMAZON,
    AMAZON.replace("X-Amz", "X-Goog"),
    "AWSAccessKeyId=AKIA&Expires=1790000000&Signature=vjby%2BPxg%3D",
    "Expires=1790000000&Policy=eyJTdGF0&Signature=vjby-&Key-Pair-Id=K2",
    "sv=2022-11-02&st=2026-11-26&se=2026-11-27&sr=b&sp=r&spr=https&sig=Zm9v%3D",
]


@pytest.mark.parametrize("signature", SIGNED)
def test_what_a_signature_adds_is_no_part_of_an_address(signature):
    assert unsigned(f"{HOST}?{signature}") == HOST
    assert unsigned(f"{HOST}?band=3&{signature}&version=7") == f"{HOST}?band=3&version=7"
    assert unsigned(f"/vsicurl/{HOST}?{signature}") == f"/vsicurl/{HOST}"
    assert unsigned(f"{HOST.upper()}?{signature}").lower() == HOST


@pytest.mark.parametrize(
    "address",
    [
        HOST,
        f"{HOST}?se=1&sp=2&monkey=3",
        "https://host.example/get?key=a.tif",
        "https://host.example/get?token=a",
        "gs://bucket/a?sig=1",
        "scenes/a?sig=1.tif",
        "https://[x/a.tif?sig=1",
    ],
)
def test_what_may_say_which_file_it_is_stays(address):
    assert unsigned(address) == address


def test_files_of_one_server_are_told_apart_and_a_file_signed_twice_is_one():
    one, other = "https://host.example/get?key=a.tif", "https://host.example/get?key=b.tif"
    assert len(set(raster_ids([one, other]))) == 2
    twice = [f"/vsicurl/{HOST}?sig=1", f"/vsicurl/{HOST}?sig=2", f"/vsicurl/{HOST}?sig=1&part=2"]
    found = expand(twice)
    assert (found.paths, found.problems, found.unread) == ([twice[0], twice[2]], [], [])
    assert raster_ids(["/vsicurl/https://host.example/a.tif?token=eyJhbGci.eyJzdWIi"]) == ["a"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"{HOST}?{AMAZON} does not exist (404)", f"{HOST} does not exist (404)"),
        ("see (https://x.example/?token=1&b=2&api_key=3).", "see (https://x.example/)."),
        ("(bad.tif?X-Amz-Signature=hush, band 1: failed)", "(bad.tif, band 1: failed)"),
        ("HTTP://x.example/o'neil.tif?SIG=hush", "HTTP://x.example/o'neil.tif"),
        ("https://u:hush@x.example:81/a.tif", "https://x.example:81/a.tif"),
        ("/vsicurl/https://u:hush@x.example/a.tif", "/vsicurl/https://x.example/a.tif"),
        (
            "https://x.example/a?to=https://y.example/b.tif?sig=hush",
            "https://x.example/a",
        ),
        ("/vsicurl?url=https%3A%2F%2Fx%2Fa.tif%3Fsig%3Dhush&b=1", "/vsicurl?url=https%3A%2F%2Fx%2Fa.tif"),
        (
            "/vsicurl?header.x=hush&url=https%3A%2F%2Fx%2Fa.tif cannot",
            "/vsicurl?url=https%3A%2F%2Fx%2Fa.tif cannot",
        ),
        ("https://x.example/a.tif?hush", "https://x.example/a.tif"),
        (
            "'https://x.example/a.tif?hdnts=a,(hush)~b;c.d' not recognized",
            "'https://x.example/a.tif' not recognized",
        ),
        ("['https://x.example/a.tif?k=hush', 'b'].", "['https://x.example/a.tif', 'b']."),
        ("(a.tif?session=hush, band 1: failed)", "(a.tif, band 1: failed)"),
        ("https://x.example/a.tif?k=h\u00fcsh: no", "https://x.example/a.tif: no"),
        ("https://u:hu'sh@x.example/a?k=hush#b", "https://x.example/a"),
        ("https://x.example/a.tif#access=hush.", "https://x.example/a.tif."),
        ("is it there? a=b; https://x.example/a#part (is it?)", None),
        ("a.tif#sig=hush and a.tif;jwt=hush", "a.tif and a.tif"),
        ("[https://[x?sig=hush] is no host", "[https://[x] is no host"),
        ("did you mean --key? say key=1; or token=2, if you like", None),
        ("https://x.example/?key=a.tif&monkey=3&expires=soon", "https://x.example/"),
    ],
)
def test_nothing_else_of_a_text_changes(said, shown):
    assert without_secrets(said) == (said if shown is None else shown)
    record = {"a": [said, "b\nc"], said: "ü"}
    found = json.loads(without_secrets(json.dumps(record)))
    assert found == {"a": [without_secrets(said), "b\nc"], without_secrets(said): "ü"}


def test_names_of_servers_and_files_are_found_in_any_address():
    assert host_of("https://u:p@host.example:81/a") == "host.example:81"
    assert host_of("https://[x/a.tif") == "[x"
    assert file_name(f"{HOST}?sig=1/2") == file_name("/data/a.tif") == file_name("a.tif") == "a.tif"
    assert file_name("/data/a?b.tif") == "a?b.tif"
    assert file_name("/vsicurl?header.x=hush&url=https%3A%2F%2Fx%2Fa.tif%3Fsig%3Dhush") == "a.tif"
    assert file_name("/vsizip//vsicurl/https://x/a.zip?key=hush") == "a.zip"


@pytest.fixture
def scene(make_raster):
    coarse = np.random.default_rng(3).integers(1, 255, (60, 130, 3)).astype(np.uint8)
    return make_raster(
        pixels=coarse.repeat(9, 0).repeat(9, 1), name="scenes/scene.tif", tiled=True, compress="deflate"
    )


@pytest.fixture
def call(tmp_path):
    """A function that calls ``segment`` or ``plan`` for an address."""
    bundle = nets.make_bundle(tmp_path / "bundle", nets.brightest_band())
    said = ["--model", str(bundle), "--output", str(tmp_path / "out"), "--tile", "512", "--sheet", "512"]
    return lambda verb, *urls: main([verb, *urls[:1], *said, *urls[1:]])


def written(folder):
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_signed_raster_is_known_however_it_is_signed_and_no_signature_is_written(
    scene, call, tmp_path, capsys
):
    out = tmp_path / "out"
    with servers.server(str(scene.parent)) as door:
        url = f"{door.url}/scene.tif"
        assert call("segment", f"{url}?X-Amz-Date=1&X-Amz-Signature=hush1") == 0
        assert manifest(out)["rasters"][0]["path"] == url
        assert manifest(out)["counts"]["sheets_inferred"] == 6
        capsys.readouterr()
        assert call("plan", f"{url}?X-Amz-Date=2&X-Amz-Signature=hush2") == 0
        assert "6 known, not read again" in capsys.readouterr().out
        assert call("segment", f"{url}?X-Amz-Date=2&X-Amz-Signature=hush2") == 0
        assert manifest(out)["counts"]["rasters_kept"] == 1
        gone = f"{door.url}/gone.tif?X-Amz-Signature=hush3"
        assert call("segment", gone) == 2 == call("plan", gone, "--json")
    said = "".join(capsys.readouterr())
    assert f"{door.url}/gone.tif does not exist (404)" in said
    assert len(written(out)) > 10_000
    assert b"hush" not in written(out) and "hush" not in said


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--on-error", "fail")])
def test_what_cannot_be_read_is_told_without_its_signature(scene, call, tmp_path, capsys, more):
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    with servers.server(str(scene.parent)) as door:
        status = call("segment", f"{door.url}/scene.tif?X-Amz-Signature=hush", *more)
    assert status == (1 if more else 3)
    said = "".join(capsys.readouterr())
    assert "hush" not in said and b"hush" not in written(tmp_path / "out")
    if not more:
        assert f"{door.url}/scene.tif" in (tmp_path / "out" / "quarantine.geojson").read_text()


@pytest.mark.slow
def test_what_workers_say_is_kept_without_signatures(scene, call, tmp_path, capsys):
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    with servers.server(str(scene.parent)) as door:
        url = f"{door.url}/scene.tif?X-Amz-Signature=hush"
        assert call("segment", url, "--workers", "2", "--on-error", "fail") == 1
    assert "details in" in capsys.readouterr().err
    said = written(tmp_path / "out")
    assert b"RasterReadError" in said and b"hush" not in said


@pytest.mark.parametrize("name", ["key", "hdnts"])
def test_nothing_behind_the_question_mark_is_written_or_said(scene, call, tmp_path, capsys, name):
    """Also of rasters that are told apart by it, that fail, and that job files name."""
    with servers.server(str(scene.parent)) as door:
        one, other = (f"{door.url}/scene.tif?{name}=hush{number}" for number in (1, 2))
        out = str(tmp_path / "out")
        assert main(["plan", one, other, "--model", "coast", "--any-gsd", "--json", "--output", out]) == 0
        plan = json.loads(capsys.readouterr().out)
        ids = [raster["id"] for raster in plan["rasters"]]
        assert len(set(ids)) == 2 and ids == raster_ids([one, other])
        assert call("plan", f"{door.url}/gone.tif?{name}=hush") == 2
        job = tmp_path / "job.toml"
        job.write_text(f'rasters = ["{door.url}/gone.tif?{name}=hush"]\nwork = 5\n')
        assert main(["plan", "--config", str(job), "--output", str(tmp_path / "out")]) == 2
        job.write_text(f'rasters = "{door.url}/gone.tif?{name}=hush"\ntile = "{door.url}?{name}=hush"\n')
        assert (
            main(["plan", "--config", str(job), "--model", "coast", "--output", str(tmp_path / "out")]) == 2
        )
    said = "".join(capsys.readouterr())
    assert "hush" not in said and "hush" not in json.dumps(plan)


@pytest.mark.slow
def test_evaluate_and_train_say_no_addresses_whole(tmp_path, capsys):
    for command in (
        ["evaluate", "--predicted", "http://127.0.0.1:9/a.tif?key=hush", "--truth", "http://127.0.0.1:9/b.tif?key=hush"],
        ["train", "--images", "http://127.0.0.1:9/a.tif?key=hush", "--labels", "http://127.0.0.1:9/b.gpkg?key=hush",
         "--classes", "a", "--architecture", "unet", "--encoder", "none", "--output", str(tmp_path / "b")],
        ["vectorize", "http://127.0.0.1:9/a.tif?key=hush", "--output", str(tmp_path / "o")],
        ["models", "show", "http://127.0.0.1:9/a?key=hush"],
        ["store", "list", "http://127.0.0.1:9/a?key=hush"],
    ):  # fmt: skip
        assert main(command) in (1, 2)
        said = capsys.readouterr()
        assert "127.0.0.1:9" in said.err and "hush" not in said.out + said.err
