"""Identify processes that own files or folders, and find out whether they still run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROCESSES = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Owner:
    """The identity of a process.

    Attributes:
        host: Host name of its machine.
        machine: Scope in which process IDs are unique: one boot of a machine, or one container.
        pid: Its process ID.
        began: Its start time, which distinguishes it from a later process with the same ID: on Linux in clock ticks
            since boot, unaffected by changes of the clock; elsewhere in seconds since the epoch.
    """

    host: str
    machine: str
    pid: int
    began: float

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _began(os.getpid()) or 0.0)

    @property
    def name(self) -> str:
        """A unique identifier of the process that can serve as a folder name."""
        return f"{self.pid}-{self.began:.0f}-{_digest(self.machine)}@{self.host}"

    @classmethod
    def named(cls, name: str) -> Owner | None:
        """Parse a folder name into a process on this machine; None for processes elsewhere."""
        match = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})-([0-9a-f]+)@(.+)", name)
        if not match or match[4] != socket.gethostname() or match[3] != _digest(_machine()):
            return None
        return cls(match[4], _machine(), int(match[1]), float(match[2]))

    def has_exited(self) -> bool:
        """Return whether it is known to have exited; False for processes elsewhere."""
        if not self.machine and sys.platform == "linux":
            return False  # A container without an identifier.
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return _is_zombie(self.pid) or _began(self.pid) not in (self.began, None)


def _machine() -> str:
    """Return the boot and PID namespace; containers may share a host name, but not process IDs."""
    with contextlib.suppress(OSError):
        return f"{BOOT_ID.read_text().strip()} {os.readlink(PROCESSES)}"  # noqa: PTH115 - it is not a path
    return ""


def _digest(machine: str) -> str:
    return hashlib.sha256(machine.encode()).hexdigest()[:12]


def _began(pid: int) -> float | None:
    """Return when a process started; None if unknown."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        # The process name in parentheses may contain anything; the start time is the 20th field after it.
        return float(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    with contextlib.suppress(psutil.Error):
        return round(psutil.Process(pid).create_time()) if not BOOT_ID.exists() else None
    return None


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return False
