import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from places import ROOT

from terraseam.pipeline.cli import _ended
from terraseam.pipeline.exit_status import FAILED, INTERRUPTED
from terraseam.pipeline.interrupts import SIGNALS, listening, was_interrupted
from terraseam.pipeline.run.job import CONTINUE, report_end


class Finalized:
    """In whose finalizer a signal arrives, where Python drops what it raises."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def test_an_interruption_that_a_finalizer_drops_is_raised_again():
    start = time.monotonic()
    with listening(), pytest.raises(KeyboardInterrupt):
        Finalized()
        time.sleep(60)
    assert was_interrupted()
    assert time.monotonic() - start < 30


def test_an_interruption_is_not_raised_again_where_it_would_be_dropped_for_good(monkeypatch):
    """On a busy machine the main thread may still take what was dropped when the time is over."""
    monkeypatch.setattr("terraseam.pipeline.interrupts._AGAIN", 0)
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt), listening():
            Finalized()
            time.sleep(5)


def test_an_interruption_is_remembered_where_others_turn_it_into_an_error():
    with listening():
        with contextlib.suppress(RuntimeError):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise RuntimeError("cannot schedule new futures after shutdown") from error
        assert was_interrupted()
    with listening():
        assert not was_interrupted()


def test_a_worker_that_dies_of_an_interruption_is_none_that_died_alone(capsys, tmp_path):
    tell = partial(report_end, "a worker process died (exit code 1)", CONTINUE, tmp_path / "log")
    with listening():
        assert tell() == FAILED
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert tell() == INTERRUPTED
    alone, interrupted = capsys.readouterr().err.splitlines()
    assert "a worker process died (exit code 1); inferred sheets are kept" in alone
    assert interrupted == "terraseam: interrupted; run the same command again to continue"


def test_handlers_are_as_they_were_after_a_command():
    before = [signal.getsignal(number) for number in SIGNALS]
    hook = sys.unraisablehook
    with listening():
        assert signal.getsignal(signal.SIGTERM) not in before
        assert sys.unraisablehook is not hook
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP"])
def test_a_command_in_the_background_goes_on_where_others_are_interrupted(name):
    code = (
        f"import signal; signal.signal(signal.{name}, signal.SIG_IGN)\n"
        "from terraseam.pipeline.interrupts import listening\n"
        f"with listening(): signal.raise_signal(signal.{name})\n"
        "print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "goes on\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_that_ends_a_command_interrupts_it(number, capsys):
    assert _ended(lambda: signal.raise_signal(number), "interrupted; run it again") == INTERRUPTED
    assert capsys.readouterr().err == "terraseam: interrupted; run it again\n"


def test_an_interruption_inside_exec_leaves_the_exit_status_alone(tmp_path):
    (tmp_path / "interrupted.py").write_text(
        "import sys\n"
        "from terraseam.pipeline.cli import _ended\n"
        "sys.exit(_ended(lambda: exec('raise KeyboardInterrupt'), 'interrupted'))"
    )
    searched = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "interrupted"]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": searched}, check=False)
    assert ended.returncode == INTERRUPTED


def test_a_command_whose_terminal_is_closed_ends_as_one_that_is_interrupted(tmp_path):
    code = (
        "import pathlib, sys, time\n"
        "from terraseam.pipeline.cli import _ended\n"
        "def work(): print('works', flush=True); time.sleep(60)\n"
        "status = _ended(work, 'interrupted')\n"
        f"pathlib.Path({str(tmp_path / 'status')!r}).write_text(str(status))\n"
        "sys.exit(status)"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", code])
    assert b"works" in os.read(terminal, 100)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == INTERRUPTED
    assert (tmp_path / "status").read_text() == str(INTERRUPTED)


def test_an_interruption_that_is_dropped_at_the_very_end_is_none_of_what_comes_after(monkeypatch):
    monkeypatch.setattr("terraseam.pipeline.interrupts._AGAIN", 0.5)
    with pytest.raises(KeyboardInterrupt), listening():
        Finalized()
    time.sleep(0.7)


def test_what_else_is_dropped_goes_where_it_went(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)

    class Broken:
        def __del__(self):
            raise ValueError("no")

    with listening():
        Broken()
    assert [str(one.exc_value) for one in seen] == ["no"]
