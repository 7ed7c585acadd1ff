"""What must hold between any two commands. Named rules, checked by tests and the simulator.

Each rule takes the machine and yields a sentence per breach.
"""

import itertools
import math
from collections.abc import Callable, Iterator

from perdure._core import queues
from perdure._core.devices import amount_of, is_kind
from perdure._core.explaining import reason_of
from perdure._core.impediments import first_of, unexplained
from perdure._core.ledger import UNITS, Space, space_of, units
from perdure._core.machine import Machine
from perdure._core.model import MANY
from perdure._core.outside import CONDITION
from perdure._core.parking import awaited
from perdure._core.queues import OWN
from perdure._core.reasons import Unexplained
from perdure._core.state import Action, Attempt, Lane
from perdure._core.transitions import Stage
from perdure._core.workers import Worker


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
    cpu, space = units(ledger.capacity.cpu), dict(space_of(ledger.capacity))
    for worker in machine.scheduler.staff.workers.values():
        cpu -= worker.cpu
        held = [worker.space, *(a.kept_space for a in worker.attempts.values())]
        if worker.pool.together:
            lanes = [_lane(attempt) for attempt in worker.attempts.values()]
            held += {lane.demand: lane.share.space for lane in lanes}.values()
        for name, amount in itertools.chain(*held):
            space[name] -= amount
    if (cpu, space) != (ledger.cpu, ledger.space):
        yield f"cpu {ledger.cpu}, {ledger.space} are left, {cpu} and {space} should be"


def nothing_is_over_committed(machine: Machine) -> Iterator[str]:
    """No more is taken than there is, of anything, at any time."""
    ledger = machine.scheduler.ledger
    for name, left in (("cpu", ledger.cpu), *ledger.space.items()):
        if left < 0:
            yield f"{name} is overdrawn by {-left}"


def what_runs_has_its_share(machine: Machine) -> Iterator[str]:
    """A worker holds the cpu of each attempt that runs on it, and space for it."""
    for worker in machine.scheduler.staff.workers.values():
        for attempt in worker.attempts.values():
            share = attempt.action.task.lane.share  # type: ignore[union-attr]  # tasks have them
            if not attempt.blocked and share.cpu > worker.cpu:
                yield f"{attempt} runs with {worker.cpu} of {share.cpu} cpu"
            if worker.pool.together:
                if share.space and not worker.shares.get(attempt.action.task.lane.demand):  # type: ignore[union-attr]
                    yield f"{attempt} has no part in {share.space}"
            elif attempt.blocked or worker.pool.is_async or not worker.blocked:
                # Otherwise it is behind a parent of a sync worker that waits: it is given back.
                held = (
                    {attempt.kept_space}
                    if attempt.blocked
                    else {attempt.kept_space, worker.space, *_first_keeps(worker)}
                )
                if share.space not in held:
                    yield f"{attempt} has {held}, not {share.space}"


def _first_keeps(worker: Worker) -> list[Space]:
    """Return what the attempt keeps that others of a sync worker wait behind."""
    return [] if worker.pool.is_async else [a.kept_space for a in worker.attempts.values()][:1]


def devices_belong_to_one_worker(machine: Machine) -> Iterator[str]:
    """Every worker has the devices its tasks ask for; whole ones are nobody else's."""
    devices = machine.scheduler.staff.devices
    left = [UNITS] * len(devices.devices)
    for worker in machine.scheduler.staff.workers.values():
        pool = worker.pool
        if len(worker.devices) != math.ceil(pool.gpu):
            yield f"worker {worker.number} has devices {worker.devices}, not {pool.gpu}"
        for place in worker.devices:
            left[place] -= amount_of(pool.gpu)
            if not is_kind(devices.devices[place].kind, pool.device):
                yield f"worker {worker.number} has a device that is no {pool.device}"
    if left != devices.left or min(left, default=0) < 0:
        yield f"{devices.left} of the devices are left, {left} should be"


def who_waits_for_cpu_is_blocked(machine: Machine) -> Iterator[str]:
    """What is withheld from a parent is withheld while it waits for cpu, and no longer."""
    for attempt in machine.scheduler.attempts.values():
        if (attempt.held or attempt.resuming) and not attempt.blocked:
            yield f"{attempt} runs, and {attempt.held} is withheld from it"
        if attempt.held and not attempt.resuming:
            yield f"{attempt} is not going to learn {attempt.held}"


