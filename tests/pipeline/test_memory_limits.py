"""Memory that a process may use: control groups count."""

import psutil
import pytest

from terraseam.pipeline.process.memory_limits import memory_there

TOTAL = psutil.virtual_memory().total


def group(root, line, **limits):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line)
    for path, text in limits.items():
        target = root / "sys/fs/cgroup" / path.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


@pytest.mark.parametrize(
    ("line", "limits", "memory"),
    [
        ("0::/\n", {"memory.max": "1000\n"}, 1000),
        ("0::/a/b\n", {"a__b__memory.max": "max\n", "a__memory.max": "5000\n", "memory.max": "max\n"}, 5000),
        ("0::/a/b\n", {"a__b__memory.max": "700\n", "a__memory.max": "5000\n"}, 700),
        ("0::/outside/of/the/container\n", {"memory.max": "3000\n"}, 3000),
        ("5:cpu,memory:/job\n", {"memory__job__memory.limit_in_bytes": "2000\n"}, 2000),
        ("5:cpu:/job\n", {"memory__job__memory.limit_in_bytes": "2000\n"}, TOTAL),
        ("0::/\n", {"memory.max": "max\n"}, TOTAL),
        ("0::/\n", {"memory.max": f"{1 << 62}\n"}, TOTAL),
    ],
)
def test_the_lowest_limit_of_all_groups_counts(tmp_path, line, limits, memory):
    group(tmp_path, line, **limits)
    assert memory_there(tmp_path) == memory


def test_without_control_groups_the_machine_counts(tmp_path):
    assert memory_there(tmp_path) == TOTAL
