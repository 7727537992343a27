"""Write bundles atomically."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from terraseam.models.bundle.card import CARD_FILE, CARD_FORMAT, Card, network_sha256
from terraseam.models.errors import CardError


def check_target(folder: Path, force: bool) -> None:
    """Check that a bundle may be written to a folder.

    Raises:
        CardError: If the folder holds something that may not be overwritten.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CardError(f"{folder} is a file; name a folder that does not exist yet")
    if (folder / CARD_FILE).is_file() and not force:
        raise CardError(
            f"{folder} already holds a bundle; pass --force to replace it, or name another folder"
        )
    if not (folder / CARD_FILE).is_file() and any(folder.iterdir()):
        raise CardError(
            f"{folder} holds files that are not a bundle; name a folder that is empty or does not exist yet"
        )


def fill_bundle(folder: Path, card_fields: Mapping[str, Any], save: Callable[[Path], None]) -> Card:
    """Write a network's file and its card into an empty folder, and return the card.

    Args:
        folder: The folder.
        card_fields: The fields of the card except ``format`` and ``weights_sha256``.
        save: Writes the network into a folder, under the name given in ``network``.

    Raises:
        CardError: If a field is invalid.
    """
    save(folder)
    checksum = network_sha256(folder / card_fields["network"].name)
    card = Card(format=CARD_FORMAT, weights_sha256=checksum, **card_fields)
    card.write(folder)
    return card


def replace_folder(folder: Path, fill: Callable[[Path], Card], *, force: bool) -> Card:
    """Write a bundle into a temporary folder, and move it into place when complete.

    Args:
        folder: The bundle's folder.
        fill: Writes the bundle into an empty folder.
        force: Whether to overwrite an existing bundle.

    Raises:
        CardError: If the folder already holds something.
    """
    check_target(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        staging = Path(scratch) / folder.name
        staging.mkdir()
        card = fill(staging)
        if folder.exists():
            folder.replace(Path(scratch) / "before")
        staging.replace(folder)
    return card
