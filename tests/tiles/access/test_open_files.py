"""A thread keeps few rasters open, whatever their number."""

import threading
from pathlib import Path

import numpy as np
import pytest

from terraseam.tiles.access.open_files import MOST_OPEN
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.source import RasterSource
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.label_raster import RasterTruth

FILES = Path("/proc/self/fd")
COUNT = MOST_OPEN + 36


def open_rasters() -> int:
    return sum(str(link.resolve()).endswith(".tif") for link in FILES.iterdir() if link.is_symlink())


@pytest.mark.skipif(not FILES.is_dir(), reason="open files are counted in /proc")
def test_a_thread_keeps_the_last_rasters_open_and_reads_the_others_again(make_raster):
    paths = [make_raster(8, 9, seed=number, name=f"{number}.tif") for number in range(COUNT)]
    sources = [RasterSource(str(path), (1,), (0.0,)) for path in paths]
    counted = []

    def read_all() -> None:
        first = [source.read(Window(0, 0, 8, 9)).pixels for source in sources]
        counted.append(open_rasters())
        again = [source.read(Window(0, 0, 8, 9)).pixels for source in sources]
        counted.append(np.array_equal(first, again))

    thread = threading.Thread(target=read_all)
    thread.start()
    thread.join()
    assert counted == [MOST_OPEN, True]


@pytest.mark.skipif(not FILES.is_dir(), reason="open files are counted in /proc")
def test_label_rasters_count_with_the_rasters(make_raster):
    paths = [make_raster(8, 9, bands=1, seed=number, name=f"{number}.tif") for number in range(COUNT)]
    georef = Georef("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, 5_600_000), 8, 9)
    truths = [RasterTruth(str(path), georef, tuple(range(255))) for path in paths]
    for truth in truths:
        truth.labels(View(0, 0, 1, 1, 8, 9))
    assert open_rasters() <= MOST_OPEN
