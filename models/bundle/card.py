"""The card of a bundle: what a plan needs to know about a network without loading it.

A bundle is a folder with ``card.json`` and the network's file, ``model.keras`` or an imported one. This module
only uses the standard library, so that plans read cards quickly, without importing Keras or numpy.
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
from terraseam.models.bundle.values import ClassInfo, ConvertedNetwork, NetworkFile, Scaling
from terraseam.models.errors import CardError
from terraseam.models.names import nearest_name
from terraseam.models.reach.reach import Reach

CARD_FORMAT = 2
CARD_FILE = "card.json"
MOST_CARD = 16_000_000
"""Maximum size of a card, in bytes."""
MODEL_FILE = "model.keras"
SHIPPED = Path(__file__).parents[1] / "shipped"
GSD_TOLERANCE = 1.2

Gsd = float | tuple[float, float] | Literal["any"]


@dataclass(frozen=True)
class Card:
    """Model card: the description of a trained network.

    Attributes:
        format: Version of the card's own format.
        name: Name of the bundle.
        version: Version of the bundle.
        architecture: Kind of network, such as ``unet``.
        encoder: Name of its encoder, None if it has none.
        task: ``semantic`` labels every pixel, ``instances`` finds individual objects.
        network: The network's file, and its input and output conventions.
        classes: The classes in the order of their labels, at most 254.
        bands: Names of its input bands, in order.
        gsd: Ground sample distance it was trained at, in metres: a number, a range ``(min, max)`` or ``any``.
        scaling: Scaling from raw values to its input.
        fill: Value per band that replaces invalid pixels, in raw raster units.
        stride: Chips must be multiples of this many pixels, and cores must start on them.
        reach: Its receptive field beyond a core, None if it covers the whole chip.
        reach_source: Source of the reach: the ``graph`` of the network, or it was ``measured`` or
            ``declared``.
        halo: Context it needs around a core, in pixels, if it has no finite reach; None if
            unknown.
        memory_per_pixel: Peak of live activations, in bytes per pixel of the chip.
        weights_sha256: SHA-256 of the network's file.
        training: How it was trained: data, steps, seed.
        metrics: Measured accuracy.
        license: Licence of the weights, and of the data they were trained on.
        memory_per_pixel_squared: Memory that grows faster than pixels, as in attention, in bytes per pixel squared;
            left out of ``card.json`` if it is 0.
        openvino: The network converted for OpenVINO; None, and left out of ``card.json``, if the bundle does not hold it.

    Raises:
        CardError: If a value is invalid; the message names bundle and field.
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
    openvino: ConvertedNetwork | None = None

    def __post_init__(self) -> None:
        check_card({**OPTIONAL, **self.to_json()}, str(self.name), FIELDS)

    @classmethod
    def read(cls, bundle: str | os.PathLike[str], *, alone: bool = False) -> Card:
        """Read and check the card of a bundle.

        Args:
            bundle: Folder with ``card.json`` and ``model.keras``.
            alone: Whether the network's file may be missing.

        Raises:
            CardError: If the folder, a file or a field is missing or invalid; the message says which, and what to do.
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
        """Build a card from the contents of ``card.json``."""
        gsd = values["gsd"]
        reach = values["reach"]
        converted = values.get("openvino")
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
                "openvino": None if converted is None else ConvertedNetwork(**converted),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``card.json``."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return {
            name: value for name, value in values.items() if name not in OPTIONAL or value != OPTIONAL[name]
        }

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``card.json`` into a folder atomically."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        write_whole(target / CARD_FILE, text.encode())

    def score_fields(self) -> dict[str, Any]:
        """Return the fields that affect scores, for content keys; without names, colours and metrics."""
        values = self.to_json()
        fields = {name: values[name] for name in SCORE_FIELDS}
        return {**fields, "bands": len(self.bands), "classes": len(self.classes)}

    def source_sha256(self) -> str:
        """Return a SHA-256 of the network and of what this card says of it, all of which is checked with its graph."""
        values = self.to_json()
        facts = {name: values[name] for name in SOURCE_FIELDS}
        facts |= {"bands": len(self.bands), "classes": len(self.classes)}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def call_memory(self, pixels: int) -> float:
        """Return the memory of a call on one chip of `pixels` pixels, in bytes."""
        return self.memory_per_pixel * pixels + self.memory_per_pixel_squared * pixels**2

    @property
    def background(self) -> int | None:
        """Label of the background class, None if there is none."""
        return next((label for label, info in enumerate(self.classes) if info.background), None)

    def gsd_matches(self, gsd: float) -> bool:
        """Return whether a GSD, in metres per pixel, is within `GSD_TOLERANCE` of the training GSD."""
        if self.gsd == "any":
            return True
        low, high = self.gsd if isinstance(self.gsd, tuple) else (self.gsd, self.gsd)
        return float(low) / GSD_TOLERANCE <= gsd <= float(high) * GSD_TOLERANCE


FIELDS = tuple(field.name for field in fields(Card))
OPTIONAL: dict[str, Any] = {
    field.name: field.default for field in fields(Card) if field.default is not MISSING
}
"""Fields left out of ``card.json`` when they have these values."""
SCORE_FIELDS = ("task", "network", "scaling", "fill", "stride", "weights_sha256")
SOURCE_FIELDS = ("task", "network", "stride", "reach", "reach_source", "weights_sha256")
ADDED: dict[str, Any] = {"network": asdict(NetworkFile()), "reach_source": "graph", "halo": None}
"""Values of the fields that format 1 lacks."""


def find_bundle(name_or_path: str) -> Path:
    """Find a bundle by the path of its folder, or by the name of one that ships with Terraseam.

    Raises:
        CardError: If it is neither; the message lists the shipped bundles.
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
    """Return the name by which `find_bundle` finds a shipped bundle, or the path of any other."""
    return bundle.name if bundle.parent == SHIPPED else str(bundle)


