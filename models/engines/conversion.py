"""Convert networks for an engine, on first use and in a separate process; cache them, and verify them on load."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import terraseam
from terraseam.models.bundle.card import Card, network_sha256
from terraseam.models.engines.profile import EngineError, Profile

CONVERSION_VERSION = 1
"""Raised by hand when conversion itself changes."""

NETWORK_FILES = {"openvino": "network.xml", "onnx": "network.onnx"}
CHECKSUMS = "checksums.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk."""
LONGEST = 300
"""Characters of a converter's message that are shown."""
PACKAGE_ROOT = Path(terraseam.__file__).parents[1]


@dataclass(frozen=True)
class Conversion:
    """A network converted for one engine and chips of one shape, or of any size.

    Attributes:
        bundle: Folder of the bundle.
        weights_sha256: SHA-256 of the network's file.
        engine: Target engine.
        versions: Versions of the engine, of Keras and of the converter.
        shape: Input shape of a call: ``(samples, height, width, bands)``, or with bands in the second place; sides that
            are None are free.
    """

    bundle: str
    weights_sha256: str
    engine: str
    versions: tuple[str, ...]
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, bundle: Path, card: Card, profile: Profile, shape: tuple[int | None, ...]) -> Conversion:
        """Return the conversion that a profile needs."""
        versions = (profile.engine_version, profile.keras_version, profile.converter)
        return cls(str(bundle), card.weights_sha256, profile.engine, versions, shape)

    @property
    def name(self) -> str:
        """Name of its folder: a hash of everything it depends on."""
        recipe = [CONVERSION_VERSION, self.weights_sha256, self.engine, self.versions, self.shape]
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]


def any_size(card: Card) -> tuple[int | None, ...]:
    """Return the input shape of a network for any number of samples, height and width."""
    bands = len(card.bands)
    return (None, bands, None, None) if card.network.layout == "channels_first" else (None, None, None, bands)


def converted_network(conversion: Conversion, folder: str | None) -> Path:
    """Return the file of a converted network, converting it if it is missing from the folder or damaged.

    Several processes may ask at the same time: one converts, the others wait for it.

    Args:
        conversion: The conversion.
        folder: Cache of conversions; None for a folder of this user on this machine.

    Raises:
        EngineError: If the network cannot be converted.
    """
    place = Path(folder) if folder is not None else _own_folder()
    cache_entry = place / conversion.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not _is_whole(cache_entry):
            with _lock(place / f".{conversion.name}.lock"):
                if not _is_whole(cache_entry):
                    _convert(conversion, cache_entry)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise cannot_convert(conversion, no_room(place, (error.strerror or "").lower())) from error
    return cache_entry / NETWORK_FILES[conversion.engine]


def no_room(folder: Path, why: str) -> str:
    """Return the error message for a disk that is too full for a converted network."""
    return f"there is not enough space for it in {folder}: {why}; free some space, or choose another disk with --work"


def size_of(bundle: Path) -> int:
    """Return the size of all files of a bundle, in bytes."""
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())


def cannot_convert(conversion: Conversion, why: str) -> EngineError:
    """Return the error for a network that cannot be converted."""
    return EngineError(
        f"bundle {conversion.bundle} cannot be converted for {conversion.engine} ({why}); leave out --engine to "
        f"run it with the engine for its file"
    )


def _convert(conversion: Conversion, cache_entry: Path) -> None:
    """Convert a network; its folder appears atomically."""
    shutil.rmtree(cache_entry, ignore_errors=True)
    for left in cache_entry.parent.glob(f".{cache_entry.name}.*.draft"):
        # This process holds the lock, so drafts are left over from killed processes.
        shutil.rmtree(left, ignore_errors=True)
    draft = cache_entry.with_name(f".{cache_entry.name}.{uuid.uuid4().hex}.draft")
    draft.mkdir()
    try:
        _run_converter(conversion, draft / NETWORK_FILES[conversion.engine])
        checksums = {file.name: network_sha256(file) for file in sorted(draft.iterdir())}
        (draft / CHECKSUMS).write_text(json.dumps({"of": conversion.name, "sha256": checksums}))
        draft.rename(cache_entry)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _run_converter(conversion: Conversion, target: Path) -> None:
    """Convert in a separate process, so that this one never loads TensorFlow."""
    path = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = {"PYTHONPATH": path, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    order = {
        "bundle": conversion.bundle,
        "engine": conversion.engine,
        "shape": conversion.shape,
        "target": str(target),
    }
    process = subprocess.run(
        [sys.executable, "-m", "terraseam.models.engines.convert", json.dumps(order)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode or not target.is_file():
        error_lines = process.stderr.strip().splitlines() if process.returncode else []
        error_lines = error_lines or [
            f"the converter exited with status {process.returncode} without writing a network"
        ]
        raise cannot_convert(conversion, error_lines[-1].strip()[:LONGEST])


def _is_whole(cache_entry: Path) -> bool:
    """Return whether a folder holds an intact conversion of this network."""
    try:
        record = json.loads((cache_entry / CHECKSUMS).read_text())
        checksums: dict[str, str] = record["sha256"]
        return (
            record["of"] == cache_entry.name
            and bool(checksums)
            and all(network_sha256(cache_entry / name) == sha for name, sha in checksums.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock between processes and threads; it is released at the end of the block, or of the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _own_folder() -> Path:
    """Return a temporary folder that only this user may write to."""
    folder = Path(tempfile.gettempdir()) / f"terraseam-converted-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat(follow_symlinks=False)
    if status.st_uid != os.getuid() or status.st_mode & 0o022 or folder.is_symlink():
        raise EngineError(
            f"{folder} can be written to by other users; remove it, or pass a local folder with --work"
        )
    return folder
