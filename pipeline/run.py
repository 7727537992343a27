"""Executing a plan."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import files
from pipeline.graph import build
from pipeline.layout import RunFolder, manifest_path, result_folder
from pipeline.plan import Plan
from pipeline.progress import progress
from pipeline.runner import beam_pipeline, is_local_run, worker_processes, worker_watchdog
from tiles.inspect import is_local

CONTINUE = "what was inferred is kept: run the same command again to continue"


class RunError(RuntimeError):
    """A run that failed, in one sentence."""


def run_plan(plan: Plan) -> dict[str, Any] | None:
    """Run a plan to the end.

    Returns:
        The manifest; None where a remote runner was only handed the job.

    Raises:
        RunError: If the run failed, with the cause in a sentence.
    """
    # Beam logs the tracebacks of our own sentences; they come back as exceptions all the same.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = PipelineOptions(list(plan.options.beam))
    local = is_local_run(options)
    folder = RunFolder.of(plan)
    _clean(plan, folder)
    log = worker_log(folder)
    workers = max(1, worker_processes(options))
    pipeline = beam_pipeline(options, log)
    build(pipeline, plan, folder, workers=workers, accelerated=not local, started=time.time())
    try:
        with worker_watchdog(say_death), progress(folder, plan.sheet_count(), shown=local):
            result = pipeline.run()
            if not local and options.get_all_options().get("dry_run"):
                return None
            result.wait_until_finish()
    except KeyboardInterrupt:
        raise
    except Exception as error:
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        details = f" (details in {log})" if log.exists() and log.stat().st_size else ""
        raise RunError(f"{sentence(error)}; {CONTINUE}{details}") from error
    files.remove_tree(folder.path)
    return json.loads(files.read_bytes(manifest_path(plan)))


def worker_log(folder: RunFolder) -> Path:
    """Where worker processes of the local runner write what they say; it stays behind when a run fails."""
    return Path(folder.path if is_local(folder.path) else tempfile.gettempdir()) / "workers.log"


def say_death(cause: str) -> None:
    """Tell the user that a worker process has ended in the middle of its work."""
    print(f"terraseam: a worker process died ({cause.rstrip('.')}); {CONTINUE}", file=sys.stderr)


def sentence(error: BaseException) -> str:
    """The cause of a failed pipeline: the message that one of our stages raised, without Beam's wrapping."""
    text = str(error).strip()
    if "Traceback" in text:
        # Worker processes send tracebacks as text: the last line that names an exception is the cause.
        raised = [
            line for line in text.splitlines() if re.match(r"^[\w.]+(Error|Exception|Interrupt)\b.*: ", line)
        ]
        text = raised[-1].split(": ", 1)[1] if raised else text.splitlines()[-1]
    text = re.sub(
        r"\s*\[while running '.*?'\]", "", text.splitlines()[0] if text else repr(error), flags=re.S
    )
    return text.strip().rstrip(".")


def _clean(plan: Plan, folder: RunFolder) -> None:
    """Remove what an interrupted run of the same job has left."""
    files.remove_tree(folder.path)
    for number in range(len(plan.rasters)):
        results = result_folder(plan, number)
        if is_local(results):
            for left in Path(results).glob(f"{files.STAGING_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
