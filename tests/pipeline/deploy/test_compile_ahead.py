"""Compiling ahead: the commands that `compile_ahead` runs; `test_deploy_installs.py` holds what they compile."""

from __future__ import annotations

import pytest
import rasterio

from terraseam.pipeline import cli
from terraseam.pipeline.deploy import compile_ahead as warm
from terraseam.pipeline.exit_status import DONE, FAILED


def test_each_variant_is_a_command_that_can_succeed(tmp_path, capsys):
    vectorized = [command for command in warm.commands(tmp_path) if command[0] == "vectorize"]
    assert len(vectorized) == len({tuple(command[6:]) for command in vectorized}) == 8
    assert cli.main(vectorized[-1]) == DONE, capsys.readouterr().err
    with rasterio.open(tmp_path / "image.tif") as image, rasterio.open(tmp_path / "labels.tif") as labels:
        assert image.res == labels.res == (1, 1) and (image.count, labels.count) == (3, 1)
        assert min(image.shape) > 512, "there is more than one sheet each way"


def test_an_installation_compiles_what_a_run_without_options_needs(tmp_path):
    (command,) = warm.commands(tmp_path, default_only=True)
    assert command[0] == "segment" and command[-2:] == ["--model", "coast"]


@pytest.mark.parametrize("status", [DONE, FAILED])
def test_a_command_that_fails_ends_it(monkeypatch, capsys, status):
    ran = []
    monkeypatch.setattr(warm, "main", lambda command: ran.append(command) or status)
    assert warm.warm() == status
    assert len(ran) == (17 if status == DONE else 1)
    assert ("compiled ahead of time into" in capsys.readouterr().out) == (status == DONE)
