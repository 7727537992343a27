"""Leave out packages that our dependencies import where they are installed, and that our own programs never use.

Beam imports the clients of Google's services and of MongoDB, pandas and requests; pyogrio imports geopandas; numba
imports all of scipy.linalg. That is half of what a small run costs before its first tile. What other programs import
is left alone: only the programs of this package call `leave_out_unused`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from types import FrameType, ModuleType

UNUSED: Mapping[str, Sequence[str]] = {
    "numba": ("cffi", "scipy"),  # No compiled function calls C through cffi, or BLAS.
    "pyogrio": ("geopandas", "pandas"),
}
"""Packages that are not imported, by the package that would."""

UNUSED_HERE: Mapping[str, Sequence[str]] = {
    "apache_beam": (
        "apache_beam.io.gcp.bigquery",
        "apache_beam.io.gcp.gcsfilesystem",
        "apitools",
        "google.api_core",
        "google.cloud",
        "pandas",
        "pymongo",
        "requests",
    ),
}
"""The same for pipelines that run on this machine and name no bucket."""

WORKERS_VARIABLE = "TERRASEAM_WITHOUT_CLOUD"
"""Environment variable that makes a worker process leave out the same packages as its driver."""


class OptionalImports(MetaPathFinder):
    """A finder that reports some packages as not installed to some importers.

    Args:
        unused: Packages, by the package that imports them.
    """

    def __init__(self, unused: Mapping[str, Sequence[str]]) -> None:
        self.unused = dict(unused)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        """Find nothing, so that the other finders look for the module.

        Raises:
            ModuleNotFoundError: If the importing package does not need it.
        """
        listed = [
            importer
            for importer, names in self.unused.items()
            if any(fullname == name or fullname.startswith(f"{name}.") for name in names)
        ]
        if listed and _importer(sys._getframe(1)) in listed:
            raise ModuleNotFoundError(f"{fullname} is left out, as nothing uses it here", name=fullname)


def leave_out_unused() -> OptionalImports:
    """Leave out what no command needs, from now on, in this process; return the finder that does it."""
    finder = _installed() or OptionalImports(UNUSED)
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)
    return finder


def leave_out_cloud() -> None:
    """Leave out also what Beam needs in other places than this machine, if this is a program of ours.

    Worker processes started from now on do the same.
    """
    finder = _installed()
    if finder is not None and "apache_beam" not in sys.modules:
        finder.unused |= UNUSED_HERE
        os.environ[WORKERS_VARIABLE] = "1"
        # It warns that it cannot read from MongoDB.
        logging.getLogger("apache_beam.io.mongodbio").disabled = True


def leave_out_in_worker() -> None:
    """Leave out, in a worker process, what its driver has left out."""
    leave_out_unused()
    if os.environ.get(WORKERS_VARIABLE):
        leave_out_cloud()


def _installed() -> OptionalImports | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, OptionalImports)), None)


def _importer(frame: FrameType | None) -> str:
    """Return the top-level package of the code that imports, which is above importlib in the stack."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if (
            not frame.f_code.co_filename.startswith("<frozen importlib")
            and name.split(".", maxsplit=1)[0] != "importlib"
        ):
            return name.split(".", maxsplit=1)[0]
        frame = frame.f_back
    return ""
