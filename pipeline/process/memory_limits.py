"""Find out how much memory a process may use: that of the machine, or the limit of its control group."""

from __future__ import annotations

from pathlib import Path

import psutil

ROOT = Path("/")


def memory_there(root: Path = ROOT) -> int:
    """Return the memory of the machine or container, in bytes.

    Containers and batch systems limit their processes by control groups, of version 1 or 2
    (https://docs.kernel.org/admin-guide/cgroup-v2.html); the limit of every group above counts, too.

    Args:
        root: Folder in which ``proc`` and ``sys`` are looked up.
    """
    return min([psutil.virtual_memory().total, *_group_limits(root)])


def _group_limits(root: Path) -> list[int]:
    """Return the limits of this process's control groups, in bytes."""
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            limits += _limits(root / "sys/fs/cgroup", group, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
    return limits


def _limits(mount: Path, group: str, name: str) -> list[int]:
    """Return the limits of a group and of those above it.

    In a container, the path of the group may be that outside, of which only the last folder is visible: the mount.
    """
    inner = mount / group.strip("/")
    folders = [folder for folder in (inner, *inner.parents) if folder.is_relative_to(mount)]
    texts = (_text(folder / name).strip() for folder in folders)
    return [int(text) for text in texts if text.isdigit()]


def _text(path: Path) -> str:
    """Return the text of a file; an empty one if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