def a_worker_holds_its_lane_while_it_has_load(machine: Machine) -> Iterator[str]:
    """A worker is charged exactly while something on it runs or waits for its turn."""
    for worker in machine.scheduler.staff.workers.values():
        if (worker.lane is not None) != (worker.load > 0):
            yield f"worker {worker.number} has load {worker.load} and holds {worker.lane}"
        if worker.blocked != sum(a.blocked for a in worker.attempts.values()):
            yield f"worker {worker.number} miscounts its blocked attempts"


def suspects_keep_to_small_company(machine: Machine) -> Iterator[str]:
    """Of attempts that may crash their worker no more run at once than was decided.

    Parents that were blocked may go on at any time, whoever is there.
    """
    for worker in machine.scheduler.staff.workers.values():
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
    counts = dict.fromkeys(machine.scheduler.lanes.all.values(), 0)
    for action in _actions(machine):
        if action.stage is Stage.QUEUED and action.task is not None and not action.is_entrant:
            counts[action.task.lane] += 1
    for lane, count in counts.items():
        if lane.count != count:
            yield f"a lane counts {lane.count} actions, {count} are queued"


def queues_keep_to_their_limits(machine: Machine) -> Iterator[str]:
    """A queue never has more than its concurrency: nobody uses a slot that is not held."""
    for queue in machine.scheduler.queues:
        limits = queue.limits
        if limits is None or not limits.concurrency:
            continue
        if queue.used > queue.held:
            yield f"queue {queue.name}: {queue.used} slots are used, {queue.held} are held"
        if queue.tokens < 0:
            yield f"queue {queue.name}: {-queue.tokens} have started that may not"


def queues_count_what_uses_them(machine: Machine) -> Iterator[str]:
    """What runs in a queue has a slot, what waits has none, and both are counted."""
    for queue in machine.scheduler.queues:
        attempts = [a for a in machine.scheduler.attempts.values() if _lane(a).queue is queue]
        runs = [run for run in machine.runs.values() if run.queue is queue]
        used = sum(a.slot == OWN for a in attempts) + sum(run.admitted for run in runs)
        used += len(queue.summoned)
        if used != queue.used:
            yield f"queue {queue.name} counts {queue.used} slots in use, it is {used}"
        waiting = sum(
            lane.count for lane in machine.scheduler.lanes.all.values() if lane.queue is queue
        )
        waiting += sum(run.entrant is not None for run in runs) + len(queue.asleep)
        if waiting != queue.waiting:
            yield f"queue {queue.name} counts {queue.waiting} that wait, it is {waiting}"
        lenders = sum(run.admitted and run.borrower is None for run in runs) + len(queue.summoned)
        if lenders != queue.lenders:
            yield f"queue {queue.name} counts {queue.lenders} lenders, it is {lenders}"
        for attempt in attempts:
            if not attempt.slot and not attempt.blocked:
                yield f"{attempt} runs in queue {queue.name} without a slot"
            if attempt.slot and attempt.blocked and not attempt.resuming:
                yield f"{attempt} waits, and has a slot of queue {queue.name}"
            if (queue.resuming.get(attempt.handle) is attempt) != (
                attempt.resuming and not attempt.slot
            ):
                yield f"{attempt} is not known to wait for a slot of queue {queue.name}"


def who_waits_to_enter_has_a_place(machine: Machine) -> Iterator[str]:
    """A run that is to be admitted has one place, and keeps it while it is asleep."""
    for queue in machine.scheduler.queues:
        places = [place for places in queue.entrants.values() for place in places]
        if len({place.name for place in (*places, *queue.summoned)}) < len(places):
            yield f"a run has two places in queue {queue.name}"
        runs = {id(run.entrant) for run in machine.runs.values() if run.queue is queue}
        for place in places:
            if (place.run is not None) != (id(place) in runs):
                yield f"run {place.name} and its place in queue {queue.name} do not agree"
        if queue.waiting and queue.name not in machine.scheduler.queues.active:
            yield f"queue {queue.name} is forgotten, and {queue.waiting} wait there"
    for action in _actions(machine):
        if action.is_entrant and action.run.entrant is None:
            yield f"run {action.run.name} waits to be admitted, and has no place"


