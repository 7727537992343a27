"""A small part of `benchmarks/fuzzing.py`: random rasters with random options, checked by other libraries."""

import sys

import numpy as np
import pyproj
import pytest
import shapely
from places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import fuzzing


def test_random_rasters_with_random_options_give_what_other_libraries_expect(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzzing, "OPTIONS", [fuzzing.OPTIONS[number] for number in (5, 14)])
    monkeypatch.setattr(fuzzing, "GRIDS", {"polar": fuzzing.GRIDS["polar"]})
    found = fuzzing.fuzz(16, 3, tmp_path, 8)
    assert not found.wrong
    assert (found.rasters, found.runs) == (16, 2) and found.features > 300


def test_wrong_areas_are_found_and_so_are_edges_that_are_drawn_elsewhere():
    crs, transform = fuzzing.GRIDS["polar"]
    case = fuzzing.Case("r", "polar", np.zeros((70, 70), int), np.ones((70, 70), bool))
    degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)

    def found(right, drawn_px=0, share=1.0):
        """What is said of a bar whose long side is drawn straight in degrees, and of an area that is off."""
        bar = shapely.box(0, 0, 64, 1) if right else shapely.segmentize(shapely.box(0, 0, 64, 1), 1)
        on_map = shapely.transform(bar, lambda xy: np.stack(transform * xy.T, axis=1))
        drawn = shapely.transform(on_map, lambda xy: xy + drawn_px * 100)
        drawn = shapely.transform(drawn, lambda xy: np.stack(degrees.transform(*xy.T), axis=1))
        area = fuzzing._geodesic(shapely.segmentize(drawn, 1e-4)) * share
        shapes = np.array([shapely.box(*on_map.bounds)])
        return list(fuzzing._check_areas(case, np.array([drawn]), shapes, {"area_m2": np.array([area])}))

    assert found(True) == found(False) == []
    assert found(False, share=1.0003) != [] and found(True, share=1.0003) != []
    assert "an edge is drawn 0.2" in found(True, drawn_px=0.15)[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_random_rasters_on_all_grids_with_all_options_give_what_other_libraries_expect(seed, tmp_path):
    found = fuzzing.fuzz(200, seed, tmp_path, 10)
    assert not found.wrong
    assert found.runs == len(fuzzing.OPTIONS)
