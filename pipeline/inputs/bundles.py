"""Bundles wherever they are: in a folder, shipped, or on a server; those are fetched once, and known by their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from terraseam.models.bundle.card import CARD_FILE, Card, bundle_name, check_weights, find_bundle
from terraseam.models.errors import CardError
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import is_web
from terraseam.pipeline.storage.servers import missing_extra
from terraseam.pipeline.storage.web import fetch
from terraseam.tiles.raster.inspect import is_local

CACHE = "TERRASEAM_CACHE"
"""The variable that names the folder of what was fetched."""


def bundle_folder(bundle: str, card: Card | None = None) -> Path:
    """The folder of a bundle on this machine; one of a server is fetched if it was not before.

    Args:
        bundle: A path, the name of a shipped bundle, or an address.
        card: Its card, where that is known: in workers, which then need not ask the server for what is here.

    Raises:
        CardError: If it cannot be found or fetched, or is not that of the card any more.
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
    """What workers on other machines find a bundle by, too: its address, or the name of a shipped one; else its path."""
    return bundle_name(folder) if is_local(bundle) else bundle


def cache_folder() -> Path:
    """Where what was fetched is kept."""
    named = os.environ.get(CACHE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terraseam"


def cached(card: Card) -> Path:
    """Where the bundle of a card is kept; the card says the checksum of its network."""
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
            raise CardError(
                f"{bundle} has become another bundle since the run began; run the same command again"
            )
        target = cached(card)
        if not target.is_dir():
            _copy_network(bundle, card.network.name, draft)
            check_weights(draft, card)
            draft.chmod(0o755)
            _let_appear(draft, target)
        return target
    except CardError as error:
        raise CardError(str(error).replace(str(draft), bundle)) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy_network(bundle: str, name: str, target: Path) -> None:
    """Copy a network's file, or the folder that it is."""
    below = [] if is_web(bundle) else [found.path for found in files.listing(f"{bundle}/{name}")]
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
    """Name a folder; another process may have been faster, with the same content."""
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
