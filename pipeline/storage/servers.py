"""One description of servers and credentials for Beam's filesystems and for GDAL, in the driver and in workers."""

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
"""The extra that a scheme needs, and the package that shows that it is installed."""

A = TypeVar("A")
B = TypeVar("B")

AT_ONCE = 16
"""Requests to servers at the same time."""

AWS_OPTIONS = {
    "--s3_access_key_id": "AWS_ACCESS_KEY_ID",
    "--s3_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "--s3_session_token": "AWS_SESSION_TOKEN",
    "--s3_region_name": "AWS_DEFAULT_REGION",
    "--s3_endpoint_url": "AWS_ENDPOINT_URL_S3",
}
"""Options of Beam's, and the variables by which GDAL and boto3 learn the same."""


def prepare(paths: Iterable[str | None], beam: BeamArguments = NO_BEAM_ARGUMENTS) -> None:
    """Let Beam's filesystems and GDAL work with the same servers and credentials; nothing is done where all is local.

    Args:
        paths: What is to be read and written; None for what is not.
        beam: Arguments for Apache Beam.
    """
    schemes = {scheme_of(path) for path in paths if path} & set(EXTRAS)
    if not schemes:
        return
    share_settings(beam, os.environ)
    if not all(map(is_installed, schemes)):
        return
    from apache_beam.io.filesystems import FileSystems

    said = io.StringIO()
    # Options that Beam cannot use are told when the pipeline is made.
    with contextlib.suppress(SystemExit, ValueError), contextlib.redirect_stderr(said):
        FileSystems.set_options(beam.pipeline_options())


def filesystems() -> Any:
    """Beam's filesystems, with the options of the job: those of `prepare`, or those that a worker was started with."""
    from apache_beam.io.filesystems import FileSystems

    if FileSystems._pipeline_options is None:
        FileSystems.set_options(NO_BEAM_ARGUMENTS.pipeline_options())
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        _ask_for_no_credentials()
    return FileSystems


def share_settings(beam: BeamArguments, env: MutableMapping[str, str]) -> None:
    """Let each variable that names a server or a key stand for all that say the same.

    Args:
        beam: Arguments for Apache Beam.
        env: The variables of the process; those that are set stay.
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
        # Servers of one's own are rarely known by a name for each bucket.
        env.setdefault("AWS_VIRTUAL_HOSTING", "FALSE")


def _ask_for_no_credentials() -> None:
    """Emulators want none, and Beam would look for some in every process for 20 s before it says so."""
    if not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        from apache_beam.internal.gcp import auth

        with contextlib.suppress(AttributeError):
            auth._Credentials._credentials_init = True


def is_installed(scheme: str) -> bool:
    """Whether the package is installed that a scheme needs."""
    if scheme not in EXTRAS:
        return True
    try:
        return importlib.util.find_spec(EXTRAS[scheme][1]) is not None
    except ModuleNotFoundError:
        return False


def missing_extra(path: str) -> str | None:
    """What to install for an address; None where it is installed, or nothing is needed."""
    scheme = scheme_of(path)
    if is_installed(scheme):
        return None
    extra, package = EXTRAS[scheme]
    return f"{path} needs the package {package}; install it with pip install 'terraseam[{extra}]'"


def at_once(work: Callable[[A], B], things: Sequence[A], paths: Iterable[str]) -> list[B]:
    """What comes of each of many things, in order; where `paths` are on servers, those are asked about several at once."""
    if all(map(is_local, paths)):
        return list(map(work, things))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ask") as pool:
        return list(pool.map(work, things))
