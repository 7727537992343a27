"""Expand and inspect remote rasters: addresses, patterns and folders in buckets."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Protocol, TypeVar

import rasterio

from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import (
    RemoteFileError,
    bucket_of,
    is_web,
    lacks_credentials,
    scheme_of,
    status_of,
)
from terraseam.pipeline.storage.object_stores import object_store
from terraseam.pipeline.storage.servers import EXTRAS, at_once, missing_extra
from terraseam.pipeline.storage.web import absence
from terraseam.pipeline.units import count
from terraseam.tiles.access.sidecars import HIDDEN, Answer, SidecarError, Sidecars, beside
from terraseam.tiles.raster.inspect import SUFFIXES, RasterError

Info_co = TypeVar("Info_co", covariant=True)
"""Metadata of a raster, of any kind."""


class UnreadError(RasterError):
    """A remote raster could not be checked; other rasters are unaffected."""


UNSIGNED = "AWS_NO_SIGN_REQUEST"
"""Environment variable that makes GDAL, but not boto3, read public S3 objects without credentials."""


def expand_remote(argument: str) -> list[str]:
    """Expand an address to rasters: a single one, those in a bucket folder, or those that match a pattern.

    Raises:
        RasterError: If there is none, or the server does not answer; one sentence.
    """
    if is_web(argument):
        return [_web_raster(argument)]
    if scheme_of(argument) not in EXTRAS:
        return [argument]
    problem = missing_extra(argument)
    if problem:
        raise RasterError(problem)
    from terraseam.pipeline.storage.remote_files import failing_fast

    try:
        with failing_fast():
            rasters = _listed(argument)
    except RemoteFileError as error:
        if scheme_of(argument) == "s3" and os.environ.get(UNSIGNED) and not glob.has_magic(argument):
            return [argument]
        is_raster = PurePosixPath(argument).suffix.lower() in SUFFIXES and not glob.has_magic(argument)
        raise (UnreadError if is_raster else RasterError)(str(error)) from error
    if not rasters:
        raise RasterError(_absent(argument))
    return rasters


def existing_files(path: str) -> Sidecars | None:
    """List a remote raster and its sidecar files; return None if GDAL should look for them itself.

    One listing is enough for a GeoTIFF in a bucket; GDAL would request a dozen kinds of masks, world files and
    metadata one by one, and take a failing server for missing files.

    Raises:
        RasterError: If the server does not answer; one sentence.
    """
    if is_web(path):
        return _answered(lambda: beside(path))
    stem, suffix = os.path.splitext(path)  # noqa: PTH122 - an address is no path
    if scheme_of(path) not in EXTRAS or suffix.lower() not in (".tif", ".tiff") or glob.has_magic(path):
        return None
    from terraseam.pipeline.storage.remote_files import failing_fast

    try:
        with failing_fast():
            return Sidecars((path, *(file.path for file in files.matching(f"{stem}.*") if file.path != path)))
    except RemoteFileError as error:
        if status_of(error.__cause__ or error) not in (401, 403):
            _check_that_it_may_be_public(error)
            return None
    # Permission to read an object does not imply permission to list.
    return _answered(lambda: beside(path, ask=_start))


def _answered(ask: Callable[[], Sidecars]) -> Sidecars:
    try:
        return ask()
    except SidecarError as error:
        raise RasterError(str(error)) from error


def _check_that_it_may_be_public(error: RemoteFileError) -> None:
    """Raise the error of a failed listing unless credentials are missing: GDAL may still read public objects."""
    if not (os.environ.get(UNSIGNED) or lacks_credentials(error.__cause__ or error)):
        raise RasterError(str(error)) from error


def _start(path: str) -> Answer:
    """Return the checksum and size of an object, None if it does not exist, or why that is unknown."""
    from terraseam.pipeline.storage.remote_files import failing_fast, version

    try:
        with failing_fast():
            return repr(version(path)).encode()
    except FileNotFoundError:
        return None
    except RemoteFileError as error:
        return HIDDEN if status_of(error.__cause__ or error) in (401, 403) else error


class Inspect(Protocol[Info_co]):
    """A function that reads the metadata of a raster."""

    def __call__(self, path: str, *, known: Sequence[str] | None) -> Info_co:
        """Read the metadata of a raster.

        Args:
            path: Path or URL that GDAL opens.
            known: The raster and its sidecar files, if known, so that no others are looked for; else None.

        Raises:
            RasterError: If it cannot be used.
        """


def inspect_with_sidecars(path: str, inspect: Inspect[Any]) -> Any:
    """Inspect a raster with its sidecar files, and record files whose existence the server hides.

    Raises:
        RasterError: If it cannot be used.
    """
    there = existing_files(path)
    info = inspect(path, known=there.files if there else None)
    return replace(info, hidden=(*there.hidden, *info.hidden)) if there and there.hidden else info


def inspect_all(paths: Sequence[str], inspect: Inspect[Info_co]) -> tuple[list[Info_co], list[LeftOut]]:
    """Read the metadata of rasters concurrently; return it, and the rasters that cannot be used."""

    def inspected(path: str) -> Any:
        try:
            return inspect_with_sidecars(path, inspect)
        except RasterError as error:
            return error

    with rasterio.Env():  # Otherwise, GDAL's settings are made and dropped twice a raster.
        results = at_once(inspected, paths, paths)
    broken = [
        LeftOut(path, (str(failure),), failure.georef)
        for path, failure in zip(paths, results, strict=True)
        if isinstance(failure, RasterError)
    ]
    return [info for info in results if not isinstance(info, RasterError)], broken


def hidden_notes(infos: Iterable[Any]) -> list[str]:
    """Return a note on masks and metadata whose existence servers hide."""
    hidden = [name for info in infos for name in info.hidden]
    if not hidden:
        return []
    others = f" and {count(len(hidden) - 1, 'other name')}" if len(hidden) > 1 else ""
    return [
        f"the server does not reveal whether {hidden[0]}{others} exists: masks and metadata that may not be "
        "read are treated as missing"
    ]


def _web_raster(url: str) -> str:
    if "*" in url.partition("?")[0]:
        raise RasterError(f"{url} is a pattern, but web servers do not list their files; name each raster")
    problem = absence(url)
    if problem is not None:
        raise RasterError(str(problem)) if problem.is_gone else UnreadError(str(problem))
    return url


def _listed(argument: str) -> list[str]:
    named = "/" in argument.partition("://")[2].rstrip("/")
    if named and not argument.endswith("/") and files.exists(argument):
        return [argument]
    if glob.has_magic(argument):
        return sorted(listed.path for listed in files.matching(argument))
    below = files.names(argument)
    return [files.join(argument, name) for name in below if PurePosixPath(name).suffix.lower() in SUFFIXES]


def _absent(argument: str) -> str:
    """Return why an address matches no raster."""
    store = object_store(argument)
    with contextlib.suppress(Exception):  # Without permission to ask for the bucket, report the rest.
        if not store.has_bucket(argument):
            return f"{argument} cannot be read: the bucket {bucket_of(argument)} does not exist"
    if glob.has_magic(argument):
        return f"no file matches {argument}"
    if files.names(argument):
        return f"{argument} is a folder without rasters ({', '.join(sorted(SUFFIXES))})"
    return f"{argument} does not exist"
