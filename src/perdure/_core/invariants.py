"""What must hold between any two commands. Named rules, checked by tests and the simulator.

Each rule takes the machine and yields a sentence per breach.
"""

from collections.abc import Callable, Iterator

from perdure._core.ledger import cpu_units
from perdure._core.machine import Machine
from perdure._core.model import MANY
from perdure._core.outside import CONDITION
from perdure._core.state import Action, Attempt, Worker
from perdure._core.transitions import Stage


class BrokenInvariantError(AssertionError):
    """The controller's state contradicts itself."""


def check(machine: Machine) -> None:
    """Check every rule.

    Raises:
        BrokenInvariantError: At least one does not hold; the message lists all breaches.
    """
    breaches = [f"{rule.__name__}: {breach}" for rule in RULES for breach in rule(machine)]
    if breaches:
        raise BrokenInvariantError("\n".join(breaches))


def _actions(machine: Machine) -> Iterator[Action]:
    for run in machine.runs.values():
        yield from run.actions.values()


def ledger_adds_up(machine: Machine) -> Iterator[str]:
    """What is taken from the ledger is what workers hold, neither more nor less."""
    ledger = machine.scheduler.ledger
    cpu = cpu_units(ledger.capacity.cpu)
    memory = ledger.capacity.memory
    for worker in machine.scheduler.workers.values():
        if worker.lane is not None:
            cpu -= cpu_units(worker.lane.demand.cpu)
        if worker.pool.together:
            tasks = [a.action.task for a in worker.attempts.values()]
            memory -= sum({t.lane.demand: t.lane.demand.memory for t in tasks if t}.values())
        elif worker.lane is not None:
            memory -= worker.lane.demand.memory
        for attempt in worker.attempts.values():
            if attempt.kept_space is not None:
                memory -= attempt.kept_space.memory
    if (cpu, memory) != (ledger.cpu, ledger.memory):
        yield f"cpu {ledger.cpu} memory {ledger.memory} are left, {cpu} and {memory} should be"


def a_worker_holds_its_lane_while_it_has_load(machine: Machine) -> Iterator[str]:
    """A worker is charged exactly while something on it runs or waits for its turn."""
    for worker in machine.scheduler.workers.values():
        if (worker.lane is not None) != (worker.load > 0):
            yield f"worker {worker.number} has load {worker.load} and holds {worker.lane}"
        if worker.blocked != sum(a.blocked for a in worker.attempts.values()):
            yield f"worker {worker.number} miscounts its blocked attempts"


def suspects_keep_to_small_company(machine: Machine) -> Iterator[str]:
    """Of attempts that may crash their worker no more run at once than was decided.

    Parents that were blocked may go on at any time, whoever is there.
    """
    for worker in machine.scheduler.workers.values():
        company = min((a.action.company for a in _never_blocked(worker)), default=MANY)
        if len(_never_blocked(worker)) > company:
            yield f"worker {worker.number} has more than the {company} that may be there"


def _never_blocked(worker: Worker) -> list[Attempt]:
    return [a for a in worker.attempts.values() if not a.calls]


def running_means_on_a_worker(machine: Machine) -> Iterator[str]:
    """An action is running if and only if an attempt of it is with a worker."""
    attempts = machine.scheduler.attempts
    for action in _actions(machine):
        attempt = action.attempt
        if (action.stage is Stage.RUNNING) != (attempt is not None):
            yield f"{action.name} is {action.stage.name}, its attempt is {attempt}"
        if attempt is not None and attempts.get(attempt.handle) is not attempt:
            yield f"{action.name}: attempt {attempt.handle} is not registered"
    for attempt in attempts.values():
        if attempt.worker.attempts.get(attempt.handle) is not attempt:
            yield f"attempt {attempt.handle} is not with its worker"


def queued_means_in_a_lane(machine: Machine) -> Iterator[str]:
    """A lane counts exactly the queued actions that belong to it."""
    counts = dict.fromkeys(machine.scheduler.lanes.values(), 0)
    for action in _actions(machine):
        if action.stage is Stage.QUEUED and action.task is not None:
            counts[action.task.lane] += 1
    for lane, count in counts.items():
        if lane.count != count:
            yield f"a lane counts {lane.count} actions, {count} are queued"


def families_agree(machine: Machine) -> Iterator[str]:
    """Parents know their children in flight; nothing recorded stays in memory."""
    for action in _actions(machine):
        if action.stage is Stage.COMMITTED:
            yield f"{action.name} is recorded and still in memory"
        parent = action.parent
        if parent is not None and (parent.children or {}).get(action.id) is not action:
            yield f"{action.name} is unknown to its parent {parent.name}"


def nobody_waits_for_nothing(machine: Machine) -> Iterator[str]:
    """An action waits for inputs, for a moment in time, or not at all."""
    for action in _actions(machine):
        asks = action.kind == CONDITION and action.started is not None
        waits = action.missing > 0 or action.wake_at is not None or action.replay or asks
        if action.stage is Stage.WAITING and not waits:
            yield f"{action.name} waits for nothing"


def questions_are_on_record(machine: Machine) -> Iterator[str]:
    """Who is asked can see the question, and no answer that has come is overlooked."""
    for action in _actions(machine):
        if action.kind != CONDITION or action.stage is not Stage.WAITING:
            continue
        if action.started is not None and not action.seq:
            yield f"{action.name} asks, and has no row"
        if action.started is not None and action.id in action.run.answers:
            yield f"{action.name} waits, and has its answer"


_RUNNERS = frozenset({Stage.QUEUED, Stage.RUNNING, Stage.RETRYING, Stage.AUDITING})


def one_of_a_serialized_key_runs(machine: Machine) -> Iterator[str]:
    """Of identical actions that run one at a time, none runs but the one that claimed their key.

    Those below it do not wait for it.
    """
    holders = machine.caching.holders
    for action in _actions(machine):
        policy = action.task.spec.cache if action.task else None
        known = action.cache
        if known is None or policy is None or not policy.serialize or not known.key:
            continue
        holder = holders.get(known.key)
        if action.stage in _RUNNERS and not (holder and _is_within(action, holder)):
            yield f"{action.name} is {action.stage.name} beside {holder and holder.stage.name}"
    for key, holder in holders.items():
        if holder.stage is Stage.COMMITTED:
            yield f"{holder.name} is recorded and holds {key.hex()}"


def _is_within(action: Action | None, other: Action) -> bool:
    while action is not None and action is not other:
        action = action.parent
    return action is not None


RULES: tuple[Callable[[Machine], Iterator[str]], ...] = (
    ledger_adds_up,
    a_worker_holds_its_lane_while_it_has_load,
    suspects_keep_to_small_company,
    running_means_on_a_worker,
    queued_means_in_a_lane,
    families_agree,
    nobody_waits_for_nothing,
    questions_are_on_record,
    one_of_a_serialized_key_runs,
)
