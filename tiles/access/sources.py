"""Find the files that a raster is read from: its own, and those that virtual rasters reference, at any depth.

They are found by parsing the texts that reference them before GDAL opens any, so that no file makes this machine
contact a server that the user has not named. Local files may reference other local files, files on a server those on
the same server or in the same bucket; everything else needs the user's permission (`allow_sources`).
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import rasterio
from rasterio.io import DatasetReader

from terraseam.tiles.access.crs_grids import GridAddressError
from terraseam.tiles.access.gate import admit, refusal
from terraseam.tiles.access.gdal_library import may_ask_for_grids
from terraseam.tiles.access.places import (
    PORTS,
    addresses_in,
    is_allowed,
    is_of_this_machine,
    joined,
    place_of,
)
from terraseam.tiles.access.references import (
    HEAD_BYTES,
    MOST_BYTES,
    FileKind,
    Reference,
    TextError,
    kind_of,
    references_in,
    tiff_metadata,
    value_of,
)
from terraseam.tiles.access.special_files import special_reason
from terraseam.tiles.access.tiff import local_bytes
from terraseam.tiles.access.web import first_bytes

MOST_LEVELS = 32
"""Maximum depth of virtual rasters that reference virtual rasters."""
AT_ONCE = 16
"""Files on servers that are inspected at the same time."""
SIDECARS = (".msk", ".ovr", ".aux.xml", ".msk.ovr", ".ovr.msk")
"""Suffixes of files that GDAL reads beside a raster, appended to its full name."""
SIDECARS_OF_STEM = (
    ".aux",
    ".hdr",
    ".ige",
    ".rrd",
    ".tfw",
    ".tifw",
    ".wld",
    ".pgw",
    ".jgw",
    ".j2w",
    ".prj",
    ".tab",
)
"""Extensions that replace that of a source of a virtual raster; those of other rasters are reported by GDAL."""
SIDECARS_OF_VECTORS = (".dbf", ".shx", ".prj", ".cpg", ".qix", ".xsd", ".gfs", ".gml.gfs")
"""Extensions of files that GDAL reads beside a vector file, replacing its own."""
CONTAINERS = frozenset(
    """
    netcdf hdf4_sds hdf4_eos hdf5 bag gtiff_dir gtiff_raw gpkg nitf_im derived_subdataset sentinel2_l1b sentinel2_l1c
    sentinel2_l2a mbtiles
    """.split()  # noqa: SIM905 - a list to read
)
"""Lower-case prefixes of names that address one raster inside a file."""
INDEXES = (".gti.gpkg", ".gti.fgb", ".gti.parquet")
"""Lower-case extensions of vector files that GDAL opens as rasters, mosaics of the tiles that their features name."""
LOCATION = "location"
"""The default field of an index that names its tiles."""
PRODUCTS = re.compile(
    rb"<(\w+:)?(Dimap_Document|XFDU|level1Product|Level-\w+|Product_Observational|product)\b"
)
"""Products whose descriptions reference only files beside them."""
_PLAIN = re.compile(r"(https?|ftp)://", re.IGNORECASE)
_JSON_HEAD_BYTES = 1 << 16
_NAMED_FIRST = re.compile(r"""^([A-Za-z][\w+.-]+):(?!//)""")


class SourcesError(rasterio.errors.RasterioIOError):
    """Raised when a file references something that may not be opened; the message says what to do."""


_allowed: tuple[str, ...] = ()


def allow_sources(patterns: Iterable[str]) -> None:
    """Allow files to reference servers that match a pattern, from now on in this process; see `is_allowed`."""
    global _allowed  # noqa: PLW0603 - GDAL opens files for a process, whoever asks
    _allowed = tuple(patterns)


def allowed_sources() -> tuple[str, ...]:
    """Return the patterns of servers that files may reference."""
    return _allowed


def allowed_hosts() -> tuple[str, ...]:
    """Return the addresses of web servers that the user allows by host name, without wildcards."""
    split = (pattern.rpartition("://") for pattern in _allowed)
    hosts = (
        rest.partition("/")[0] for scheme, _, rest in split if fnmatch.filter(PORTS, scheme.lower() or "*")
    )
    return tuple(f"http://{host}" for host in hosts if not set(host) & set("*?["))


@dataclass(frozen=True, slots=True)
class Source:
    """A file to inspect for references.

    Attributes:
        name: The name that GDAL opens, or the text itself where one stands in place of a name.
        base: The file that its relative names refer to.
        level: Number of files in the chain of references that leads to it.
        beside: Whether it is a sidecar of a raster that GDAL opens rather than a raster.
        vectors: Whether it is a file of polygons.
        server: Whether it is the address of a server that GDAL contacts on its own, rather than a file to inspect.
    """

    name: str
    base: str
    level: int = 0
    beside: bool = False
    vectors: bool = False
    server: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """Files and servers that a raster or a vector file is read from.

    Attributes:
        files: Its files, itself first.
        servers: Addresses of servers that GDAL contacts on its own: services, and files named without ``/vsicurl/``.
    """

    files: tuple[str, ...]
    servers: tuple[str, ...] = ()


def sources_of(path: str, *, vectors: bool = False) -> tuple[str, ...]:
    """Return the files that a raster is read from, itself first, without its own sidecars; see `find_sources`."""
    return find_sources(path, vectors=vectors).files


def find_sources(path: str, *, vectors: bool = False) -> Sources:
    """Find the files and servers that a raster is read from, without its own sidecars.

    Args:
        path: Path or URL that GDAL opens.
        vectors: Whether it is a file of polygons.

    Raises:
        SourcesError: If one of its files references something that may not be opened.
    """
    files: dict[str, None] = {}
    addresses: dict[str, None] = {}
    wave = [Source(path, path, vectors=vectors)]
    while wave:
        named = dict.fromkeys(source for sources in _inspect_wave(wave) for source in sources)
        files.update(dict.fromkeys(source.name for source in wave if not _is_text(source.name)))
        addresses.update(
            dict.fromkeys(source.name for source in named if source.server or _PLAIN.match(source.name))
        )
        wave = [source for source in named if not source.server and source.name not in files]
        if wave and wave[0].level > MOST_LEVELS:
            raise SourcesError(f"{path} names files that name files, more than {MOST_LEVELS} levels deep")
    return Sources(tuple(files), tuple(addresses))


def _inspect_wave(wave: Sequence[Source]) -> Iterable[list[Source]]:
    if all(is_of_this_machine(source.name) for source in wave):
        return map(_sources_of, wave)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sources") as pool:
        return list(pool.map(_sources_of, wave))


def _sources_of(source: Source) -> list[Source]:
    """Return the files that a file references, and its sidecars."""
    name = source.name
    if _is_text(name):
        text = name.lstrip().encode()
        return _named(source, kind_of(text[:HEAD_BYTES]), text)
    if is_of_this_machine(name) and (special := special_reason(name)):
        raise SourcesError(special)
    container = _NAMED_FIRST.match(name)
    if container and not Path(name).exists():
        return _contained(source, container[1].lower())
    if name.lower().startswith("vrt://"):
        return [Source(name[6:].partition("?")[0], source.base, source.level + 1, vectors=source.vectors)]
    beside = [] if source.beside else _beside(source)
    if name.lower().endswith(INDEXES) and not (source.beside or source.vectors):
        _check_here(source)
        return beside + _indexed(source, name)
    head = _head(source)
    kind = kind_of(head)
    if source.vectors and kind in (FileKind.SERVICE, FileKind.OTHER) and not head.lstrip().startswith(b"<"):
        _check_json(source, head)
        return beside
    return beside + (_in_metadata(source, head) if kind is FileKind.OTHER else _named(source, kind, None))


def _head(source: Source) -> bytes:
    """Read the first bytes of a file; none if it cannot be read, which is reported when it is opened."""
    try:
        return start_of(source.name, HEAD_BYTES)
    except IsADirectoryError as error:
        if source.level:
            raise SourcesError(
                f"{source.name} is a folder, but virtual rasters can only read files"
            ) from error
    except (OSError, rasterio.errors.RasterioError) as error:
        if is_of_this_machine(source.name) and not source.name.startswith("/vsi"):
            return b""
        reason = refusal(source.name) or str(error).rstrip(".")
        raise SourcesError(f"{source.name} cannot be inspected ({reason})") from error
    return b""


def _named(source: Source, kind: FileKind, text: bytes | None) -> list[Source]:
    """Return the sources that a text references."""
    if kind is FileKind.SERVICE:
        return _servers(source, _check_service(source, text))
    text = _whole(source.name) if text is None else text
    if kind is FileKind.METADATA:
        return _of_metadata(source, text)
    if kind is FileKind.BESIDE:
        return [target for reference in _overviews(source, text) for target in _judged(source, reference)]
    try:
        references = references_in(text)
    except TextError as error:
        raise SourcesError(f"{_shown(source.name)} {error}") from error
    targets = [target for reference in references for target in _judged(source, reference)]
    return targets + (_of_index(source, text) if kind is FileKind.INDEX else [])


def _judged(source: Source, reference: Reference) -> Iterator[Source]:
    """Yield the file that another one references, if it may be opened."""
    name = reference.name
    if reference.opened and _is_text(name):
        yield Source(name, source.base, source.level + 1, vectors=source.vectors)
        return
    if reference.relative and not _NAMED_FIRST.match(name):
        name = joined(source.base, name)
    check_name(source.base, name)
    if reference.opened:
        yield Source(name, name, source.level + 1, vectors=source.vectors)
    else:
        yield from _servers(source, addresses_in(name))


def _servers(source: Source, addresses: Iterable[str]) -> list[Source]:
    """Return the servers that a file makes GDAL contact."""
    return [Source(address, source.base, server=True) for address in addresses]


def check_name(base: str, name: str) -> None:
    """Check that a file may reference another one.

    Args:
        base: The file.
        name: The other one, by its GDAL name.

    Raises:
        SourcesError: If it lies elsewhere than the first, and the user has not allowed it.
    """
    home = {place_of(address) for address in addresses_in(base)}
    addresses = addresses_in(name)
    if not addresses:
        if home:
            raise SourcesError(
                f"{_shown(base)} names {_shown(name)}, a file of this machine, but files on a server may only "
                "name files on that server"
            )
        if not is_of_this_machine(name):
            _refuse(base, name, name)
        return
    for address in addresses:
        if place_of(address) not in home and not is_allowed(address, _allowed):
            _refuse(base, name, f"{place_of(address)}/*")


def _refuse(base: str, name: str, pattern: str) -> None:
    raise SourcesError(
        f"{_shown(base)} names {_shown(name)}, which lies elsewhere; pass --allow-sources '{pattern}' if you trust it"
    )


def _check_service(source: Source, text: bytes | None) -> tuple[str, ...]:
    """Check that the user allows the servers in the description of a service, and return their addresses."""
    text = _whole(source.name) if text is None else text
    description = re.sub(r"""\sxmlns(:\w+)?=("[^"]*"|'[^']*')""", " ", text.decode("utf-8", "replace"))
    description = re.sub(
        r"""https?://(www\.)?(opengis\.net|w3\.org)/[^\s"'<>]*""", " ", description, flags=re.IGNORECASE
    )
    addresses = addresses_in(description)
    strange = [address for address in addresses if not is_allowed(address, _allowed)]
    if strange or not addresses:
        origin = f" of {place_of(strange[0])}" if strange else ""
        pattern = f"{place_of(strange[0])}/*" if strange else "HOST"
        raise SourcesError(
            f"{_shown(source.name)} describes a service{origin} instead of holding pixels; pass --allow-sources "
            f"'{pattern}' if you trust it"
        )
    return addresses


_FEATURES = re.compile(
    rb'"type"\s*:\s*"(Feature|FeatureCollection|Topology|(Multi)?(Point|LineString|Polygon)|GeometryCollection)"'
    rb'|"(features|geometryType)"\s*:'
)


def _check_json(source: Source, head: bytes) -> None:
    """Check that a JSON file holds features rather than references to some."""
    if b"\0" in head or not head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"{", b"[")):
        return
    start = start_of(source.name, _JSON_HEAD_BYTES)
    if b"gdal_streamed_alg" in start or not _FEATURES.search(start):
        raise SourcesError(f"{_shown(source.name)} is JSON without features, which may name other files")


