"""Processes that own something on disk, and whether they are still there."""

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
    """A process.

    Attributes:
        host: Name of its machine.
        machine: Where numbers of processes mean the same: one boot of a machine, one container.
        pid: Its number.
        began: When it began, which tells it from a later process with its number: on Linux in ticks since the
            boot, which no change of the clock moves; elsewhere in seconds since the epoch.
    """

    host: str
    machine: str
    pid: int
    began: float

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _began(os.getpid()) or 0.0)

    @property
    def name(self) -> str:
        """What tells it from all other processes, as the name of a folder."""
        return f"{self.pid}-{self.began:.0f}-{_digest(self.machine)}@{self.host}"

    @classmethod
    def named(cls, name: str) -> Owner | None:
        """The process of this machine that a folder is named by; None for processes elsewhere."""
        found = re.fullmatch(r"([0-9]{1,19})-([0-9]{1,19})-([0-9a-f]+)@(.+)", name)
        if not found or found[4] != socket.gethostname() or found[3] != _digest(_machine()):
            return None
        return cls(found[4], _machine(), int(found[1]), float(found[2]))

    def has_exited(self) -> bool:
        """Whether it is known to have ended; nothing is known of processes elsewhere."""
        if not self.machine and sys.platform == "linux":
            return False  # A container that does not say which it is.
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
    """Containers may share the name of a machine, but not the numbers of its processes."""
    with contextlib.suppress(OSError):
        return f"{BOOT_ID.read_text().strip()} {os.readlink(PROCESSES)}"  # noqa: PTH115 - it is no path
    return ""


def _digest(machine: str) -> str:
    return hashlib.sha256(machine.encode()).hexdigest()[:12]


def _began(pid: int) -> float | None:
    """When a process began; None where that is not to be known."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        # The name in brackets may hold anything; the 20th field behind it is the time.
        return float(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19])
    with contextlib.suppress(psutil.Error):
        return round(psutil.Process(pid).create_time()) if not BOOT_ID.exists() else None
    return None


def _is_zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return False
