"""What workers hold of their node, and when they give it back.

A worker whose load is above zero holds cpu: as much as the most demanding of the attempts that run
on it. Space (memory and the like):

* In a pool where attempts run one at a time, the worker takes one share with the first attempt and
  holds it while it has load. A parent that is blocked takes that share over, and has it until it
  leaves: it does not let go of what it has in memory.
* In a pool where they run *together*, they share: of every demand the worker holds one share, from
  the first attempt that came with it to the last, blocked or not.

Space is taken only where an attempt is placed, which is checked; all else passes it on.
"""

from perdure._core.ledger import Ledger
from perdure._core.model import MANY
from perdure._core.state import Attempt, Lane
from perdure._core.workers import Worker


def hold(ledger: Ledger, worker: Worker, lane: Lane) -> None:
    """The worker's load rises from zero with a new attempt."""
    go_on(ledger, worker, lane)
    if lane.share.space and not lane.pool.together:
        worker.space = lane.share.space
        ledger.take_space(worker.space)


def go_on(ledger: Ledger, worker: Worker, lane: Lane) -> None:
    """An attempt with that demand is about to run there; it has its space already."""
    if worker.load == 0:
        worker.lane = lane
        worker.company = MANY
    more = missing_cpu(worker, lane)
    ledger.take_cpu(more)
    worker.cpu += more


def missing_cpu(worker: Worker, lane: Lane) -> int:
    """Return how much more cpu the worker has to hold before such an attempt may run there."""
    return max(0, lane.share.cpu - worker.cpu)


def release(ledger: Ledger, worker: Worker) -> None:
    """The worker's load has fallen to zero."""
    ledger.give_cpu(worker.cpu)
    ledger.give_space(worker.space)
    worker.cpu, worker.space, worker.lane = 0, (), None


def keep(attempt: Attempt) -> None:
    """The attempt is blocked from now on."""
    worker, asked = attempt.worker, attempt.action.task.lane.share.space  # type: ignore[union-attr]
    if asked and not attempt.kept_space:  # otherwise it is somebody else's who came meanwhile
        attempt.kept_space, worker.space = worker.space, ()


def forget(ledger: Ledger, attempt: Attempt) -> None:
    """The attempt has left its worker, if it has ever been blocked there."""
    worker, kept = attempt.worker, attempt.kept_space
    attempt.kept_space = ()
    if worker.load and not worker.space and not worker.pool.is_async:
        worker.space = kept  # the next one of its lane begins
    else:
        ledger.give_space(kept)


def join(ledger: Ledger, worker: Worker, lane: Lane) -> None:
    """An attempt has come to a worker where they run together."""
    count = worker.shares.get(lane.demand, 0)
    if not count:
        ledger.take_space(lane.share.space)
    worker.shares[lane.demand] = count + 1


def leave(ledger: Ledger, worker: Worker, lane: Lane) -> None:
    """An attempt has left a worker where they run together."""
    worker.shares[lane.demand] -= 1
    if not worker.shares[lane.demand]:
        ledger.give_space(lane.share.space)
        del worker.shares[lane.demand]


def has_space(ledger: Ledger, worker: Worker, lane: Lane) -> bool:
    """Whether an attempt of the lane would find its space there, or on the node."""
    return lane.demand in worker.shares or ledger.fits_space(lane.share.space)


def fits(ledger: Ledger, worker: Worker, lane: Lane) -> bool:
    """Whether an idle worker can take the demand although the node has no whole share left."""
    return lane.demand in worker.shares and lane.share.cpu <= ledger.cpu