def _of_metadata(source: Source, text: bytes) -> list[Source]:
    """Check other XML, and return its sources: none, as product descriptions only reference files beside them."""
    strange = (
        source.level and not source.beside and not source.vectors and not PRODUCTS.search(text[:HEAD_BYTES])
    )
    if strange or b"/vsi" in text.lower():
        raise SourcesError(
            f"{_shown(source.name)} is an XML file of an unsupported kind; convert it with gdal_translate"
        )
    return []


def _contained(source: Source, prefix: str) -> list[Source]:
    """Return the file in a name such as ``NETCDF:"file.nc":band``."""
    name = source.name
    if prefix not in CONTAINERS or addresses_in(name):
        addresses = addresses_in(name) or (name,)
        if not all(is_allowed(address, _allowed) for address in addresses):
            _refuse(source.base, name, f"{place_of(addresses[0])}/*" if addresses_in(name) else name)
        if prefix == "netcdf" and not re.match(r'\w+:"?/vsi', name, re.IGNORECASE):
            raise SourcesError(
                f"{name} is requested by the netCDF library itself, which follows all redirects; download it"
            )
        return _servers(source, addresses_in(name))
    quoted = re.search(r'"([^"]+)"', name)
    parts = [quoted[1]] if quoted else name.split(":")[1:]
    files = [part for part in parts if _is_there(part)]
    return [Source(file, file, source.level + 1, vectors=source.vectors) for file in files]


