"""A small part of `benchmarks/fuzzing.py`: random rasters with random options, checked by other libraries."""

import sys

import pytest
from places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import fuzzing


def test_random_rasters_with_random_options_give_what_other_libraries_expect(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "OPTIONS", [fuzzing.OPTIONS[number] for number in (3, 5, 14)])
    monkeypatch.setattr(fuzzing, "GRIDS", {"rotated": fuzzing.GRIDS["rotated"]})
    found = fuzzing.fuzz(24, 3, tmp_path, 8)
    assert not found.wrong
    assert (found.rasters, found.runs) == (24, 3) and found.features > 200


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_rasters_on_all_grids_with_all_options_give_what_other_libraries_expect(seed, tmp_path):
    found = fuzzing.fuzz(200, seed, tmp_path, 10)
    assert not found.wrong
    assert found.rasters == 200 and found.runs >= len(fuzzing.OPTIONS)