def check_weights(bundle: str | os.PathLike[str], card: Card) -> None:
    """Check that the network's file is the one described by the card.

    Raises:
        CardError: If it is not.
    """
    if network_sha256(Path(bundle) / card.network.name) != card.weights_sha256:
        raise CardError(
            f"{card.network.name} of bundle {Path(bundle)} does not match its card: weights_sha256 differs; "
            "copy both files again"
        )


def check_converted(bundle: str | os.PathLike[str], card: Card) -> None:
    """Check that the files converted for OpenVINO are those described by the card, if it describes any.

    Raises:
        CardError: If they are not, or were converted from another network or another description of it.
    """
    if card.openvino is not None and card.openvino.source_sha256 != card.source_sha256():
        raise CardError(
            f"the card of bundle {Path(bundle)} was changed after its network was converted for OpenVINO; run `terraseam "
            "models convert` on the bundle, or pass --engine tensorflow"
        )
    for name, checksum in (card.openvino.checksums() if card.openvino else {}).items():
        path = Path(bundle) / name
        if not path.is_file():
            raise CardError(
                f"bundle {Path(bundle)} has no {name}, which its card lists; copy it beside the card, or pass "
                "--engine tensorflow"
            )
        if network_sha256(path) != checksum:
            raise CardError(
                f"{name} of bundle {Path(bundle)} does not match its card: its SHA-256 differs; copy the bundle "
                "again, or pass --engine tensorflow"
            )


def network_sha256(path: Path) -> str:
    """Return the SHA-256 of a network's file; for a folder, that of the names and contents of all its files."""
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
    """Write a file atomically."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when complete, and not at all after an error."""
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
    """Check that the network's file exists and is a regular file, without reading it: a FIFO would block forever."""
    network = folder / name
    if not network.exists():
        raise CardError(f"bundle {folder} has no {name}; copy the network's file beside its card")
    inner = [network, *network.rglob("*")] if network.is_dir() else [network]
    odd = [entry for entry in inner if entry.exists() and not entry.is_file() and not entry.is_dir()]
    if odd or network.is_dir() != (name == "saved_model"):
        kind = "folder" if name == "saved_model" and not odd else "file"
        raise CardError(
            f"{(odd or [network])[0]} of bundle {folder} is not a regular {kind}; copy the network itself there"
        )


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        CardError: If it is a device, a FIFO or a socket, or larger than that.
    """
    if not path.is_file():
        raise CardError(f"{path} is not a regular file; put the file itself there")
    size = path.stat().st_size
    if size > most:
        raise CardError(f"{path} has {size:,} bytes, more than the limit of {most:,}; recreate it")
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
            f"{CARD_FILE} of bundle {folder} nests lists or objects too deeply; recreate the bundle"
        ) from None
    except ValueError as error:
        raise CardError(
            f"{CARD_FILE} of bundle {folder} is not JSON ({error}); recreate the bundle"
        ) from error
    if not isinstance(values, dict):
        raise CardError(f"{CARD_FILE} of bundle {folder} is not a JSON object; recreate the bundle")
    if values.get("format") == 1 and type(values["format"]) is int:
        values = {**ADDED, **values, "format": CARD_FORMAT}
    return {**OPTIONAL, **values}


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as in JSON."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
