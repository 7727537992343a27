"""The card of a bundle: what a plan must know of a network without loading it.

A bundle is a folder with ``card.json`` and the network's file, ``model.keras`` or what was imported. Only the
standard library is used here, so that a plan reads cards at once and imports neither Keras nor numpy.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

from terraseam.models.bundle.checks import check_card
from terraseam.models.bundle.values import ClassInfo, NetworkFile, Scaling
from terraseam.models.errors import CardError
from terraseam.models.names import nearest_name
from terraseam.models.reach.reach import Reach

CARD_FORMAT = 2
CARD_FILE = "card.json"
MOST_CARD = 16_000_000
"""Bytes that a card has at most."""
MODEL_FILE = "model.keras"
SHIPPED = Path(__file__).parents[1] / "shipped"
GSD_TOLERANCE = 1.2

Gsd = float | tuple[float, float] | Literal["any"]


@dataclass(frozen=True)
class Card:
    """Description of a trained network.

    Attributes:
        format: Version of the card's own format.
        name: Name of the bundle.
        version: Version of the bundle.
        architecture: Kind of network, such as ``unet``.
        encoder: Name of its encoder, None where it has none.
        task: What it does; ``semantic`` gives every pixel one label, ``instances`` finds single things.
        network: The network's file, and how it is spoken to.
        classes: The classes in the order of their labels, 254 at most.
        bands: Names of the bands it wants, in its order.
        gsd: Ground sample distance it was trained at, in metres: a number, a range ``(min, max)`` or ``any``.
        scaling: How raw values become its input.
        fill: Value per band that stands in for invalid pixels, in raw raster units.
        stride: Chips must be multiples of this many pixels, cores must start on them.
        reach: How far it looks, None where it sees the whole chip.
        reach_source: Where the reach is known from: the ``graph`` of the network, or it was ``measured`` or
            ``declared``.
        halo: Context that it wants around a core, in pixels, where it has no finite reach; None where nothing
            is known of that.
        memory_per_pixel: Peak of live activations, in bytes per pixel of the chip.
        weights_sha256: SHA-256 of the network's file.
        training: How it was trained: data, steps, seed.
        metrics: What it was measured to reach.
        license: Licence of the weights, and of the data they come from.
        memory_per_pixel_squared: What grows faster than pixels, as attention does, in bytes per pixel squared; the
            card has it only where it is not 0.

    Raises:
        CardError: If a value does not fit its field; the message names bundle and field.
    """

    format: int
    name: str
    version: str
    architecture: str
    encoder: str | None
    task: str
    network: NetworkFile
    classes: tuple[ClassInfo, ...]
    bands: tuple[str, ...]
    gsd: Gsd
    scaling: Scaling
    fill: tuple[float, ...]
    stride: int
    reach: Reach | None
    reach_source: str
    halo: int | None
    memory_per_pixel: int
    weights_sha256: str
    training: dict[str, Any]
    metrics: dict[str, Any]
    license: str
    memory_per_pixel_squared: float = 0

    def __post_init__(self) -> None:
        check_card({**OPTIONAL, **self.to_json()}, str(self.name), FIELDS)

    @classmethod
    def read(cls, bundle: str | os.PathLike[str], *, alone: bool = False) -> Card:
        """Read and check the card of a bundle.

        Args:
            bundle: Folder with ``card.json`` and ``model.keras``.
            alone: Whether the network's file may be missing.

        Raises:
            CardError: If the folder, a file or a field is missing or wrong; it says which, and what to do.
        """
        folder = Path(bundle)
        values = _read_values(folder)
        check_card(values, str(folder), FIELDS)
        card = cls.from_json(values)
        if not alone:
            _check_network(folder, card.network.name)
        return card

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Card:
        """Make a card from what ``card.json`` holds."""
        gsd = values["gsd"]
        reach = values["reach"]
        return cls(
            **{
                **values,
                "classes": tuple(ClassInfo(**info) for info in values["classes"]),
                "bands": tuple(values["bands"]),
                "gsd": tuple(gsd) if isinstance(gsd, list) else gsd,
                "network": NetworkFile(**values["network"]),
                "scaling": Scaling(**{name: tuple(numbers) for name, numbers in values["scaling"].items()}),
                "fill": tuple(values["fill"]),
                "reach": None if reach is None else Reach(**reach),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the card as ``card.json`` holds it."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return {
            name: value for name, value in values.items() if name not in OPTIONAL or value != OPTIONAL[name]
        }

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``card.json`` into a folder, whole or not at all."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        write_whole(target / CARD_FILE, text.encode())

    def score_fields(self) -> dict[str, Any]:
        """Return the fields that change scores, for content keys; no names, colours or metrics."""
        values = self.to_json()
        kept = {name: values[name] for name in SCORE_FIELDS}
        return {**kept, "bands": len(self.bands), "classes": len(self.classes)}

    def call_memory(self, pixels: int) -> float:
        """Return the memory of a call on one chip of so many pixels, in bytes."""
        return self.memory_per_pixel * pixels + self.memory_per_pixel_squared * pixels**2

    @property
    def background(self) -> int | None:
        """Label of the background class, None where no class is."""
        return next((label for label, info in enumerate(self.classes) if info.background), None)

    def gsd_matches(self, gsd: float) -> bool:
        """Whether a raster's GSD, in metres per pixel, lies within a fifth of the one trained at."""
        if self.gsd == "any":
            return True
        low, high = self.gsd if isinstance(self.gsd, tuple) else (self.gsd, self.gsd)
        return float(low) / GSD_TOLERANCE <= gsd <= float(high) * GSD_TOLERANCE


