"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GDAL_CACHEMAX", "64")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# Read as a process starts: for those of pytest-xdist and those that tests start.
os.environ.setdefault("MALLOC_ARENA_MAX", "2")

import ctypes
import fcntl
import gc
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyogrio  # noqa: F401 - before TensorFlow, as pipeline/segment/stage.py says
import pytest
import rasterio
from beam_caches import keep_once_imported
from rasterio.enums import ColorInterp
from renewal import pytest_sessionfinish, pytest_testnodedown, pytest_xdist_make_scheduler  # noqa: F401 - hooks
from rotation import slow_order

# A shell that starts tests in the background makes them ignore Ctrl-C, and nohup that a terminal is closed; commands started
# by tests inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


DEADLINE = float(os.environ.get("TEST_DEADLINE", "inf"))
"""Seconds since 1970; files that begin later leave their slow tests out."""
LEFT_OUT = "left out for want of time"
late: dict[str, bool] = {}
"""Files that have begun, and whether that was past the deadline."""


def file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let files with slow tests begin first: those with many of them.

    Where time may not be enough they come last and in turn: what is left when time is over are quick tests of few files.
    """
    slow = Counter(file_of(item) for item in items if item.get_closest_marker("slow"))
    in_turn = float("inf") > DEADLINE
    order = slow_order(config.rootpath, slow) if in_turn else sorted(slow, key=lambda file: -slow[file])
    places = {file: place for place, file in enumerate(order)}
    others = -1 if in_turn else len(places)
    items.sort(key=lambda item: places.get(file_of(item), others))


def pytest_runtest_setup(item: pytest.Item) -> None:
    keep_once_imported()
    if late.setdefault(file_of(item), time.time() > DEADLINE) and item.get_closest_marker("slow"):
        pytest.skip(LEFT_OUT)


def pytest_report_teststatus(report: Any) -> tuple[str, str, str] | None:
    """Name at once what fails: a run that is ended from outside comes to no summary."""
    if not report.failed:
        return None
    category = "error" if report.when in ("setup", "teardown") else "failed"
    return category, f"\n{report.nodeid} failed\n", "FAILED"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the files whose slow tests were left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    files = {report.nodeid.partition("::")[0] for report in skipped if LEFT_OUT in str(report.longrepr)}
    if files:
        terminalreporter.write_line(f"{LEFT_OUT}: {', '.join(sorted(files))}")


class Memory:
    """What the process of the tests holds, and how it gives back what networks of earlier tests left behind.

    TensorFlow registers the gradient of every custom operation of a graph by name and for ever, and with it the whole graph
    of a training; nothing needs it once the test that trained is over.
    """

    grown_mb = 60
    swept_mb = 0.0

    @staticmethod
    def held_mb() -> float:
        return psutil.Process().memory_info().rss / 2**20

    @classmethod
    def sweep(cls) -> None:
        registered = sys.modules["tensorflow.python.framework.ops"].gradient_registry._registry
        for name in [name for name in registered if name.startswith("CustomGradient-")]:
            del registered[name]
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        cls.swept_mb = cls.held_mb()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Sweep where much was added since the last time; with every file end Keras' session and forget shared engines."""
    if "keras" not in sys.modules or "tensorflow" not in sys.modules:
        return
    if nextitem is None or nextitem.path != item.path:
        if "terraseam.models.engines.engine" in sys.modules:
            sys.modules["terraseam.models.engines.engine"]._engines.clear()
        sys.modules["keras"].backend.clear_session()
    if Memory.held_mb() > Memory.swept_mb + Memory.grown_mb:
        Memory.sweep()


NORTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a raster of random or given pixels ``(height, width, bands)``."""

    def make(
        height: int = 37,
        width: int = 53,
        *,
        bands: int = 3,
        dtype: str = "uint8",
        pixels: np.ndarray | None = None,
        name: str = "scene.tif",
        crs: str | None = "EPSG:32632",
        transform: rasterio.Affine = NORTH_UP,
        nodata: float | None = None,
        alpha: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        seed: int = 0,
        **profile: object,
    ) -> Path:
        if pixels is None:
            rng = np.random.default_rng(seed)
            pixels = rng.integers(1, 255, (height, width, bands)).astype(dtype)
        height, width, bands = pixels.shape
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = {
            "height": height,
            "width": width,
            "count": bands + (alpha is not None),
            "dtype": pixels.dtype,
        }
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path, "w", driver="GTiff", crs=crs, transform=transform, nodata=nodata, **shape, **profile
            ) as dataset,
        ):
            dataset.write(np.moveaxis(pixels, -1, 0), list(range(1, bands + 1)))
            if alpha is not None:
                dataset.colorinterp = [*dataset.colorinterp[:bands], ColorInterp.alpha]
                dataset.write(alpha.astype(pixels.dtype), bands + 1)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return make


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it are skipped where TERRASEAM_DATA does not name it."""
    folder = os.environ.get("TERRASEAM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TERRASEAM_DATA is not set to the folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def planted_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small Mask R-CNN that was trained on planted scenes, once for all processes of a run of tests."""
    import planted

    return made_once(tmp_path_factory, "planted", planted.train_planted_detector)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder once for all processes of a run of tests; it may not be changed."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made = shared / f"shared-{name}"
    with (shared / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            draft = factory.mktemp("draft") / name
            make(draft)
            draft.rename(made)
    return made


def pytest_collection_finish() -> None:
    """Leave what was imported alone from now on, and let engines run with one thread an operation.

    Looking for garbage among all that TensorFlow and Beam define takes a second each time. Threads must be said before
    the first test uses TensorFlow.
    """
    gc.collect()
    gc.freeze()
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)


@pytest.fixture(scope="module", params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A bucket on a server of this machine, of Google's and of Amazon's kind."""
    import servers

    with pytest.MonkeyPatch.context() as patch, servers.bucket(request.param, patch) as made:
        yield made


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """A folder, and a web server of this machine that serves it."""
    import servers

    folder = tmp_path_factory.mktemp("web")
    with servers.server(str(folder)) as door:
        yield folder, door


@pytest.fixture
def no_weights() -> Iterator[None]:
    """Build networks of which weights have shapes alone: drawn, those of the largest take 2 GB."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        yield
