"""The distribution, built and installed: one name beside those of others, and a whole program behind it."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import rasterio
from places import ROOT
from succeeding import succeed

pytestmark = pytest.mark.slow

SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "terraseam", "models", "pipeline", "tiles")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def build(source: Path, what: str, target: Path) -> Path:
    target.mkdir(exist_ok=True)
    return target / succeed(sys.executable, "-c", BUILD, what, target, cwd=source).split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what the distribution is built of."""
    folder = tmp_path_factory.mktemp("source")
    leave = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build(source, "build_wheel", source.parent / "wheels")


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_one_package_with_every_module_and_what_they_read(wheel):
    inside = members(wheel)
    assert {name.split("/")[0].partition("-")[0] for name in inside} == {"terraseam"}
    wanted = {
        f"terraseam/{package}/{path.relative_to(ROOT / 'terraseam' / package)}"
        for package in ("api", "models", "pipeline", "tiles")
        for path in (ROOT / "terraseam" / package).rglob("*")
        if path.suffix == ".py" or path.parent.parent.name == "shipped"
    }
    assert wanted | {
        "terraseam/__init__.py",
        "terraseam/__main__.py",
        "terraseam/lazy.py",
        "terraseam/py.typed",
    } == {name for name in inside if name.startswith("terraseam/")}


def test_what_is_built_of_the_source_distribution_is_the_same(source, wheel, tmp_path):
    packed = build(source, "build_sdist", tmp_path / "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(tmp_path / packed.name.removesuffix(".tar.gz"), "build_wheel", tmp_path / "wheels")
    assert members(again) == members(wheel)


HOSTILE = "raise SystemExit('this is somebody else\\'s')\n"


def test_the_main_job_runs_where_others_have_modules_of_the_same_names(wheel, tmp_path):
    """Dependencies are lent by those who run the tests."""
    python = tmp_path / "environment"
    succeed(sys.executable, "-m", "venv", "--without-pip", python, cwd=tmp_path)
    [site] = python.glob("lib/*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = python / "bin" / "python"
    succeed(
        sys.executable, "-m", "pip", "--python", program, "install", "-q", "--no-deps", wheel, cwd=tmp_path
    )
    work = tmp_path / "work"
    (work / "tiles").mkdir(parents=True)
    for name in ("models.py", "pipeline.py", "tiles/__init__.py"):
        (work / name).write_text(HOSTILE)
    with rasterio.open(ROOT / "examples/coast/sample.tif") as raster:
        profile = {**raster.profile, "height": 530, "width": 700}
        with rasterio.open(work / "scene.tif", "w", **profile) as scene:
            scene.write(raster.read(window=((0, 530), (0, 700))))
    where = succeed(program, "-c", "import terraseam; print(terraseam.__file__)", cwd=work, PYTHONPATH="")
    assert Path(where.strip()).is_relative_to(site)
    job = ("segment", "scene.tif", "--model", "coast", "--sheet", "512", "--output")
    succeed(python / "bin" / "terraseam", *job, "one", cwd=work, PYTHONPATH="")
    succeed(program, "-m", "terraseam", *job, "two", "--workers", "2", cwd=work, PYTHONPATH="")
    for name in ("labels.tif", "polygons.geojson"):
        assert (work / "one/scene" / name).read_bytes() == (work / "two/scene" / name).read_bytes()
