"""Show the progress of a run, counted from the sheets that its workers have finished."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from terraseam.pipeline import terminal
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.units import format_time
from terraseam.tiles.raster.inspect import is_local


@contextlib.contextmanager
def progress(folder: RunFolder, sheets: int, shown: bool) -> Iterator[None]:
    """Show the number of finished sheets and the remaining time on a terminal while a block runs."""
    records = Path(folder.sheet_record(0, 0, 0)).parent
    if not shown or not terminal.watched() or not is_local(folder.path):
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(records, sheets, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        terminal.show()


def _watch(records: Path, sheets: int, ended: threading.Event) -> None:
    start = time.monotonic()
    while not ended.wait(terminal.PERIOD):
        finished_sheets = sum(1 for _ in records.glob("*.json")) if records.exists() else 0
        terminal.show(progress_line(finished_sheets, sheets, time.monotonic() - start))


def progress_line(segmented: int, sheets: int, seconds: float) -> str:
    """Return a line such as ``segmenting: 12 of 64 sheets, about 3 min left``."""
    if segmented >= sheets:
        return f"writing polygons and files of {sheets} sheets"
    line = f"segmenting: {segmented} of {sheets} sheets"
    if segmented == 0:
        return line
    left = seconds / segmented * (sheets - segmented)
    return f"{line}, about {format_time(left)} left"
