"""Memory and processor time used by a process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_mib() -> float | None:
    """The most memory (resident) that this process ever had, in MiB.

    None where the system does not say.

    A high-water mark: it never falls. On Linux VmHWM, since `ru_maxrss` counts what started the
    process, too.
    """
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def cpu_seconds() -> float:
    """Processor time of all threads of this process, in seconds."""
    return time.process_time()
