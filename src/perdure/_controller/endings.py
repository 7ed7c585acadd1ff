"""What a worker's end means for what it was doing."""

import signal

from perdure._core import failures
from perdure._core.ends import WorkerEnd
from perdure._ports import WorkerExit

_FROM_OUTSIDE = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
)
"""Signals that people, schedulers and the operating system send. The others (SIGSEGV, SIGABRT,
SIGBUS, ...) come from what the process itself did."""


def judge(exit_: WorkerExit) -> WorkerEnd:
    """Tell whether the attempt that was running brought its worker down, and how to put it."""
    if (error := exit_.error) is not None:
        return WorkerEnd(failures.unplaced(error), guilty=True, final=not error.retryable)
    said = f"\n{exit_.output}" if exit_.output else ""
    if exit_.over is not None:
        return WorkerEnd(failures.over_memory(exit_.over), guilty=True)
    if exit_.out_of_memory:
        return WorkerEnd(
            failures.out_of_memory(
                f"the operating system killed its worker process for lack of memory{said}"
            ),
            guilty=True,
        )
    if exit_.signal is not None:
        name = signal.Signals(exit_.signal).name
        return WorkerEnd(
            failures.worker_lost(f"its worker process was killed by {name}{said}"),
            guilty=exit_.signal not in _FROM_OUTSIDE,
        )
    if exit_.exit_code is not None:
        return WorkerEnd(
            failures.worker_lost(f"its worker process exited with code {exit_.exit_code}{said}"),
            guilty=True,
        )
    return WorkerEnd(failures.worker_lost(f"its worker process is gone{said}"), guilty=False)
