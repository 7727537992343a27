"""A filesystem of Beam's that is like an object store: whole objects, nothing exclusive; it lives in this process."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem

OBJECTS: dict[str, bytes] = {}
BEFORE_WRITE: list[Callable[[str], None]] = []
"""Called once with the path of the next object that is written: what another machine does a moment before."""


class Upload(io.BytesIO):
    """An object that is there when it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def close(self) -> None:
        if not self.closed:
            OBJECTS[self.path] = self.getvalue()
        super().close()


class Bucket(FileSystem):
    @classmethod
    def scheme(cls) -> str:
        return "bucket"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        return path.rpartition("/")[0], path.rpartition("/")[2]

    def mkdirs(self, path: str) -> None: ...

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Any:
        for path, data in list(OBJECTS.items()):
            if path.startswith(dir_or_prefix):
                yield FileMetadata(path, len(data))

    def create(self, path: str, *_: object, **__: object) -> Any:
        for act in [BEFORE_WRITE.pop() for _ in BEFORE_WRITE]:
            act(path)
        return Upload(path)

    def open(self, path: str, *_: object, **__: object) -> Any:
        if path not in OBJECTS:
            raise BeamIOError("no such object", {path: KeyError(path)})
        return io.BytesIO(OBJECTS[path])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        return path in OBJECTS

    def size(self, path: str) -> int:
        return len(OBJECTS[path])

    def last_updated(self, path: str) -> float:
        raise NotImplementedError

    def checksum(self, path: str) -> str:
        raise NotImplementedError

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            OBJECTS.pop(path, None)
