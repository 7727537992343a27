"""Files on other machines, as their stores offer them: Google Cloud Storage, Amazon S3, and Beam's other filesystems.

Beam's filesystem for S3 makes a client for every file that is looked at, which takes 0.14 s of CPU, and a
file that Beam's writers are interrupted in may be completed with what they have of it. So the two stores are spoken to
through one client a thread: small objects are sent in one request and large ones in parts that only the last request makes
an object; both carry a checksum that the server compares.
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
"""How long a request may hang."""

ABSENT = ""
"""The revision of a file that is not there."""

HASTY: ContextVar[bool] = ContextVar("hasty", default=False)
"""Whether clients are not to try again by themselves."""

_local = threading.local()


class ObjectStore(Protocol):
    """Files of one scheme; errors are those of the store's library."""

    def read(self, url: str, target: BinaryIO) -> None:
        """Copy a file, whole, into an empty one."""

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Let a file appear whole, in place of one that may be there."""

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the store; it appears whole, in place of one that may be there."""

    def below(self, start: str) -> Iterator[Listed]:
        """The files whose addresses start in a way."""

    def delete(self, urls: Sequence[str]) -> None:
        """Remove files; those that are not there do no harm."""

    def version(self, url: str) -> tuple[str, int]:
        """What the content of a file is known by, empty for nothing, and its size in bytes."""

    def has_bucket(self, url: str) -> bool:
        """Whether the bucket of an address exists, as far as one may know."""

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read a small file, and its revision: what the store names this content by; None where it names none."""

    def write_if(self, url: str, data: bytes, revision: str) -> None:
        """Write a small file if it still has a revision, or is absent (`ABSENT`); the store compares and writes in one step.

        Raises:
            ChangedError: If it has another revision.
            UnconditionalError: If the store takes no conditions.
        """

    def delete_if(self, url: str, revision: str) -> None:
        """Remove a file if it still has a revision; raises the errors of `write_if`."""


def object_store(url: str) -> ObjectStore:
    """The store of an address; one a thread."""
    make = STORES.get(scheme_of(url), BeamStore)
    options = filesystems()._pipeline_options
    servers = [os.environ.get(name) for name in ("STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL_S3")]
    key = (scheme_of(url), id(options), *servers)
    held = _local.__dict__.setdefault("stores", {})
    if key not in held:
        # The options are kept with the store, so that no others get their number.
        held[key] = options, make(options)
    store: ObjectStore = held[key][1]
    return store


def parted(url: str) -> tuple[str, str]:
    """Bucket and name of an object."""
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
        """Copy an object; the client compares its checksum."""
        self._blob(url).download_to_file(target, raw_download=True, **self._limits)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Let an object appear; the client raises where the server has other bytes than were sent."""
        self._blob(url).upload_from_file(file, rewind=True, size=size, **self._limits)

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store."""
        self._beam.copy(source, target)

    def below(self, start: str) -> Iterator[Listed]:
        """The objects whose addresses start in a way."""
        return (Listed(path, *state) for path, state in self._beam.list_files(start, with_metadata=True))

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects."""
        for url, status in self._beam.delete_batch(list(urls)):
            if status is not None:
                raise StatusError(f"{url} cannot be removed: {status}", status)

    def version(self, url: str) -> tuple[str, int]:
        """Checksum and size of an object."""
        blob = self._client.bucket(parted(url)[0]).get_blob(parted(url)[1], **self._limits)
        if blob is None:
            raise FileNotFoundError(f"{url} does not exist")
        return str(blob.md5_hash or blob.crc32c or blob.generation), int(blob.size)

    def has_bucket(self, url: str) -> bool:
        """Whether a bucket exists; who may not look at it may still have objects in it."""
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
        """Write an object if it still has a generation; 0 stands for none."""
        with _conditional(url, revision):
            self._blob(url).upload_from_string(data, if_generation_match=int(revision or 0), **self._limits)

    def delete_if(self, url: str, revision: str) -> None:
        """Remove an object if it still has a generation."""
        with _conditional(url, revision):
            self._blob(url).delete(if_generation_match=int(revision), **self._limits)


