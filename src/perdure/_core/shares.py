"""What workers hold of their node, and when they give it back.

A worker whose load is above zero holds the cpu of its lane's demand. Memory and devices:

* In a pool where attempts run one at a time, the worker holds one share while it has load, and each
  blocked parent on it keeps its own: it has not let go of what it has in memory.
* In a pool where they run *together*, they share: of every demand the worker holds one share, from
  the first attempt that came with it to the last, blocked or not.
"""

from perdure._core.ledger import Ledger
from perdure._core.model import MANY, Demand
from perdure._core.state import Attempt, Lane, Worker


def hold(ledger: Ledger, worker: Worker, lane: Lane) -> None:
    """The worker's load rises from zero."""
    worker.lane = lane
    worker.company = MANY
    ledger.take_cpu(lane.demand)
    if not lane.pool.together:
        ledger.take_space(lane.demand)


def release(ledger: Ledger, worker: Worker) -> None:
    """The worker's load has fallen to zero."""
    lane = worker.lane
    assert lane is not None
    ledger.give_cpu(lane.demand)
    if not lane.pool.together:
        ledger.give_space(lane.demand)
    worker.lane = None


def keep(ledger: Ledger, attempt: Attempt, demand: Demand) -> None:
    """The attempt is blocked from now on."""
    if not attempt.worker.pool.together:
        attempt.kept_space = demand
        ledger.take_space(demand)


def forget(ledger: Ledger, attempt: Attempt) -> None:
    """The attempt is not blocked any more."""
    if attempt.kept_space is not None:
        ledger.give_space(attempt.kept_space)
        attempt.kept_space = None


def join(ledger: Ledger, worker: Worker, demand: Demand) -> None:
    """An attempt has come to a worker where they run together."""
    count = worker.shares.get(demand, 0)
    if not count:
        ledger.take_space(demand)
    worker.shares[demand] = count + 1


def leave(ledger: Ledger, worker: Worker, demand: Demand) -> None:
    """An attempt has left a worker where they run together."""
    worker.shares[demand] -= 1
    if not worker.shares[demand]:
        ledger.give_space(demand)
        del worker.shares[demand]


def fits(ledger: Ledger, worker: Worker, demand: Demand) -> bool:
    """Whether an idle worker can take the demand although the node has no whole share left."""
    return demand in worker.shares and ledger.fits_cpu(demand)
