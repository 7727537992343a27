"""A run of many rasters does as much for each as a run of few: opens, requests and lines of ours are counted."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import nets
import numpy as np
import pytest
import servers
from linear import growth
from segment_cases import manifest, segment

from terraseam.pipeline.cli import main
from terraseam.tiles.raster import opening

OPENED_BY_GDAL = 2
"""Opens of a raster by GDAL in a run: to plan it, and to read its sheets."""

OPENED_BY_US = 6
"""Opens of a raster by Python in a run, which looks at its first bytes for references, and at its blocks for checksums."""

WRITTEN = 13
"""Most files that are opened for a raster of one sheet beside itself: its results, its entries in the store, and records."""

REQUESTS = 21
"""Requests for a raster on a web server and its sidecars in a run."""

_watchers: list[Counter[str]] = []


def _count_open(event: str, arguments: tuple) -> None:
    if event == "open" and _watchers and isinstance(arguments[0], str | Path):
        for opened in _watchers:
            opened[str(arguments[0])] += 1


sys.addaudithook(_count_open)


@contextmanager
def counted_opens(folder: Path):
    """Count the files below a folder that Python opens, in all threads."""
    opened: Counter[str] = Counter()
    found: Counter[str] = Counter()
    _watchers.append(opened)
    try:
        yield found
    finally:
        _watchers.remove(opened)
        found.update({path: number for path, number in opened.items() if path.startswith(f"{folder}/")})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.brightest_band())


def lake(seed: int) -> np.ndarray:
    """Return pixels of one polygon, different for each seed."""
    return np.full((37, 53, 3), (seed, 200, 0), np.uint8)


@pytest.fixture
def scenes(make_raster):
    """A function that writes a folder of rasters of different pixels."""

    def write(number: int) -> list[Path]:
        return [make_raster(pixels=lake(seed), name=f"of{number}/s{seed:03}.tif") for seed in range(number)]

    return write


def test_a_raster_is_opened_to_plan_it_and_to_read_it(bundle, scenes, tmp_path, monkeypatch):
    opened: Counter[str] = Counter()
    open_one = opening._open
    monkeypatch.setattr(
        opening,
        "_open",
        lambda path, *more, **options: opened.update([path]) or open_one(path, *more, **options),
    )
    beside = []
    for number in (2, 6):
        rasters = scenes(number)
        opened.clear()
        with counted_opens(tmp_path) as by_us:
            assert segment(rasters[0].parent, bundle, tmp_path / f"out{number}") == 0
        assert opened == {str(path): OPENED_BY_GDAL for path in rasters}
        assert {by_us.pop(str(path)) for path in rasters} == {OPENED_BY_US}
        beside.append(sum(by_us.values()))
    assert 0 < beside[1] - beside[0] <= 4 * WRITTEN


def test_a_raster_on_a_server_is_requested_as_often_among_many(bundle, scenes, tmp_path, monkeypatch):
    servers.forget_servers(monkeypatch)
    asked = set()
    with servers.server(str(tmp_path)) as door:
        for number in (2, 5):
            names = [f"/of{number}/{path.stem}" for path in scenes(number)]
            door.seen()
            urls = [f"{door.url}{name}.tif" for name in names]
            assert segment_all(urls, bundle, tmp_path / f"out{number}") == 0
            seen = door.seen()
            asked |= {servers.count(seen, f"[A-Z]+ {name}.*") for name in names}
            assert len(seen) == number * REQUESTS, "nothing but rasters and their sidecars is asked for"
    assert asked == {REQUESTS}


def segment_all(rasters, bundle, output) -> int:
    return main(["segment", *rasters, "--model", str(bundle), "--output", str(output)])


def test_a_run_does_as_much_for_a_raster_among_many(bundle, scenes, tmp_path):
    sizes = (12, 16, 24)  # The summary names ten rasters.
    folders = {number: scenes(number)[0].parent for number in sizes}

    outputs = (tmp_path / f"out{number:02}" for number in count())

    def work(number):
        output = next(outputs)
        assert segment(folders[number], bundle, output) == 0
        assert len(manifest(output)["rasters"]) == number

    assert growth(work, sizes) == {}