def who_is_next_to_enter_is_awake(machine: Machine) -> Iterator[str]:
    """Of those that a queue admits next nobody is asleep who has not been called; nor others."""
    for queue in machine.scheduler.queues:
        lines = sorted(queue.entrants.items(), reverse=True)
        places = [place for _, line in lines for place in line]
        for place in places[: queues.HEAD]:
            if place.run is None and place not in queue.called:
                yield f"run {place.name} is asleep, and among the next in queue {queue.name}"
        for place in queue.called - {*queue.asleep}:
            yield f"run {place.name} is called by queue {queue.name}, and is not asleep there"


def what_is_held_back_is_known_to_its_queue(machine: Machine) -> Iterator[str]:
    """Every wish is in one place: with its attempt, and in its queue once the journal was asked."""
    wishes = [w for a in machine.scheduler.attempts.values() for w in (a.wishes or {}).values()]
    for attempt in machine.scheduler.attempts.values():
        if attempt.wishes and attempt.worker.pool.is_async and not attempt.blocked:
            yield f"{attempt} runs, and holds back {len(attempt.wishes)} calls"
        if attempt.wishes and attempt.outstanding < len(attempt.wishes):
            yield f"{attempt} waits for {attempt.outstanding} calls, and holds back more"
    for queue in machine.scheduler.queues:
        mine = [wish for wish in wishes if wish.queue is queue and wish.number]
        waiting, promised = queue.wishes.waiting, queue.wishes.promised
        if {w.number: w for w in mine if not w.granted} != waiting:
            yield f"queue {queue.name} does not know who is held back"
        if {w.number: w for w in mine if w.granted} != promised:
            yield f"queue {queue.name} does not know who was let in"


def nobody_is_held_back_where_there_is_room(machine: Machine) -> Iterator[str]:
    """P7: calls are held back only while as many wait in their queue as may."""
    for queue in machine.scheduler.queues:
        if queue.wishes.waiting and queue.has_room:
            yield f"queue {queue.name} has room, and calls are held back"
        if queue.wishes.waiting and queue.name not in machine.scheduler.queues.active:
            yield f"queue {queue.name} is forgotten, and calls are held back"


def _lane(attempt: Attempt) -> Lane:
    return attempt.action.task.lane  # type: ignore[union-attr]  # only tasks have attempts


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


def who_waits_can_say_for_what(machine: Machine) -> Iterator[str]:
    """P7: after placement, something that is known keeps everybody from going on."""
    for lane in unexplained(machine.scheduler):
        yield f"{first_of(lane)} is ready, and waits for nothing that is known"
    for action in _actions(machine):
        if action.stage is not Stage.WAITING or action.missing:
            continue  # what is ready waits with its lane; the other stages are reasons themselves
        if isinstance(reason_of(machine, action, {})[0], Unexplained):
            yield f"{action.name} waits for nothing that is known"


def parked_means_nowhere(machine: Machine) -> Iterator[str]:
    """A parked action has no attempt, and is in the journal: nothing is lost with the rest."""
    for action in _actions(machine):
        if action.stage is not Stage.PARKED:
            continue
        if action.attempt is not None or not action.resumes:
            yield f"{action.name} is parked and has {action.attempt}"
        if not action.seq:
            yield f"{action.name} is parked and has no row"


def everything_parked_is_woken(machine: Machine) -> Iterator[str]:
    """A parked action waits for the outcome of something that is in flight."""
    for action in _actions(machine):
        if action.stage is Stage.PARKED and not awaited(action):
            yield f"{action.name} is parked for ever"


_RUNNERS = frozenset({Stage.QUEUED, Stage.RUNNING, Stage.RETRYING, Stage.AUDITING, Stage.PARKED})


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
    nothing_is_over_committed,
    what_runs_has_its_share,
    devices_belong_to_one_worker,
    who_waits_for_cpu_is_blocked,
    a_worker_holds_its_lane_while_it_has_load,
    suspects_keep_to_small_company,
    running_means_on_a_worker,
    queued_means_in_a_lane,
    queues_keep_to_their_limits,
    queues_count_what_uses_them,
    who_waits_to_enter_has_a_place,
    who_is_next_to_enter_is_awake,
    what_is_held_back_is_known_to_its_queue,
    nobody_is_held_back_where_there_is_room,
    families_agree,
    nobody_waits_for_nothing,
    questions_are_on_record,
    who_waits_can_say_for_what,
    parked_means_nowhere,
    everything_parked_is_woken,
    one_of_a_serialized_key_runs,
)