def _of_index(source: Source, text: bytes) -> list[Source]:
    """Return the rasters that the features of a tile index name."""
    index = value_of(text, "IndexDataset")
    if not index:
        return []
    _check_here(source)
    path = joined(source.base, index)
    check_name(source.base, path)
    if addresses_in(path):
        raise SourcesError(
            f"{_shown(source.name)} belongs to an index of tiles on a server, which is not read; download it"
        )
    rasters = _indexed(source, path, value_of(text, "LocationField"))
    return [Source(path, path, source.level + 1, beside=True), *rasters]


def _check_here(source: Source) -> None:
    """Check that a tile index is a local file."""
    if not is_of_this_machine(source.base) or not is_of_this_machine(source.name):
        raise SourcesError(
            f"{_shown(source.name)} is an index of tiles on a server, which is not read; download it, or use a virtual "
            "raster (gdalbuildvrt) instead"
        )


def _indexed(source: Source, path: str, field: str | None = None) -> list[Source]:
    """Return the rasters that a vector file names as a tile index, in any of its layers.

    Args:
        source: What GDAL opens: the file, or a text that references it.
        path: The file.
        field: The field that names tiles, if the text specifies one.

    Raises:
        SourcesError: If they cannot be read, or lie where they are not allowed.
    """
    import pyogrio

    if may_ask_for_grids():
        # GDAL hands PROJ the CRS of each tile without showing it to us.
        raise SourcesError(
            f"{path} is an index of tiles, which may name servers that PROJ would ask for grids, as its network access is "
            "on; set PROJ_NETWORK=OFF, or make a VRT of the tiles with gdalbuildvrt"
        )
    named = find_sources(path, vectors=True)
    if named.servers or named.files[1:]:
        raise SourcesError(
            f"{path} is an index of tiles that are in another file; write it as .gti.gpkg with ogr2ogr"
        )
    try:
        names = [name for layer in pyogrio.list_layers(path)[:, 0] for name in _names_in(path, layer, field)]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise SourcesError(f"{path} is not a readable index of tiles ({error})") from error
    if not names:
        raise SourcesError(
            f"{path} is an index that names no tiles in a field {field or LOCATION!r}; make it with gdaltindex, or name "
            "the field with LocationField"
        )
    # GDAL resolves names relative to the folder of what it opens, if they exist there.
    return [
        raster
        for name in dict.fromkeys(names)
        for raster in _judged(source, Reference(name, relative=_is_there(joined(source.base, name))))
    ]


