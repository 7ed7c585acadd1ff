"""What the figures were measured on."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from catalogue import PEERS
from child import CORES

ASK = "import importlib.metadata as m, sys; print(*(m.version(each) for each in sys.argv[1:]))"


def describe(pythons: dict[str, Path]) -> dict[str, Any]:
    """Return the machine and the versions, given the Python of each peer."""
    return {
        "cores": CORES,
        "processor": processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "fdatasync_ms": round(1e3 * fdatasync_s(), 3),
        "versions": {
            peer.package: version(pythons[name], peer.package)
            for name, peer in PEERS.items()
            if peer.package and name in pythons
        },
    }


def processor() -> str:
    """Return what the processor calls itself, or its architecture."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    found = next((line.partition(":")[2] for line in names if line.startswith("model name")), "")
    return found.strip() or platform.machine()


def fdatasync_s(times: int = 200) -> float:
    """Return the median seconds of one flush of a small write to the disk of the homes."""
    sync = getattr(os, "fdatasync", os.fsync)
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            sync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def version(python: Path, package: str) -> str:
    """Return the version of a distribution in that environment."""
    command = [str(python), "-c", ASK, package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
