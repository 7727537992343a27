import json

import nets
import pytest
import servers

from pipeline.cli import main
from pipeline.signatures import unsigned, without_signatures

HOST = "https://host.example/scenes/a.tif"
AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20261126&X-Amz-Date=20261126T000000Z&X-Amz-Expires=900"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=0badc0de"
)
GOOGLE = AMAZON.replace("X-Amz", "X-Goog")
OLD = "AWSAccessKeyId=AKIA&Expires=1790000000&Signature=vjby%2BPxg%3D"
AZURE = "sv=2022-11-02&st=2026-11-26&se=2026-11-27&sr=b&sp=r&spr=https&sig=Zm9v%3D"


@pytest.mark.parametrize(
    "signature", [AMAZON, GOOGLE, OLD, AZURE, "token=t0k3n", "api_key=1&access_token=2", "key=9"]
)
def test_what_lets_in_is_left_out_and_what_says_which_file_stays(signature):
    assert unsigned(f"{HOST}?{signature}") == HOST
    assert unsigned(f"{HOST}?band=3&{signature}&version=7") == f"{HOST}?band=3&version=7"
    assert unsigned(f"/vsicurl/{HOST}?{signature}") == f"/vsicurl/{HOST}"


def test_other_addresses_stay_as_they_are():
    for address in (HOST, f"{HOST}?se=1&sp=2&monkey=3", "gs://bucket/a?token=1", "scenes/a?token=1.tif"):
        assert unsigned(address) == address
    assert unsigned("https://user:secret@host.example/a.tif") == "https://host.example/a.tif"
    assert unsigned("https://host.example:8443/a.tif?token=1") == "https://host.example:8443/a.tif"


def test_in_a_text_every_address_is_without_what_lets_in_and_nothing_else_changes():
    text = f"{HOST}?{AMAZON} does not exist (404); {HOST}?{AZURE}: no; see (https://x.example/?token=1)."
    assert without_signatures(text) == f"{HOST} does not exist (404); {HOST}: no; see (https://x.example/)."
    record = {"a": [f"{HOST}?{OLD}", "b\nc"], "https://x.example/?sig=1": "ü"}
    found = json.loads(without_signatures(json.dumps(record)))
    assert found == {"a": [HOST, "b\nc"], "https://x.example/": "ü"}


def test_a_signed_raster_is_known_however_it_is_signed_and_no_signature_is_written(
    make_raster, tmp_path, capsys
):
    import numpy as np

    coarse = np.random.default_rng(3).integers(1, 255, (20, 30, 3)).astype(np.uint8)
    scene = make_raster(pixels=coarse.repeat(9, 0).repeat(9, 1), name="scenes/scene.tif")
    bundle = nets.make_bundle(tmp_path / "bundle", nets.brightest_band())
    out = tmp_path / "out"

    def segment(verb, url, *more):
        return main([verb, url, "--model", str(bundle), "--output", str(out), "--tile", "512", *more])

    with servers.server(str(scene.parent)) as door:
        url = f"{door.url}/scene.tif"
        assert segment("segment", f"{url}?X-Amz-Date=1&X-Amz-Signature=hush1") == 0
        record = json.loads((out / "manifest.json").read_text())
        assert record["rasters"][0]["path"] == url
        assert record["counts"]["sheets_inferred"] == 1
        capsys.readouterr()
        assert segment("plan", f"{url}?X-Amz-Date=2&X-Amz-Signature=hush2") == 0
        assert "1 known, not read again" in capsys.readouterr().out
        assert segment("segment", f"{url}?X-Amz-Date=2&X-Amz-Signature=hush2") == 0
        assert json.loads((out / "manifest.json").read_text())["counts"]["rasters_kept"] == 1
        assert segment("segment", f"{door.url}/gone.tif?X-Amz-Signature=hush3") == 2
    said = "".join(capsys.readouterr())
    assert f"{door.url}/gone.tif does not exist (404)" in said
    kept = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert kept and not [data for data in kept if b"hush" in data]
    assert "hush" not in said
