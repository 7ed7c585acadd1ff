"""The controller's memory of workers: processes that execute attempts, and pools of them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from perdure._core.ends import WorkerEnd
from perdure._core.ledger import Space
from perdure._core.model import MANY, Demand, Failure, Reuse, TaskSpec
from perdure._core.orders import Order

if TYPE_CHECKING:
    from perdure._core.state import Attempt, Lane, Run


class PoolKey(NamedTuple):
    """Which workers may serve a task.

    Attributes:
        bundle: Number of the code.
        is_async: Kind of executor.
        env_vars: Environment variables.
        reuse: With whom workers are shared, and how.
        recipe: Blob that says what is installed; b"": what is here.
        threads: How many threads libraries start in it: that is settled when they are loaded.
        gpu: Devices each worker has.
        device: Of which kind; "": of any.
    """

    bundle: int
    is_async: bool
    env_vars: tuple[tuple[str, str], ...]
    reuse: Reuse
    recipe: bytes = b""
    threads: int = 1
    gpu: float = 0.0
    device: str = ""


@dataclass(slots=True, eq=False)
class Worker:
    """A process that executes attempts.

    Attributes:
        ready: It has said Hello.
        attempts: Assigned to it, by handle, in order.
        blocked: How many of them are blocked.
        lane: With whose attempts ``load`` has risen from zero.
        cpu: What it holds of the node's cpu.
        space: What else it holds, beside what blocked attempts keep.
        devices: Places of its GPUs among the node's.
        last_done: When it last ended an attempt or was given one while idle.
        killed: We have ended it on purpose.
        revoking: It was asked to give attempts back and has not answered.
        shares: Where attempts run together: how many there are of each demand.
        company: The least ``Action.company`` since its load was zero.
        left: Attempts that it may still be given, before it is replaced.
        failure: Why it could not start up, if it could not.
        outbox: What it is to be told.
        allowance: Bytes it was last told it may use, 0: as many as there are.
        seasoned: It has executed something.
        relayed: Something has ended there since it was last seen how much memory it uses.
        end: Why we have ended it, if that is not what somebody has asked for.
        open: Names of queues in which it need not hold calls back.
    """

    number: int
    pool: "Pool"
    ready: bool = False
    attempts: "dict[int, Attempt]" = field(default_factory=dict)
    blocked: int = 0
    lane: "Lane | None" = None
    cpu: int = 0
    space: Space = ()
    devices: tuple[int, ...] = ()
    idle_since: float = 0.0
    last_done: float = 0.0
    killed: bool = False
    stopping: bool = False
    revoking: bool = False
    shares: dict[Demand, int] = field(default_factory=dict)
    company: int = MANY
    left: int = MANY
    failure: Failure | None = None
    outbox: list[Order] = field(default_factory=list)
    allowance: int = 0
    seasoned: bool = False
    relayed: bool = False
    end: WorkerEnd | None = None
    open: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.left = self.pool.reuse.max_attempts or MANY

    @property
    def spent(self) -> bool:
        """Whether it is given nothing more."""
        return self.left <= 0

    @property
    def load(self) -> int:
        """Attempts that run or wait for their turn (blocked ones do not count)."""
        return len(self.attempts) - self.blocked


@dataclass(slots=True, eq=False)
class Pool:
    """Workers that are interchangeable: same code, executor kind, variables and packages.

    Attributes:
        gpu: Devices each worker has, of the kind ``device``.
        concurrency: Attempts that run at once in one worker; quick ones may wait behind them.
        together: It is more than one.
        run: The only run that uses them, if there is but one.
        delay: What was last said to keep its workers from starting, "" once one has.
        callers: Those of its tasks that are known to make calls.
    """

    key: PoolKey
    is_async: bool
    reuse: Reuse
    gpu: float = field(init=False)
    device: str = field(init=False)
    concurrency: int = field(init=False)
    together: bool = field(init=False)
    workers: dict[int, Worker] = field(default_factory=dict)
    crashed_starts: int = 0
    killed_starts: int = 0
    run: "Run | None" = None
    delay: str = ""
    callers: set[TaskSpec] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.concurrency = self.reuse.concurrency
        self.together = self.concurrency > 1
        self.gpu, self.device = self.key.gpu, self.key.device

    @property
    def full(self) -> bool:
        """Whether it may not have more workers."""
        return len(self.workers) >= self.reuse.max_workers

    @property
    def over(self) -> bool:
        """Whether nobody is going to use it any more."""
        return self.run is not None and self.run.closed and not self.run.actions

    @property
    def crowded(self) -> bool:
        """Whether no more of its workers may work: waiting parents made room for the others."""
        most = self.reuse.max_workers
        if self.is_async or len(self.workers) <= most:
            return False
        return sum(worker.load > 0 for worker in self.workers.values()) >= most
