"""Which processes are there? By ``/proc`` where it exists, else by ``ps``: nothing to install."""

import subprocess
from collections.abc import Iterable
from pathlib import Path


def family(ancestor: int) -> set[int]:
    """Return the process ``ancestor`` and everything that descends from it."""
    parents = _alive()
    members = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def alive(pids: Iterable[int]) -> set[int]:
    """Return those that still run; a zombie, dead but not yet buried, does not."""
    return set(pids) & _alive().keys()


def _alive() -> dict[int, int]:
    """Return the parent of every process that is not a zombie."""
    rows = _from_proc() if Path("/proc/self/stat").exists() else _from_ps()
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def _from_proc() -> Iterable[tuple[str, str, str]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in parentheses may itself hold spaces and parentheses.
            state, parent, *_ = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it ended while we were looking
        yield path.parent.name, parent, state


def _from_ps() -> Iterable[tuple[str, str, str]]:
    output = subprocess.check_output(["ps", "-A", "-o", "pid=,ppid=,stat="], text=True)
    for line in output.splitlines():
        pid, parent, state = line.split()
        yield pid, parent, state
