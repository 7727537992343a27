"""Bundles of networks that are files already: written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from terraseam.models.bundle.card import CARD_FILE, CARD_FORMAT, Card, network_sha256
from terraseam.models.errors import CardError


def check_target(folder: Path, force: bool) -> None:
    """Check that a bundle may be written into a folder.

    Raises:
        CardError: If something is there already, and may not be written over.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise CardError(f"{folder} is a file; name a folder that does not exist yet")
    if (folder / CARD_FILE).is_file() and not force:
        raise CardError(
            f"{folder} holds a bundle already; pass --force to write over it, or name another folder"
        )
    if not (folder / CARD_FILE).is_file() and any(folder.iterdir()):
        raise CardError(
            f"{folder} holds files that are no bundle; name a folder that is empty or does not exist yet"
        )


def write_bundle(
    folder: Path, card_fields: Mapping[str, Any], save: Callable[[Path], None], *, force: bool = False
) -> Card:
    """Write a bundle: a network's file and the card beside it, whole or not at all.

    Args:
        folder: The bundle's folder.
        card_fields: The fields of the card but for ``format`` and ``weights_sha256``.
        save: Writes the network into a folder, under the name that ``network`` says.
        force: Write over a bundle that is there.

    Returns:
        The card as written.

    Raises:
        CardError: If a field is wrong, or the folder holds something already.
    """

    def fill(staging: Path) -> Card:
        save(staging)
        network = staging / card_fields["network"].name
        card = Card(format=CARD_FORMAT, weights_sha256=network_sha256(network), **card_fields)
        card.write(staging)
        return card

    return replace_folder(folder, fill, force=force)


def replace_folder(folder: Path, fill: Callable[[Path], Card], *, force: bool) -> Card:
    """Fill a folder beside a bundle's, and put it in its place when it is whole.

    Args:
        folder: The bundle's folder.
        fill: Writes the bundle into an empty folder.
        force: Write over a bundle that is there.

    Raises:
        CardError: If the folder holds something already.
    """
    check_target(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as made:
        staging = Path(made) / folder.name
        staging.mkdir()
        card = fill(staging)
        if folder.exists():
            folder.replace(Path(made) / "before")
        staging.replace(folder)
    return card
