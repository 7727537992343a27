"""Share the settings of servers and credentials between Beam's filesystems and GDAL, in the driver and in workers."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments
from terraseam.pipeline.storage.errors import scheme_of
from terraseam.tiles.raster.inspect import is_local

EXTRAS = {"gs": ("gcp", "google.cloud.storage"), "s3": ("aws", "boto3")}
"""The extra that a scheme needs, and a package that is importable if it is installed."""

A = TypeVar("A")
B = TypeVar("B")

AT_ONCE = 16
"""Number of concurrent requests to servers."""

AWS_OPTIONS = {
    "--s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "--s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "--s3_session_token": "AWS_SESSION_TOKEN",
    "--s3_region_name": "AWS_DEFAULT_REGION",
    "--s3_endpoint_url": "AWS_ENDPOINT_URL_S3",
}
"""Beam options, and the corresponding environment variables of GDAL and boto3."""


def prepare(paths: Iterable[str | None], beam: BeamArguments = NO_BEAM_ARGUMENTS) -> None:
    """Make Beam's filesystems and GDAL use the same servers and credentials; do nothing if all paths are local.

    Args:
        paths: Paths to read and write; None entries are ignored.
        beam: Arguments for Apache Beam.
    """
    schemes = {scheme_of(path) for path in paths if path} & set(EXTRAS)
    if not schemes:
        return
    share_settings(beam, os.environ)
    if not all(map(is_installed, schemes)):
        return
    from apache_beam.io.filesystems import FileSystems

    messages = io.StringIO()
    # Options that Beam cannot use are reported when the pipeline is built.
    with contextlib.suppress(SystemExit, ValueError), contextlib.redirect_stderr(messages):
        FileSystems.set_options(beam.pipeline_options())


def filesystems() -> Any:
    """Return Beam's filesystems with the job's options: those of `prepare`, or those of the worker."""
    from apache_beam.io.filesystems import FileSystems

    if FileSystems._pipeline_options is None:
        FileSystems.set_options(NO_BEAM_ARGUMENTS.pipeline_options())
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        _ask_for_no_credentials()
    return FileSystems


def share_settings(beam: BeamArguments, env: MutableMapping[str, str]) -> None:
    """Copy each variable that names a server or a key to its equivalents in other libraries.

    Args:
        beam: Arguments for Apache Beam.
        env: Environment variables of the process; those that are set are not overwritten.
    """
    for option, name in AWS_OPTIONS.items():
        value = beam.last(option)
        if value is not None:
            env[name] = value
    _share_amazon(env)
    emulator = env.get("STORAGE_EMULATOR_HOST") or env.get("CPL_GS_ENDPOINT", "").rstrip("/")
    if emulator:
        address = emulator if "://" in emulator else f"http://{emulator}"
        env.setdefault("STORAGE_EMULATOR_HOST", address)
        env.setdefault("CPL_GS_ENDPOINT", f"{address.rstrip('/')}/")
        env.setdefault("GS_NO_SIGN_REQUEST", "YES")


def _share_amazon(env: MutableMapping[str, str]) -> None:
    if env.get("AWS_DEFAULT_REGION"):
        env.setdefault("AWS_REGION", env["AWS_DEFAULT_REGION"])
    url = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    if not url and env.get("AWS_S3_ENDPOINT"):
        plain = env.get("AWS_HTTPS", "YES").upper() in ("NO", "FALSE", "OFF", "0")
        url = f"{'http' if plain else 'https'}://{env['AWS_S3_ENDPOINT']}"
    if url:
        parts = urlsplit(url)
        env.setdefault("AWS_ENDPOINT_URL_S3", url)
        env.setdefault("AWS_S3_ENDPOINT", parts.netloc)
        env.setdefault("AWS_HTTPS", "YES" if parts.scheme == "https" else "NO")
        # Self-hosted servers rarely have a host name for each bucket.
        env.setdefault("AWS_VIRTUAL_HOSTING", "FALSE")


def _ask_for_no_credentials() -> None:
    """Stop Beam from looking for credentials: emulators need none, and each process would search for 20 s."""
    if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        from apache_beam.internal.gcp import auth

        with contextlib.suppress(AttributeError):
            auth._Credentials._credentials_init = True


def is_installed(scheme: str) -> bool:
    """Return whether the package that a scheme needs is installed."""
    if scheme not in EXTRAS:
        return True
    try:
        return importlib.util.find_spec(EXTRAS[scheme][1]) is not None
    except ModuleNotFoundError:
        return False


def missing_extra(path: str) -> str | None:
    """Return what to install for a URL; None if it is installed or nothing is needed."""
    scheme = scheme_of(path)
    if is_installed(scheme):
        return None
    extra, package = EXTRAS[scheme]
    return f"{path} needs the package {package}; install it with pip install 'terraseam[{extra}]'"


def at_once(work: Callable[[A], B], items: Sequence[A], paths: Iterable[str]) -> list[B]:
    """Apply a function to each item, in order; concurrently if any of `paths` is on a server."""
    if all(map(is_local, paths)):
        return list(map(work, items))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as pool:
        return list(pool.map(work, items))
