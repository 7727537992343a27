"""Access files in Google Cloud Storage, Amazon S3 and Beam's other filesystems.

Beam's S3 filesystem creates a client for every file, which takes 0.14 s of CPU, and an interrupted Beam writer may
leave a truncated object. So both stores are used through one client per thread: small objects are sent in one
request, large ones as multipart uploads that become visible with the last request; both carry a checksum that the
server verifies.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, BinaryIO, Protocol

from terraseam.pipeline.storage.errors import (
    ChangedError,
    UnconditionalError,
    is_absent,
    scheme_of,
    status_of,
)
from terraseam.pipeline.storage.listed import Listed
from terraseam.pipeline.storage.servers import filesystems

TIMEOUT_S = 60.0
"""Timeout of a request, in seconds."""

ABSENT = ""
"""The revision of a file that does not exist."""

HASTY: ContextVar[bool] = ContextVar("hasty", default=False)
"""Whether the clients' own retries are disabled."""

_local = threading.local()


class ObjectStore(Protocol):
    """The files of one URL scheme; errors are those of the store's client library."""

    def read(self, url: str, target: BinaryIO) -> None:
        """Download a whole file into an empty one."""

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Upload a file atomically, replacing an existing one."""

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the store atomically, replacing an existing one."""

    def below(self, start: str) -> Iterator[Listed]:
        """Return the files whose URLs begin with `start`."""

    def delete(self, urls: Sequence[str]) -> None:
        """Remove files; missing ones are ignored."""

    def version(self, url: str) -> tuple[str, int]:
        """Return an identifier of a file's content, such as a checksum (empty if unknown), and its size in bytes."""

    def has_bucket(self, url: str) -> bool:
        """Return whether the bucket of a URL exists, or may exist if that cannot be checked."""

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read a small file and its revision, the store's identifier of this content; None if it has none."""

    def write_if(self, url: str, data: bytes, revision: str) -> None:
        """Write a small file if it still has a revision, or does not exist (`ABSENT`); the store does so atomically.

        Raises:
            ChangedError: If it has another revision.
            UnconditionalError: If the store does not support conditions.
        """

    def delete_if(self, url: str, revision: str) -> None:
        """Remove a file if it still has a revision; raise the errors of `write_if`."""


