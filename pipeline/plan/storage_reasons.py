"""Check whether remote folders can be written."""

from __future__ import annotations

import uuid

from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import RemoteFileError, bucket_of, is_web, scheme_of
from terraseam.pipeline.storage.servers import EXTRAS, filesystems, missing_extra
from terraseam.tiles.raster.inspect import is_local


def unfit(what: str, folder: str) -> str | None:
    """Return why an address cannot be a writable folder; None if it can. No server is contacted."""
    if is_web(folder) or folder.startswith("/vsi"):
        return f"{what} {folder} cannot be written; name a folder of this machine, or one of gs:// or s3://"
    problem = missing_extra(folder)
    if problem:
        return f"{what} {problem}"
    if not is_known(folder):
        return f"{what} {folder} is on an unknown filesystem; name a folder of this machine, or one of gs:// or s3://"
    return None


def writing_reasons(output: str, work: str | None) -> list[str]:
    """Return a reason for each remote folder that fails a test of writing and removing a file."""
    named = {"--output": output, "--work": work}
    tried = (_refusal(option, folder) for option, folder in named.items() if folder and not is_local(folder))
    return [reason for reason in tried if reason]


def _refusal(what: str, folder: str) -> str | None:
    from terraseam.pipeline.storage.remote_files import failing_fast

    probe = files.join(folder, f".writable-{uuid.uuid4().hex}")
    try:
        with failing_fast():
            files.write_bytes(probe, b"Terraseam asks whether it may write here, and removes this file.")
            files.remove(probe)
    except FileNotFoundError:
        return f"{what} {folder} cannot be written: the bucket {bucket_of(folder)} does not exist; create it first"
    except RemoteFileError as error:
        return f"{what} {str(error).replace(probe, folder)}"
    return None


def is_known(folder: str) -> bool:
    """Return whether a filesystem of Beam or of an optional package handles an address."""
    if scheme_of(folder) in EXTRAS:
        return True
    try:
        filesystems().get_filesystem(folder)
    except ValueError:
        return False
    return True
