"""Find the files that virtual rasters, indexes and metadata reference, before GDAL opens any of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from xml.parsers import expat

from terraseam.tiles.access.crs_grids import GridAddressError, check_grids
from terraseam.tiles.access.tiff import Bytes, NotTiffError, read_tags

HEAD_BYTES = 4096
"""Bytes read to recognize the kind of a file; GDAL looks at its first 1024 bytes."""
MOST_BYTES = 1 << 27
"""The largest text that is read, in bytes."""
MOST_DEPTH = 64
"""Maximum nesting depth of elements."""


class TextError(ValueError):
    """Raised when a text cannot be read safely; the message continues after the name of its file."""


class FileKind(Enum):
    """The kind of a file, recognized by its first bytes."""

    VRT = "a virtual raster"
    INDEX = "an index of tiles"
    VECTORS = "a virtual vector file"
    BESIDE = "metadata of a raster beside it"
    SERVICE = "the description of a service"
    METADATA = "an XML file"
    OTHER = "pixels, or something else that names no file"


@dataclass(frozen=True, slots=True)
class Reference:
    """A file or service that another file references.

    Attributes:
        name: The name as it stands there.
        relative: Whether it is relative to the folder of the referencing file.
        opened: Whether it is a raster that is opened; otherwise a text that contains an address.
    """

    name: str
    relative: bool = False
    opened: bool = True


_ROOTS = {
    b"<VRTDataset": FileKind.VRT,
    b"<GDALTileIndexDataset": FileKind.INDEX,
    b"<OGRVRTDataSource": FileKind.VECTORS,
    b"<PAMDataset": FileKind.BESIDE,
}
_SERVICES = re.compile(
    rb"<(GDAL_WMS|GDAL_WMTS|WMS_Tile_Service|WMT_MS_Capabilities|WMS_Capabilities|WMTS_Capabilities|TileMap|TileMapService"
    rb"|WCS_GDAL|MRF_META|OGRWFSDataSource|(\w+:)?(WCS_|WFS_)?Capabilities)\b",
    re.IGNORECASE,
)
_JSON = re.compile(rb"^(\xef\xbb\xbf)?\s*[{\[]")
"""No raster is JSON: such a file is a catalogue of other rasters, or a pipeline of commands."""
_LOOKS_LIKE_XML = re.compile(rb"^(\xef\xbb\xbf)?\s*<[?!\w]")


def kind_of(head: bytes) -> FileKind:
    """Return the kind of a file from its first bytes, looking wherever in them GDAL would find its signature."""
    for mark, kind in _ROOTS.items():
        if mark.lower() in head.lower():
            return kind
    if _LOOKS_LIKE_XML.match(head) or (b"<" in head[:64] and b"\0" not in head):
        return FileKind.SERVICE if _SERVICES.search(head) else FileKind.METADATA
    return FileKind.SERVICE if b"\0" not in head and _JSON.match(head) else FileKind.OTHER


NAMES = frozenset({"sourcefilename", "sourcedataset", "dataset", "dempath", "srcdatasource"})
"""Lower-case names of elements whose text is a file name; GDAL also accepts attributes of these names."""
_FILE_ITEMS = frozenset({"overview_file", "x_dataset", "y_dataset"})
"""Metadata items whose text is a file name."""
_WORDS = frozenset({"srs", "layersrs", "description", "category", "unittype", "gcplist", "wkt", "expression"})
"""Elements whose text is never opened."""
_CRS = frozenset({"srs", "layersrs", "projection"})
"""Elements and attributes whose text is a CRS."""
_DOMAINS = frozenset({"overviews", "geolocation", "rpc", "derived_subdatasets", "subdatasets"})
"""Metadata domains in which GDAL reads file names; others hold free text."""
_ADDRESS = re.compile(r"/vsi|://", re.IGNORECASE)


@dataclass
class _Element:
    tag: str
    attributes: Mapping[str, str]
    texts: list[str] = field(default_factory=list)


class _Reader:
    """Collector of the references in an XML text; it rejects documents that declare entities."""

    def __init__(self) -> None:
        self.found: dict[Reference, None] = {}
        self.root = ""
        self._open: list[_Element] = []
        # GDAL assumes this encoding, whatever the text declares.
        self._parser = expat.ParserCreate("UTF-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, text: bytes) -> None:
        if len(text) > MOST_BYTES:
            raise TextError(f"is a text of more than {MOST_BYTES >> 20} MiB")
        try:
            self._parser.Parse(text.rstrip(b"\0 \r\n\t"), True)
        except expat.ExpatError as error:
            raise TextError(f"is not well-formed XML ({error})") from error

    def _doctype(self, *_: Any) -> None:
        raise TextError("has a document type declaration, which is not read")

    def _start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._open) >= MOST_DEPTH:
            raise TextError(f"has more than {MOST_DEPTH} nested elements")
        self.root = self.root or tag.lower()
        low = {name.lower(): value for name, value in attributes.items()}
        self._open.append(_Element(tag.lower(), low))
        for name, value in low.items():
            if not name.startswith(("xml", "xsi:")):
                self._add(name, value, low)

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].texts.append(text)

    def _end(self, _: str) -> None:
        element = self._open.pop()
        text = "".join(element.texts).strip()
        if text:
            self._add(element.tag, text, element.attributes)

    def _add(self, tag: str, text: str, attributes: Mapping[str, str]) -> None:
        if tag == "pixelfunctionlanguage" and text.strip().lower() == "python":
            raise TextError("holds a pixel function in Python, and no code from a file is run")
        if tag == "sql":
            raise TextError("holds SQL, which is not run")
        if tag in _CRS:
            try:
                check_grids(text)
            except GridAddressError as error:
                raise TextError(f"has {error}") from error
        key = attributes.get("key", attributes.get("name", "")).lower()
        if tag in NAMES or (tag == "argument" and "filename" in key) or key in _FILE_ITEMS:
            relative = attributes.get("relativetovrt", "0").strip() not in ("", "0")
            self.found[Reference(text, relative)] = None
        elif _ADDRESS.search(text) and not self._is_word(tag):
            self.found[Reference(text, opened=False)] = None

    def _is_word(self, tag: str) -> bool:
        """Check whether the text of an element is meant for people rather than for GDAL."""
        tags = [*(element.tag for element in self._open), tag]
        if not _WORDS.isdisjoint(tags):
            return True
        domains = [element.attributes.get("domain", "").lower() for element in self._open]
        inside = "metadata" in tags or tag in ("mdi", "item")
        return inside and _DOMAINS.isdisjoint(domains)


def references_in(text: bytes) -> tuple[Reference, ...]:
    """Return the references in an XML text: sources, overviews, masks, indexes, and texts that contain an address.

    Raises:
        TextError: If it cannot be read safely.
    """
    reader = _Reader()
    reader.read(text)
    return tuple(reader.found)


def value_of(text: bytes, tag: str) -> str | None:
    """Return the text of the first element with a name, ignoring case; None if there is none.

    The text must have been read by `references_in` before.
    """
    match = re.search(rf"<{tag}\b[^>]*>([^<]*)<".encode(), text, re.IGNORECASE)
    return match[1].decode().strip() if match else None


_METADATA_TAG = 42112


def tiff_metadata(file: Bytes) -> Iterator[bytes]:
    """Yield GDAL's XML metadata of each readable directory of a TIFF; nothing for other files."""
    try:
        for tags in read_tags(file):
            metadata = tags.get(_METADATA_TAG)
            if metadata is not None and metadata.count <= MOST_BYTES:
                yield metadata.data(file).rstrip(b"\0")
    except NotTiffError:
        return