def object_store(url: str) -> ObjectStore:
    """Return the store of a URL; one per thread."""
    make = STORES.get(scheme_of(url), BeamStore)
    options = filesystems()._pipeline_options
    servers = [os.environ.get(name) for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL_S3")]
    key = (scheme_of(url), id(options), *servers)
    held = _local.__dict__.setdefault("stores", {})
    if key not in held:
        # The options are kept with the store, so that their id is not reused.
        held[key] = options, make(options)
    store: ObjectStore = held[key][1]
    return store


def parted(url: str) -> tuple[str, str]:
    """Split a URL into the bucket and name of an object."""
    bucket, _, name = url.partition("://")[2].partition("/")
    return bucket, name


class GoogleStore:
    """Google Cloud Storage."""

    def __init__(self, options: Any) -> None:
        from apache_beam.io.gcp.gcsio import GcsIO, create_storage_client
        from google.cloud.storage.retry import DEFAULT_RETRY

        self._client = create_storage_client(options)
        self._beam = GcsIO(self._client, options)
        self._retry = DEFAULT_RETRY.with_timeout(TIMEOUT_S)

    @property
    def _limits(self) -> dict[str, Any]:
        return {"timeout": TIMEOUT_S, "retry": None if HASTY.get() else self._retry}

    def _blob(self, url: str) -> Any:
        bucket, name = parted(url)
        return self._client.bucket(bucket).blob(name)

    def read(self, url: str, target: BinaryIO) -> None:
        """Download an object; the client verifies its checksum."""
        self._blob(url).download_to_file(target, raw_download=True, **self._limits)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Upload an object; the client raises an error if the server's checksum differs."""
        self._blob(url).upload_from_file(file, rewind=True, size=size, **self._limits)

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store."""
        self._beam.copy(source, target)

    def below(self, start: str) -> Iterator[Listed]:
        """Return the objects whose URLs begin with `start`."""
        return (Listed(path, *state) for path, state in self._beam.list_files(start, with_metadata=True))

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects."""
        for url, status in self._beam.delete_batch(list(urls)):
            if status is not None:
                raise StatusError(f"{url} cannot be removed: {status}", status)

    def version(self, url: str) -> tuple[str, int]:
        """Return the checksum and size of an object."""
        blob = self._client.bucket(parted(url)[0]).get_blob(parted(url)[1], **self._limits)
        if blob is None:
            raise FileNotFoundError(f"{url} does not exist")
        return str(blob.md5_hash or blob.crc32c or blob.generation), int(blob.size)

    def has_bucket(self, url: str) -> bool:
        """Return whether a bucket exists; without permission to check, assume that it does."""
        try:
            return bool(self._client.bucket(parted(url)[0]).exists(**self._limits))
        except Exception as error:
            if status_of(error) in (401, 403):
                return True
            raise

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read an object and its generation, in one request."""
        blob = self._blob(url)
        data = blob.download_as_bytes(raw_download=True, **self._limits)
        return data, None if blob.generation is None else str(blob.generation)

    def write_if(self, url: str, data: bytes, revision: str) -> None:
        """Write an object if it still has a generation; 0 means that it does not exist."""
        with _conditional(url, revision):
            self._blob(url).upload_from_string(data, if_generation_match=int(revision or 0), **self._limits)

    def delete_if(self, url: str, revision: str) -> None:
        """Remove an object if it still has a generation."""
        with _conditional(url, revision):
            self._blob(url).delete(if_generation_match=int(revision), **self._limits)


class AmazonStore:
    """Amazon S3 and S3-compatible servers."""

    def __init__(self, options: Any) -> None:
        from apache_beam.io.aws.clients.s3.boto3_client import Client
        from apache_beam.io.aws.s3io import S3IO
        from boto3.s3.transfer import TransferConfig

        beams_client = Client(options)
        self._client = beams_client.client
        self._beam = S3IO(client=beams_client)
        self._one_by_one = TransferConfig(use_threads=False)

    def read(self, url: str, target: BinaryIO) -> None:
        """Download an object."""
        self._client.download_fileobj(*parted(url), target, Config=self._one_by_one)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:  # noqa: ARG002 - the client measures it
        """Upload an object."""
        file.seek(0)
        # The client closes the file, which another attempt may need.
        self._client.upload_fileobj(_Unclosed(file), *parted(url), Config=self._one_by_one)

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store."""
        bucket, name = parted(source)
        self._client.copy({"Bucket": bucket, "Key": name}, *parted(target), Config=self._one_by_one)

    def below(self, start: str) -> Iterator[Listed]:
        """Return the objects whose URLs begin with `start`."""
        return (Listed(path, *state) for path, state in self._beam.list_files(start, with_metadata=True))

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects."""
        for _, error in self._beam.delete_files(list(urls)):
            if error is not None:
                raise error

    def version(self, url: str) -> tuple[str, int]:
        """Return the ETag and size of an object."""
        bucket, name = parted(url)
        head = self._client.head_object(Bucket=bucket, Key=name)
        return str(head["ETag"]), int(head["ContentLength"])

    def has_bucket(self, url: str) -> bool:
        """Return whether a bucket exists; without permission to check, assume that it does."""
        try:
            self._client.head_bucket(Bucket=parted(url)[0])
        except Exception as error:
            if is_absent(error):
                return False
            if status_of(error) != 403:
                raise
        return True

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read an object and its ETag, in one request."""
        bucket, name = parted(url)
        response = self._client.get_object(Bucket=bucket, Key=name)
        return response["Body"].read(), response.get("ETag")

    def write_if(self, url: str, data: bytes, revision: str) -> None:
        """Write an object if it still has an ETag, or does not exist."""
        bucket, name = parted(url)
        condition = {"IfMatch": revision} if revision else {"IfNoneMatch": "*"}
        with _conditional(url, revision):
            self._client.put_object(Bucket=bucket, Key=name, Body=data, **condition)

    def delete_if(self, url: str, revision: str) -> None:
        """Remove an object if it still has an ETag."""
        bucket, name = parted(url)
        with _conditional(url, revision):
            self._client.delete_object(Bucket=bucket, Key=name, IfMatch=revision)


class BeamStore:
    """Files of Beam's other filesystems."""

    def __init__(self, _options: Any) -> None:
        from apache_beam.io.filesystem import CompressionTypes

        # Beam would otherwise infer a compression from the file name.
        self._as_it_is = {"compression_type": CompressionTypes.UNCOMPRESSED}

    def _system(self, url: str) -> Any:
        return filesystems().get_filesystem(url)

    def read(self, url: str, target: BinaryIO) -> None:
        """Download a file."""
        with self._system(url).open(url, **self._as_it_is) as source:
            shutil.copyfileobj(source, target)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Upload a file; on filesystems with folders, write it under another name and rename it when complete."""
        system = self._system(url)
        draft = f"{url}.{uuid.uuid4().hex}.draft" if system.has_dirs() else url
        file.seek(0)
        with system.create(draft, **self._as_it_is) as target:
            shutil.copyfileobj(file, target)
        if system.size(draft) != size:
            raise EOFError(f"{draft} has {system.size(draft)} bytes instead of {size}")
        if draft != url:
            system.rename([draft], [url])

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the filesystem."""
        self._system(source).copy([source], [target])

    def below(self, start: str) -> Iterator[Listed]:
        """Return the files whose URLs begin with `start`."""
        (match,) = self._system(start).match([f"{start}**"])
        return (
            Listed(metadata.path, metadata.size_in_bytes, metadata.last_updated_in_seconds or 0.0)
            for metadata in match.metadata_list
        )

    def delete(self, urls: Sequence[str]) -> None:
        """Remove files."""
        self._system(urls[0]).delete([url for url in urls if self._system(url).exists(url)])

    def version(self, url: str) -> tuple[str, int]:
        """Return the modification time and size of a file."""
        system = self._system(url)
        if not system.exists(url):
            raise FileNotFoundError(f"{url} does not exist")
        try:
            metadata = system.metadata(url)
        except NotImplementedError:
            return "", int(system.size(url))
        return str(metadata.last_updated_in_seconds or ""), int(metadata.size_in_bytes)

    def has_bucket(self, _url: str) -> bool:
        """Return True: Beam's filesystems cannot be asked about buckets."""
        return True

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read a file; Beam's filesystems have no revisions."""
        if not self._system(url).exists(url):
            raise FileNotFoundError(f"{url} does not exist")
        target = io.BytesIO()
        self.read(url, target)
        return target.getvalue(), None

    def write_if(self, url: str, data: bytes, revision: str) -> None:  # noqa: ARG002
        """Raise an error: Beam's filesystems do not support conditions."""
        raise UnconditionalError(f"the filesystem of {url} does not support conditional writes")

    def delete_if(self, url: str, revision: str) -> None:  # noqa: ARG002
        """Raise an error: Beam's filesystems do not support conditions."""
        raise UnconditionalError(f"the filesystem of {url} does not support conditional writes")


@contextlib.contextmanager
def _conditional(url: str, revision: str) -> Iterator[None]:
    """Raise the errors of `write_if` for a conditional request in the block that the server rejects."""
    try:
        yield
    except Exception as error:
        status = status_of(error)
        if status == 412 or (status == 404 and revision):  # otherwise the bucket does not exist
            raise ChangedError(f"{url} was changed by another process") from error
        if status == 501:
            raise UnconditionalError(f"the server of {url} does not support conditional writes") from error
        raise


class StatusError(OSError):
    """An error status from a server.

    Attributes:
        code: The HTTP status.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _Unclosed:
    """A file whose `close` does nothing."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Leave the file open."""


STORES: dict[str, Any] = {"gs": GoogleStore, "s3": AmazonStore}
"""Store classes by scheme; all other schemes use `BeamStore`."""


def matching(pattern: str, listed: Iterable[Listed]) -> list[Listed]:
    """Filter listed files by a pattern: ``*`` matches within a folder, ``**`` also in subfolders."""
    from apache_beam.io.filesystem import FileSystem

    compiled = re.compile(FileSystem.translate_pattern(pattern))
    return [file for file in listed if compiled.match(file.path)]
