"""A worker process of the local runner: Beam's harness, with a heartbeat that the driver looks at.

``python -m terraseam.pipeline.run.worker_main [FOLDER PERIOD]``; without arguments nobody looks.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from terraseam.pipeline.run.heartbeat import heartbeat


def main(arguments: Sequence[str]) -> None:
    """Work for the driver that the environment names, until it closes the connection.

    Raises:
        RuntimeError: If something else tries to end the process, with whatever status.
    """
    beating = heartbeat(Path(arguments[0]), float(arguments[1])) if arguments else contextlib.nullcontext()
    with beating:
        # Imported behind the first beat: it takes seconds, of which a stopped process may need all.
        from apache_beam.runners.worker import sdk_worker_main

        try:
            sdk_worker_main.main(sys.argv)
        except SystemExit as ended:
            raise RuntimeError(f"the worker process was to end with status {ended.code}") from ended


if __name__ == "__main__":
    main(sys.argv[1:])