class AmazonStore:
    """Amazon S3, and what speaks like it."""

    def __init__(self, options: Any) -> None:
        from apache_beam.io.aws.clients.s3.boto3_client import Client
        from apache_beam.io.aws.s3io import S3IO
        from boto3.s3.transfer import TransferConfig

        beams_client = Client(options)
        self._client = beams_client.client
        self._beam = S3IO(client=beams_client)
        self._one_by_one = TransferConfig(use_threads=False)

    def read(self, url: str, target: BinaryIO) -> None:
        """Copy an object."""
        self._client.download_fileobj(*parted(url), target, Config=self._one_by_one)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:  # noqa: ARG002 - the client measures it
        """Let an object appear."""
        file.seek(0)
        # The client closes what it is given, and another attempt may need it.
        self._client.upload_fileobj(_Kept(file), *parted(url), Config=self._one_by_one)

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store."""
        bucket, name = parted(source)
        self._client.copy({"Bucket": bucket, "Key": name}, *parted(target), Config=self._one_by_one)

    def below(self, start: str) -> Iterator[Listed]:
        """The objects whose addresses start in a way."""
        return (Listed(path, *state) for path, state in self._beam.list_files(start, with_metadata=True))

    def delete(self, urls: Sequence[str]) -> None:
        """Remove objects."""
        for _, error in self._beam.delete_files(list(urls)):
            if error is not None:
                raise error

    def version(self, url: str) -> tuple[str, int]:
        """ETag and size of an object."""
        bucket, name = parted(url)
        head = self._client.head_object(Bucket=bucket, Key=name)
        return str(head["ETag"]), int(head["ContentLength"])

    def has_bucket(self, url: str) -> bool:
        """Whether a bucket exists; who may not look at it may still have objects in it."""
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
        found = self._client.get_object(Bucket=bucket, Key=name)
        return found["Body"].read(), found.get("ETag")

    def write_if(self, url: str, data: bytes, revision: str) -> None:
        """Write an object if it still has an ETag, or is absent."""
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
    """What else Beam has a filesystem for."""

    def __init__(self, _options: Any) -> None:
        from apache_beam.io.filesystem import CompressionTypes

        # Beam would guess a compression by a file's name.
        self._as_it_is = {"compression_type": CompressionTypes.UNCOMPRESSED}

    def _system(self, url: str) -> Any:
        return filesystems().get_filesystem(url)

    def read(self, url: str, target: BinaryIO) -> None:
        """Copy a file."""
        with self._system(url).open(url, **self._as_it_is) as source:
            shutil.copyfileobj(source, target)

    def upload(self, file: BinaryIO, size: int, url: str) -> None:
        """Let a file appear: where there are folders, half a file could be seen, so it is renamed when it is whole."""
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
        """The files whose addresses start in a way."""
        (match,) = self._system(start).match([f"{start}**"])
        return (
            Listed(one.path, one.size_in_bytes, one.last_updated_in_seconds or 0.0)
            for one in match.metadata_list
        )

    def delete(self, urls: Sequence[str]) -> None:
        """Remove files."""
        self._system(urls[0]).delete([url for url in urls if self._system(url).exists(url)])

    def version(self, url: str) -> tuple[str, int]:
        """Time of change and size of a file."""
        system = self._system(url)
        if not system.exists(url):
            raise FileNotFoundError(f"{url} does not exist")
        try:
            found = system.metadata(url)
        except NotImplementedError:
            return "", int(system.size(url))
        return str(found.last_updated_in_seconds or ""), int(found.size_in_bytes)

    def has_bucket(self, _url: str) -> bool:
        """Nothing is known of buckets."""
        return True

    def read_revision(self, url: str) -> tuple[bytes, str | None]:
        """Read a file; Beam's filesystems name no revisions."""
        if not self._system(url).exists(url):
            raise FileNotFoundError(f"{url} does not exist")
        target = io.BytesIO()
        self.read(url, target)
        return target.getvalue(), None

    def write_if(self, url: str, data: bytes, revision: str) -> None:  # noqa: ARG002
        """Write nothing: Beam's filesystems take no conditions."""
        raise UnconditionalError(f"the filesystem of {url} takes no conditions")

    def delete_if(self, url: str, revision: str) -> None:  # noqa: ARG002
        """Remove nothing: Beam's filesystems take no conditions."""
        raise UnconditionalError(f"the filesystem of {url} takes no conditions")


@contextlib.contextmanager
def _conditional(url: str, revision: str) -> Iterator[None]:
    """Send a conditional request in a block: raise the errors of `write_if` for what the server says of its condition."""
    try:
        yield
    except Exception as error:
        status = status_of(error)
        if status == 412 or (status == 404 and revision):  # else the bucket is not there
            raise ChangedError(f"{url} has been changed by others") from error
        if status == 501:
            raise UnconditionalError(f"the server of {url} takes no conditions") from error
        raise


class StatusError(OSError):
    """A server's answer.

    Attributes:
        code: Its status.
    """

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code


class _Kept:
    """A file that others cannot close."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """Leave it open."""


STORES: dict[str, Any] = {"gs": GoogleStore, "s3": AmazonStore}
"""The stores that have a class of their own."""


def matching(pattern: str, found: Iterable[Listed]) -> list[Listed]:
    """Those of listed files that match a pattern: ``*`` stays in a folder, ``**`` goes on below it."""
    from apache_beam.io.filesystem import FileSystem

    compiled = re.compile(FileSystem.translate_pattern(pattern))
    return [one for one in found if compiled.match(one.path)]