FIELDS = tuple(field.name for field in fields(Card))
OPTIONAL: dict[str, Any] = {
    field.name: field.default for field in fields(Card) if field.default is not MISSING
}
"""What is left out of a card where it has this value."""
SCORE_FIELDS = ("task", "network", "scaling", "fill", "stride", "weights_sha256")
ADDED: dict[str, Any] = {"network": asdict(NetworkFile()), "reach_source": "graph", "halo": None}
"""What the fields that format 1 did not have were in it."""


def find_bundle(name_or_path: str) -> Path:
    """Find a bundle by the path of its folder, or by the name of one that ships with Terraseam.

    Raises:
        CardError: If it is neither; the message lists the names that ship.
    """
    path = Path(name_or_path)
    shipped = SHIPPED / name_or_path
    if (path / CARD_FILE).is_file():
        return path
    if path.name == name_or_path and (shipped / CARD_FILE).is_file():
        return shipped
    if path.is_dir():
        return path
    names = shipped_bundles()
    near = nearest_name(name_or_path, names)
    hint = f"did you mean {near}? " if near else ""
    known = ", ".join(names) or "none"
    raise CardError(
        f"no bundle {name_or_path!r}: it is neither a folder nor the name of a shipped bundle; {hint}"
        f"pass the path of a folder with {CARD_FILE}, or one of the shipped bundles: {known}"
    )


def bundle_name(bundle: Path) -> str:
    """What `find_bundle` finds a bundle by wherever Terraseam is installed, if it ships with it; else its path."""
    return bundle.name if bundle.parent == SHIPPED else str(bundle)


def check_weights(bundle: str | os.PathLike[str], card: Card) -> None:
    """Check that the network's file is the one that the card describes.

    Raises:
        CardError: If it is another.
    """
    if network_sha256(Path(bundle) / card.network.name) != card.weights_sha256:
        raise CardError(
            f"{card.network.name} of bundle {Path(bundle)} is not the file of its card: weights_sha256 differs; "
            "copy both files again"
        )


def network_sha256(path: Path) -> str:
    """SHA-256 of a network's file; of a folder, that of the names and contents of all files in it."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(inner for inner in path.rglob("*") if inner.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{network_sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def shipped_bundles() -> list[str]:
    """Return the names of the bundles that ship with Terraseam, sorted."""
    return sorted(card.parent.name for card in SHIPPED.glob(f"*/{CARD_FILE}"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write, which appears under its name when it is whole, and not at all after an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _check_network(folder: Path, name: str) -> None:
    """Check that the network's file is there, and is a file: nothing is read, as a FIFO would wait for ever."""
    network = folder / name
    if not network.exists():
        raise CardError(f"bundle {folder} has no {name}; copy the network's file beside its card")
    inner = [network, *network.rglob("*")] if network.is_dir() else [network]
    odd = [one for one in inner if one.exists() and not one.is_file() and not one.is_dir()]
    if odd or network.is_dir() != (name == "saved_model"):
        wanted = "folder" if name == "saved_model" and not odd else "file"
        raise CardError(
            f"{(odd or [network])[0]} of bundle {folder} is not a regular {wanted}; copy the network itself there"
        )


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of so many bytes at most.

    Raises:
        CardError: If it is a device, a FIFO or a socket, or larger.
    """
    if not path.is_file():
        raise CardError(f"{path} is not a regular file; put the file itself there")
    size = path.stat().st_size
    if size > most:
        raise CardError(f"{path} has {size:,} bytes, more than the {most:,} that are read; make it again")
    return path.read_bytes()


def _read_values(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CardError(f"bundle {folder} does not exist; pass a folder with {CARD_FILE} and {MODEL_FILE}")
    path = folder / CARD_FILE
    if not path.is_file():
        raise CardError(
            f"bundle {folder} has no {CARD_FILE}; make one with `terraseam models new` or `terraseam models import`"
        )
    try:
        values = json.loads(read_regular(path, MOST_CARD).decode())
    except RecursionError:
        raise CardError(
            f"{CARD_FILE} of bundle {folder} has lists or objects inside each other without end; make the bundle again"
        ) from None
    except ValueError as error:
        raise CardError(
            f"{CARD_FILE} of bundle {folder} is not JSON ({error}); make the bundle again"
        ) from error
    if not isinstance(values, dict):
        raise CardError(f"{CARD_FILE} of bundle {folder} is not a JSON object; make the bundle again")
    if values.get("format") == 1 and type(values["format"]) is int:
        values = {**ADDED, **values, "format": CARD_FORMAT}
    return {**OPTIONAL, **values}


def _plain(value: Any) -> Any:
    """Turn tuples into the lists that JSON gives back."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