def _names_in(path: str, layer: str, field: str | None) -> Iterator[str]:
    """Yield the names of tiles and overviews in a layer of an index, whose own metadata GDAL also reads."""
    import pyogrio
    from pyogrio import raw

    info = pyogrio.read_info(path, layer=layer)
    metadata = {key.upper(): value for key, value in (info["layer_metadata"] or {}).items()}
    yield from (
        value for key, value in metadata.items() if key.startswith("OVERVIEW_") and key.endswith("_DATASET")
    )
    location_field = field or metadata.get("LOCATION_FIELD") or LOCATION
    known = {name.lower(): name for name in info["fields"]}
    if location_field.lower() in known:
        columns = [known[location_field.lower()]]
        values = raw.read(path, layer=layer, columns=columns, read_geometry=False)[3][0]
        yield from (str(value) for value in values if value)


def _in_metadata(source: Source, head: bytes) -> list[Source]:
    """Return the sources that the metadata of a local TIFF references."""
    if head[:2] not in (b"II", b"MM") or not Path(source.name).is_file():
        return []
    with local_bytes(source.name) as file:
        texts = list(tiff_metadata(file))
    return [
        target
        for text in texts
        for reference in _overviews(source, text)
        for target in _judged(source, reference)
    ]


def _overviews(source: Source, text: bytes) -> tuple[Reference, ...]:
    """Return the references in the metadata of a raster.

    Raises:
        SourcesError: If it cannot be read and may hold a reference.
    """
    try:
        return references_in(text)
    except TextError as error:
        if isinstance(error.__cause__, GridAddressError):
            raise SourcesError(f"{_shown(source.name)} {error}") from error
        if b"overview" not in text.lower():
            return ()
        raise SourcesError(f"the metadata of a raster cannot be read: it {error}") from error


