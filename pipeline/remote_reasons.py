"""Why a folder on another machine cannot be written."""

from __future__ import annotations

import uuid

from pipeline import files
from pipeline.remote import EXTRAS, missing_extra
from pipeline.remote_errors import RemoteFileError, bucket_of, scheme_of
from pipeline.web import is_web


def unwritable(what: str, folder: str) -> str | None:
    """Why a folder on another machine cannot be written; None where a file could be written and removed again."""
    if is_web(folder) or folder.startswith("/vsi"):
        return f"{what} {folder} cannot be written; name a folder of this machine, or one of gs:// or s3://"
    problem = missing_extra(folder)
    if problem:
        return f"{what} {problem}"
    if not is_known(folder):
        return f"{what} {folder} is on no filesystem that is known here; name a folder of this machine, or one of gs:// or s3://"
    probe = files.join(folder, f".writable-{uuid.uuid4().hex}")
    try:
        files.write_bytes(probe, b"Terraseam asks whether it may write here, and removes this file.")
        files.remove(probe)
    except FileNotFoundError:
        return (
            f"{what} {folder} cannot be written: the bucket {bucket_of(folder)} does not exist; make it first"
        )
    except RemoteFileError as error:
        return f"{what} {str(error).replace(probe, folder)}"
    return None


def is_known(folder: str) -> bool:
    """Whether one of Beam's filesystems, or one that was added to them, takes an address."""
    if scheme_of(folder) in EXTRAS:
        return True
    from pipeline.remote import filesystems

    try:
        filesystems().get_filesystem(folder)
    except ValueError:
        return False
    return True
