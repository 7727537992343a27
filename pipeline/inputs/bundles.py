"""Locate bundles: local folders, built-in ones, and remote ones, which are cached by content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from terraseam.models.bundle.card import (
    CARD_FILE,
    Card,
    bundle_name,
    check_converted,
    check_weights,
    find_bundle,
)
from terraseam.models.errors import CardError
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import is_web
from terraseam.pipeline.storage.servers import missing_extra
from terraseam.pipeline.storage.web import fetch
from terraseam.tiles.raster.inspect import is_local

CACHE = "TERRASEAM_CACHE"
"""Environment variable that names the cache folder."""


def bundle_folder(bundle: str, card: Card | None = None) -> Path:
    """Return the local folder of a bundle; download a remote one unless it is cached.

    Args:
        bundle: A path, the name of a built-in bundle, or an address.
        card: Its card, if known, as in workers; then a cached bundle is used without contacting the server.

    Raises:
        CardError: If it cannot be found or downloaded, or no longer matches the card.
    """
    if is_local(bundle):
        return find_bundle(bundle)
    if card is not None and (known := cached(card)).is_dir():
        return known
    problem = missing_extra(bundle)
    if problem:
        raise CardError(problem)
    try:
        return _fetch(bundle.rstrip("/"), card)
    except FileNotFoundError as error:
        raise CardError(
            f"no bundle at {bundle}: {error}; give the address of a folder with {CARD_FILE}"
        ) from error
    except OSError as error:
        raise CardError(f"the bundle cannot be fetched: {error}") from error


def known_as(bundle: str, folder: Path) -> str:
    """Return a name by which remote workers find a bundle: its address or built-in name; else its local path."""
    return bundle_name(folder) if is_local(bundle) else bundle


def cache_folder() -> Path:
    """Return the folder for cached downloads."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terraseam"


def cached(card: Card) -> Path:
    """Return the cache folder for the bundle of a card, which holds the checksum of the network."""
    content = json.dumps(card.to_json(), sort_keys=True).encode()
    return cache_folder() / "bundles" / hashlib.sha256(content).hexdigest()[:32]


def _fetch(bundle: str, expected: Card | None) -> Path:
    parent = cache_folder() / "bundles"
    parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=parent, prefix=".fetched-"))
    try:
        _copy(f"{bundle}/{CARD_FILE}", draft / CARD_FILE)
        card = Card.read(draft, alone=True)
        if expected is not None and card != expected:
            raise CardError(f"{bundle} has been replaced since the run began; run the same command again")
        target = cached(card)
        if not target.is_dir():
            _copy_network(bundle, card.network.name, draft)
            for name in card.openvino.checksums() if card.openvino else ():
                _copy(f"{bundle}/{name}", draft / name)
            check_weights(draft, card)
            check_converted(draft, card)
            draft.chmod(0o755)
            _let_appear(draft, target)
        return target
    except CardError as error:
        raise CardError(str(error).replace(str(draft), bundle)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy_network(bundle: str, name: str, target: Path) -> None:
    """Copy the file or folder of a network."""
    below = [] if is_web(bundle) else [file.path for file in files.listing(f"{bundle}/{name}")]
    if not below:
        _copy(f"{bundle}/{name}", target / name)
    for path in below:
        copy = target / path.removeprefix(f"{bundle}/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy(path, copy)


def _copy(url: str, target: Path) -> None:
    with target.open("wb") as file:
        if is_web(url):
            fetch(url, file)
            return
        with files.open_bytes(url) as source:
            shutil.copyfileobj(source, file)


def _let_appear(draft: Path, target: Path) -> None:
    """Move a folder into place, unless another process has already put the same content there."""
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