def _beside(source: Source) -> list[Source]:
    """Return the local sidecars that GDAL reads with a local file, as far as they must be inspected."""
    name = source.name
    if not is_of_this_machine(name) or name.startswith("/vsi"):
        return []
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - names may be inside archives
    # A pipe is never inspected, as opening it would block.
    pipes = [stem + suffix for suffix in (SIDECARS_OF_VECTORS if source.vectors else SIDECARS_OF_STEM)]
    names = [] if source.vectors else [name + suffix for suffix in SIDECARS]
    names += pipes if source.level and not source.vectors else filter(special_reason, pipes)
    return [
        Source(sidecar, sidecar, source.level, beside=True)
        for sidecar in names
        if sidecar != name and _is_there(sidecar)
    ]


def _is_there(name: str) -> bool:
    """Check whether a path other than a folder exists, even if it is longer than the filesystem allows."""
    try:
        return not stat.S_ISDIR(os.stat(name).st_mode)  # noqa: PTH116 - mosaics have thousands, of which each is asked for
    except (OSError, ValueError):
        return False


def _is_text(name: str) -> bool:
    """Check whether a name is in fact the text of a file."""
    return name.lstrip().startswith(("<", "{"))


def _shown(name: str) -> str:
    return "the text of a raster" if _is_text(name) else name


def _whole(name: str) -> bytes:
    text = start_of(name, MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise SourcesError(f"{name} is a text of more than {MOST_BYTES >> 20} MiB, which is not read")
    return text


def start_of(name: str, size: int) -> bytes:
    """Read the first bytes of a file, wherever it lies.

    Raises:
        OSError: If it cannot be read. rasterio.errors.RasterioError: If a file in a bucket or an archive cannot be
        read.
    """
    if is_of_this_machine(name) and not name.startswith("/vsi"):
        with Path(name).open("rb") as file:
            return file.read(size)
    url = name.removeprefix("/vsicurl/")
    return first_bytes(url, size) if url.lower().startswith(("http://", "https://")) else _raw(name, size)


def gdal_name(path: str) -> str:
    """Return GDAL's name for a path or address."""
    low = path.lower()
    if low.startswith(("http://", "https://", "ftp://")):
        return f"/vsicurl/{path}"
    for scheme, handler in (("s3://", "/vsis3/"), ("gs://", "/vsigs/"), ("az://", "/vsiaz/")):
        if low.startswith(scheme):
            return handler + path[len(scheme) :]
    return path


_LINE = 1 << 12


def _raw(name: str, size: int) -> bytes:
    """Read the first bytes of a file that only GDAL can reach, as samples of a raster of bytes."""
    lines = -(-size // _LINE)
    raw = (
        f'<VRTDataset rasterXSize="{_LINE}" rasterYSize="{lines}"><VRTRasterBand dataType="Byte" band="1" '
        f'subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">{escape(gdal_name(name))}</SourceFilename>'
        f"<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>{_LINE}</LineOffset></VRTRasterBand></VRTDataset>"
    )
    content = bytearray()
    admit([name])
    with warnings.catch_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(raw, driver="VRT", sharing=False) as dataset:
            for line in range(lines):
                part = _line(dataset, line)
                content += part
                if not part or not part.rstrip(b"\0"):
                    break
    return bytes(content[:size])


def _line(dataset: DatasetReader, line: int) -> bytes:
    try:
        samples: Any = dataset.read(1, window=((line, line + 1), (0, _LINE)))
    except rasterio.errors.RasterioError:
        if not line:
            raise
        return b""
    return bytes(samples.ravel())
