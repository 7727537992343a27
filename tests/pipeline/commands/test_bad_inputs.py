"""What cannot succeed is refused with one sentence and the documented exit status, and leaves nothing behind."""

from __future__ import annotations

import bad_inputs
import pytest

from terraseam.pipeline.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    bad_inputs.write_files(folder)
    with bad_inputs.another_run(folder):
        yield folder


@pytest.mark.parametrize("case", bad_inputs.CASES, ids=str)
def test_bad_input_is_refused_with_one_sentence(case, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    for name, value in bad_inputs.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    status = main(case.command.split())
    assert bad_inputs.what_is_wrong(case, files, status, capsys.readouterr().err) is None
    bad_inputs.clear(files)


def test_what_is_tried_is_of_many_kinds():
    kinds = [case.what for case in bad_inputs.CASES]
    assert len(set(kinds)) == len(kinds) >= 30
