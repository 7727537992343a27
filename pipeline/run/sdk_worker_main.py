"""Run a worker process of the local runner: Beam's SDK harness, with a heartbeat for the driver.

``python -m terraseam.pipeline.run.sdk_worker_main [FOLDER PERIOD]``; without arguments there is no heartbeat.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from terraseam.pipeline.process.kept_memory import keep_memory
from terraseam.pipeline.process.optional_imports import leave_out_in_worker
from terraseam.pipeline.run.heartbeat import heartbeat


def main(arguments: Sequence[str]) -> None:
    """Work for the driver named in the environment until it closes the connection.

    Raises:
        RuntimeError: If anything else tries to exit the process, whatever the status.
    """
    beating = heartbeat(Path(arguments[0]), float(arguments[1])) if arguments else contextlib.nullcontext()
    with beating:
        # Imported after the first beat: it takes seconds, in which the process may already hang.
        from apache_beam.runners.worker import sdk_worker_main

        try:
            sdk_worker_main.main(sys.argv)
        except SystemExit as ended:
            raise RuntimeError(f"the worker process tried to exit with status {ended.code}") from ended


if __name__ == "__main__":
    leave_out_in_worker()
    keep_memory()
    main(sys.argv[1:])
