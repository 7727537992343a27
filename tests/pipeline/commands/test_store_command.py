"""``terraseam store``: list, verify and prune."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from terraseam.pipeline.cli import main
from terraseam.pipeline.segment.prediction_store import PredictionStore
from terraseam.tiles.labels.stitch import LabelMap

DAY = 86_400


@pytest.fixture
def job(tmp_path):
    """The folder of results of a job whose store has four entries, 1, 2, 3 and 4 days old."""
    store = PredictionStore(str(tmp_path / "out" / ".work" / "store"))
    for age in range(1, 5):
        labels = np.random.default_rng(age).integers(0, 3, (40, 40)).astype(np.uint8)
        store.put(f"{age:02d}ab", LabelMap(labels, labels))
        os.utime(store.path(f"{age:02d}ab"), (time.time() - age * DAY,) * 2)
    return tmp_path / "out"


def run(capsys, *arguments):
    status = main(["store", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


def kept(job):
    return sorted(path.stem for path in job.glob(".work/store/*/*.sheet"))


def test_a_store_says_how_much_there_is_and_how_old(job, capsys):
    for folder in (job, job / ".work"):
        status, said, _ = run(capsys, "list", folder)
        assert status == 0 and "4 sheets" in said and "1 day to 4 days old" in said
    found = json.loads(run(capsys, "list", job, "--json")[1])
    assert found["sheets"] == 4 and found["made"] == 0 and found["drafts"] == 0
    assert found["bytes"] == sum(path.stat().st_size for path in job.glob(".work/store/*/*"))


def test_damaged_entries_are_named_and_removed_on_request(job, capsys):
    assert run(capsys, "verify", job)[:2] == (0, "4 files, 0 damaged\n")
    (entry,) = job.glob(".work/store/02/*")
    entry.write_bytes(entry.read_bytes()[:-1])
    status, said, _ = run(capsys, "verify", job)
    assert status == 1 and "1 damaged" in said and str(entry) in said and entry.exists()
    assert json.loads(run(capsys, "verify", job, "--json")[1])["damaged"] == [str(entry)]
    assert run(capsys, "verify", job, "--remove")[0] == 0
    assert kept(job) == ["01ab", "03ab", "04ab"]
    assert run(capsys, "verify", job)[0] == 0


def test_old_entries_go_by_age_and_by_size(job, capsys):
    assert "1 file removed" in run(capsys, "prune", job, "--older-than", "3.5d")[1]
    assert kept(job) == ["01ab", "02ab", "03ab"]
    sizes = {path.stem: path.stat().st_size for path in job.glob(".work/store/*/*.sheet")}
    assert run(capsys, "prune", job, "--max-size", f"{(sizes['01ab'] + sizes['02ab']) / 1000}kB")[0] == 0
    assert kept(job) == ["01ab", "02ab"]
    assert json.loads(run(capsys, "prune", job, "--max-size", "0kB", "--json")[1])["removed"] == 2
    assert kept(job) == []


def test_entries_in_use_and_fresh_drafts_stay(job, capsys):
    store = PredictionStore(str(job / ".work" / "store"))
    assert store.intact("04ab", (40, 40))
    drafts = [job / ".work" / "store" / "01" / f".{name}" for name in ("old", "new")]
    for draft, age in zip(drafts, (2, 0), strict=True):
        draft.write_bytes(b"half")
        os.utime(draft, (time.time() - age * DAY,) * 2)
    assert "2 drafts" in run(capsys, "list", job)[1]
    run(capsys, "prune", job, "--older-than", "2.5d")
    assert kept(job) == ["01ab", "02ab", "04ab"]
    assert [draft.exists() for draft in drafts] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "{}/nowhere"), "there is no prediction store in"),
        (("prune", "{}"), "nothing to prune: pass --older-than AGE and/or --max-size SIZE"),
        (("prune", "{}", "--older-than", "30"), "'30' is not a span such as 12h"),
        (("prune", "{}", "--max-size", "lots"), "'lots' is not a size such as 500MB"),
        (
            ("lst", "{}"),
            "invalid choice: 'lst' (choose from 'list', 'verify', 'prune'); did you mean list? (see",
        ),
        (("prun", "{}"), "invalid choice: 'prun' (choose from 'list', 'verify', 'prune') (see"),
        ((), "VERB"),
    ],
)
def test_wrong_arguments_are_one_sentence(job, capsys, arguments, words):
    status, out, error = run(capsys, *(argument.format(job) for argument in arguments))
    assert status == 2 and out == "" and words in error and error.count("\n") == 1
    assert len(kept(job)) == 4


def test_the_store_of_an_output_is_found_where_its_manifest_says(job, tmp_path, capsys, monkeypatch):
    (job / ".work").rename(tmp_path / "work")
    for said in (str(tmp_path / "work"), "work"):
        (job / "manifest.json").write_text(json.dumps({"options": {"work": said}}))
        monkeypatch.chdir(tmp_path)
        status, words, _ = run(capsys, "list", job)
        assert status == 0 and words.startswith(f"{said}: 4 sheets")
    assert run(capsys, "verify", job)[:2] == (0, "4 files, 0 damaged\n")
    monkeypatch.chdir("/")
    status, _, said = run(capsys, "list", job)
    assert status == 2 and "nor in work, the --work folder named in its manifest" in said
    (job / "manifest.json").write_text("[1")
    assert "name the --output or --work folder of a run" in run(capsys, "list", job)[2]
