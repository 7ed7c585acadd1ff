"""A witness outside of Perdure: which tasks really ran, one line per execution.

The demo compares this file with the journal. Without ``FLIGHTS_TRAIL`` nothing is written.
"""

import os

import perdure


def leave_trail() -> None:
    """Append the action that is being executed to the file named by ``FLIGHTS_TRAIL``."""
    path = os.environ.get("FLIGHTS_TRAIL")
    context = perdure.ctx()
    if not path or not context:
        return
    line = f"{context.run} {context.action} {os.getpid()}\n"
    # One write of one short line in append mode: lines of concurrent processes never mix.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
