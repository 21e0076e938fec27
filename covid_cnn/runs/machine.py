"""What the machine, or the container that the program runs in, has to give."""

import os
import re
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")  # the limits of a container, on Linux


def cores() -> int:
    """The processor cores that this process may use, at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read("cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        usable = min(usable, round(int(quota) / int(period)))
    return max(1, usable)


def available_memory() -> int:
    """The bytes of memory that a new process can take without another losing any."""
    available = psutil.virtual_memory().available
    limit, used = _read("memory.max"), _read("memory.current")
    if limit.isdecimal() and used.isdecimal():
        # Of what counts as used, copies of files that nobody has looked at lately go when memory is wanted.
        spare = re.search(r"^inactive_file (\d+)$", _read("memory.stat"), re.MULTILINE)
        available = min(available, max(0, int(limit) - int(used) + (int(spare[1]) if spare else 0)))
    return available


def _read(name: str) -> str:
    """What a file of the container's limits says; nothing where there is none."""
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:
        return ""
