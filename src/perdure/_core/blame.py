"""Who is charged when a worker was brought down by what it executed.

Where attempts run one at a time, it was the one that was running. Where they run together nobody
can tell: then nobody is charged, and those that were running are tried again in smaller company,
half as many at a time. At the latest when it runs alone, the one that crashes is found; the others
have come through by then.
"""

from perdure._core.state import Attempt
from perdure._core.workers import Worker


def suspects(worker: Worker) -> dict[int, Attempt]:
    """Return the attempts one of which has brought the worker down, by handle.

    In an async worker a resumed attempt and the next one may take turns; the older is suspected,
    and only it, unless attempts run together there. If all were blocked, the oldest is.
    """
    running = {handle: a for handle, a in worker.attempts.items() if not a.blocked}
    if running and worker.pool.together:
        return running
    return dict(list((running or worker.attempts).items())[:1])


def thin_out(worker: Worker) -> None:
    """Together they used too much of the machine: let them run in smaller company from now on."""
    running = [attempt for attempt in worker.attempts.values() if not attempt.blocked]
    if worker.pool.together:
        for attempt in running:
            narrow_down(attempt, len(running))


def narrow_down(attempt: Attempt, among: int) -> bool:
    """Let the action run in smaller company from now on; return False if it has been already."""
    action, company = attempt.action, among // 2
    if company >= action.company:
        return False
    action.company = max(1, company)
    return True
